"""Images of the distribution's own programs, with the libraries they want."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from osvlab.kernels import Kernel

__all__ = ["add_libraries", "add_program", "add_python"]


def add_libraries(tree: Path, program: Path) -> None:
    """Copy what a program is linked with, but for what the kernel supplies."""
    folder = tree / "usr" / "lib"
    folder.mkdir(parents=True, exist_ok=True)
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"(\S+) => (/\S+)", lines):
        if name not in Kernel.lab().supplies_libraries:
            shutil.copy(path, folder / name)


def add_program(tree: Path, program: Path, name: str) -> None:
    """Copy a program to the top of the tree, and its libraries."""
    shutil.copy(program, tree / name)
    add_libraries(tree, program)


def add_python(tree: Path, python: Path, library: Path) -> None:
    """Copy Debian's Python: the interpreter as /python, and its library where it looks for it."""
    add_program(tree, python, "python")
    unwanted = shutil.ignore_patterns("test", "__pycache__", "config-*", "dist-packages", "sitecustomize.py")
    target = tree / library.relative_to("/")
    shutil.copytree(library, target, ignore=unwanted, ignore_dangling_symlinks=True)
    for module in (target / "lib-dynload").glob("*.so"):
        add_libraries(tree, module)
