"""The runtime as a Linux program: the kernel image without its core, running real ELF files.

`build/host-runtime "COMMAND LINE"` behaves like the kernel from its first line to its last, only that Linux
serves the system calls. So the linker, its libc and the processes are tried here quickly.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL = Path(__file__).resolve().parents[2] / "osvlab" / "kernel"
PROGRAMS = Path(__file__).resolve().parent / "guest" / "runtime"


def build_runtime(folder: Path) -> Path:
    """Build the runtime once for all workers of a test session."""
    program = folder / "host-runtime"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = ["make", "-s", "-j2", "-f", "tests/host/runtime.mk", f"O={folder}", str(program)]
        subprocess.run(argv, cwd=KERNEL, check=True, capture_output=True)
    return program


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the runtime ended: what it printed after `Cmdline:`, and its exit status."""

    output: str
    errors: str
    status: int
    boot: str


@dataclass(frozen=True, slots=True)
class Runtime:
    program: Path
    folder: Path

    def compile(self, source: str, *flags: str, name: str = "", compiler: Sequence[str] = ("gcc",)) -> Path:
        """Compile one of the programs in guest/runtime; libraries by `-shared -fPIC`."""
        output = self.folder / (name or Path(source).stem)
        argv = [*compiler]
        argv += [
            "-O2",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            str(output),
            str(PROGRAMS / source),
            *flags,
        ]
        subprocess.run(argv, cwd=self.folder, check=True)
        return output

    def library(self, source: str, *flags: str, name: str = "", compiler: Sequence[str] = ("gcc",)) -> Path:
        name = name or f"lib{Path(source).stem}.so"
        return self.compile(source, "-shared", "-fPIC", *flags, name=name, compiler=compiler)

    def run(self, line: str, *, seconds: float = 60) -> Ended:
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            [self.program, line],
            capture_output=True,
            timeout=seconds,
            check=False,
            env=environment,
            cwd=self.folder,
        )
        text = done.stdout.decode(errors="replace")
        boot, _, output = text.partition("Cmdline: ")
        return Ended(output.partition("\n")[2], done.stderr.decode(errors="replace"), done.returncode, boot)
