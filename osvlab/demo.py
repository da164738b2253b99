"""The application of `osvlab demo`: real programs, and data whose hash is known beforehand."""

from __future__ import annotations

import hashlib
import random
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from osvlab.elf.program import Program
from osvlab.errors import OsvlabError
from osvlab.events import step

__all__ = ["DATA_SIZE", "Demo", "compile_example", "make_demo", "static_busybox"]

DATA_SIZE = 20_000_000
EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True, slots=True)
class Demo:
    """A directory that `osvlab.build` can take, and what its programs have to find out.

    Attributes
    ----------
    directory
        Holds `hello`, `bin/busybox` and `data/20mb`.
    command
        What the guest runs.
    sha256
        The hash of `data/20mb`, in hexadecimal, as this host computed it.
    """

    directory: Path
    command: str
    sha256: str


def make_demo(directory: Path) -> Demo:
    """Fill an empty directory with the demo's application.

    Raises
    ------
    OsvlabError
        There is no gcc, or no static busybox on this host.
    """
    for folder in ("bin", "data"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    with step("compile hello.c with gcc, as for Linux"):
        compile_example("hello", directory / "hello")
    with step("take this host's static busybox"):
        shutil.copy2(static_busybox(), directory / "bin" / "busybox")
    with step("make 20 MB of data") as running:
        # Any bytes would do; these are the same on every run, so that two runs can be compared.
        data = random.Random(2026).randbytes(DATA_SIZE)
        running.bytes = (directory / "data" / "20mb").write_bytes(data)
    return Demo(
        directory,
        command="/hello world; /bin/busybox ls -lR /; /bin/busybox sha256sum /data/20mb",
        sha256=hashlib.sha256(data).hexdigest(),
    )


def compile_example(name: str, output: Path) -> Path:
    """Compile one of the C programs in `osvlab/examples` with the host's gcc and its defaults.

    Raises
    ------
    OsvlabError
        There is no such example, no gcc, or the program does not compile.
    """
    sources = sorted((EXAMPLES / name).glob("*.c"))
    if not sources:
        known = ", ".join(sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
        raise OsvlabError(f"no such example: {name}", hint=f"There are: {known}.")
    command = ["gcc", "-O2", "-o", str(output), *map(str, sources), "-lpthread"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise OsvlabError("no gcc on PATH", hint="sudo apt-get install gcc libc6-dev") from None
    if made.returncode != 0:
        raise OsvlabError(
            f"{shlex.join(command)} failed:\n{made.stderr.strip()}",
            hint="Does gcc work? See osvlab doctor.",
        )
    return output


def static_busybox() -> Path:
    """Return the path of the host's busybox, which has to be linked statically.

    Raises
    ------
    OsvlabError
        There is none, or it wants libraries.
    """
    hint = "sudo apt-get install busybox-static"
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if found is None:
        raise OsvlabError("no busybox on this host", hint=hint)
    program = Program.open(Path(found))
    if not program.kind.is_static:
        raise OsvlabError(f"{found} is not linked statically: it is {program.kind}", hint=hint)
    return Path(found)
