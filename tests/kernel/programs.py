"""Programs that must pass on Linux first, and then on the lab kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import osvlab
from osvlab.image.image import Image

GUEST = Path(__file__).parent / "guest"


def compile_program(source: str, output: Path, *flags: str) -> Path:
    """Compile a program of `tests/kernel/guest`, named like ``files/names``."""
    argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", *flags]
    subprocess.run([*argv, str(GUEST / f"{source}.c"), "-o", str(output)], check=True)
    return output


def console_of(image: Image, command: str, memory: str = "64M", timeout: float = 60) -> str:
    """Run a command in a guest, which must end well; return what it printed."""
    with osvlab.run(image, command=command, memory=memory, timeout=timeout) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        return vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]


def check_on_linux(source: str, linkage: str, folder: Path) -> None:
    """Run a program on this host, where it must pass too. `linkage` is empty or ``-static``."""
    name = Path(source).name
    program = compile_program(source, folder / name, *([linkage] if linkage else []))
    host = subprocess.run([program, folder], capture_output=True, text=True, timeout=60, check=False)
    assert host.returncode == 0, f"status {host.returncode}: {host.stdout}{host.stderr}"
