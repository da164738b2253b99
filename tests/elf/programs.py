"""Programs of a few lines, compiled as a test needs them."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

HELLO = """
#include <stdio.h>
extern int wanted(void) __attribute__((weak));
__thread char local[40];
int main(int argc, char **argv) { fprintf(stdout, "hello %d %p\\n", local[argc], (void *)wanted); return 0; }
"""

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def compiled(folder: Path, name: str, *options: str, source: str = HELLO) -> Path:
    """Return the path of a C program after gcc has compiled and linked it."""
    (folder / f"{name}.c").write_text(source)
    command = ["gcc", "-o", str(folder / name), str(folder / f"{name}.c"), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / name


@functools.cache
def compiled_once(folder: Path) -> bytes:
    """Return a program's bytes, which several tests damage each in its own way."""
    return compiled(folder, "hello").read_bytes()
