"""Compiling kernel sources as host programs under the sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

KERNEL = Path(__file__).resolve().parents[2] / "osvlab" / "kernel"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def build(output: Path, sources: Sequence[str], flags: Sequence[str] = ()) -> Path:
    """Compile `sources` (relative to the kernel's folder) into a sanitized host program."""
    argv = ["gcc", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-sign-compare"]
    argv += ["-D_GNU_SOURCE", "-Iinclude", *SANITIZERS, *flags, *sources, "-o", str(output)]
    subprocess.run(argv, cwd=KERNEL, check=True)
    return output


def run(program: Path, *arguments: str, seconds: float = 120) -> str:
    """Run it; a sanitizer report or a failed assertion fails the test with its text."""
    argv = [program, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
