"""Look before the leap: what a program needs that neither the image nor the kernel has.

A guest that lacks a library or a symbol fails seconds later and far away, on real
OSv only when the symbol is used. All of it can be read from the ELF files before.
"""

from __future__ import annotations

import difflib
import io
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from osvlab.elf.program import MAGIC, NotAProgramError, Program, ProgramKind
from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Content, Directory, HostFile
from osvlab.image.command import quote
from osvlab.image.modules import HOST_LIBRARIES
from osvlab.image.recipe import Recipe
from osvlab.image.started import started_programs

__all__ = ["PreflightError", "Problem", "Supplier", "check", "preflight"]

_SYMBOLS_SHOWN = 8


class Supplier(Protocol):
    """The part of a kernel that programs are compared with."""

    @property
    def supplies_libraries(self) -> frozenset[str]:
        """Libraries the kernel stands in for."""

    @property
    def program_folders(self) -> tuple[str, ...]:
        """Where the kernel looks for a program whose name has no slash."""

    @property
    def library_folders(self) -> tuple[str, ...]:
        """Where the kernel looks for a library, after the folders that the program itself names."""

    @property
    def exports(self) -> frozenset[str] | None:
        """Symbols programs find in the kernel; None if unknown."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that will not work.

    Attributes
    ----------
    file
        Path in the guest of the file that has the problem.
    text
        What is wrong, a sentence that names it.
    hint
        One thing to do about it.
    """

    file: str
    text: str
    hint: str | None = None


class PreflightError(OsvlabError):
    """Programs in an image need what it does not have.

    Attributes
    ----------
    problems
        All of them.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        texts = [problem.text for problem in self.problems]
        message = texts[0] if len(texts) == 1 else "the image would not run:\n  " + "\n  ".join(texts)
        super().__init__(message, next((p.hint for p in self.problems if p.hint), None))


def check(recipe: Recipe, kernel: Supplier) -> None:
    """Raise if `preflight` finds anything.

    Raises
    ------
    PreflightError
        With all problems in one.
    """
    problems = preflight(recipe, kernel)
    if problems:
        raise PreflightError(problems)


def preflight(recipe: Recipe, kernel: Supplier) -> list[Problem]:
    """Return what the programs of a recipe's command lack, and what in it are no programs.

    Looks at every program that the command or a module starts and at all libraries
    they need, as the kernel will look for them. What a program opens with `dlopen` cannot be
    known. Weak symbols may be missing.

    Raises
    ------
    CommandError
        The command cannot be understood.
    """
    problems: list[Problem] = []
    seen: set[bytes] = set()
    for name in started_programs(recipe):
        found = _locate(recipe.tree, name, kernel.program_folders)
        if found is None:
            problems.append(_no_program(recipe.tree, name, kernel.program_folders))
        elif found not in seen:
            seen.add(found)
            problems += _Loader(recipe.tree, kernel).problems(found)
    return problems


def _locate(tree: Directory, name: str, folders: tuple[str, ...]) -> bytes | None:
    """Find a program as the kernel does: a path as it is, a bare name in its folders."""
    path = os.fsencode(name)
    candidates = [b"/" + path] if b"/" in path else [os.fsencode(folder) + b"/" + path for folder in folders]
    for candidate in candidates:
        found = tree.resolve(candidate)
        if found is not None and not isinstance(found[1], Directory):
            return found[0]
    return None


def _no_program(tree: Directory, name: str, folders: tuple[str, ...]) -> Problem:
    files = {show(path): path for path, node in tree.walk() if isinstance(node, HostFile | Content)}
    same = [path for path in files if path.rpartition("/")[2] == name.rpartition("/")[2]]
    close = same or difflib.get_close_matches("/" + name.lstrip("/"), files, n=1)
    where = name if "/" in name else f"{name} (looked for in {', '.join(folders)})"
    hint = f"Did you mean {quote(close[0])}?" if close else "Name a file of the image, as the guest sees it."
    return Problem(name, f"no such program in the image: {where}", hint)


class _Loader:
    """Follows a program's needs through the image as a kernel's loader would."""

    def __init__(self, tree: Directory, kernel: Supplier) -> None:
        self.tree = tree
        self.kernel = kernel
        self.loaded: dict[bytes, Program] = {}
        self.found: list[Problem] = []
        self.complete = True

    def problems(self, path: bytes) -> list[Problem]:
        """Return everything wrong with the program at a path."""
        program = self._open(path)
        if program is None:
            return self.found
        if program.kind is ProgramKind.LIBRARY:
            self.found.append(
                Problem(show(path), f"{show(path)} is a shared library without main, not a program")
            )
            return self.found
        if program.kind.is_static:
            return self.found
        pending = deque([path])
        while pending:
            pending += self._libraries(pending.popleft())
        self._symbols()
        return self.found

    def _open(self, path: bytes) -> Program | None:
        """Read a file of the image, once."""
        node = self.tree.find(path)
        try:
            if isinstance(node, HostFile):
                program = Program.open(node.path, show(path))
            else:
                program = Program.read(
                    io.BytesIO(node.data if isinstance(node, Content) else b""), show(path)
                )
        except NotAProgramError as error:
            self.found.append(Problem(show(path), error.message, error.hint))
            self.complete = False
            return None
        self.loaded[path] = program
        return program

    def _libraries(self, path: bytes) -> list[bytes]:
        """Find the libraries that a loaded file needs; return those that are new."""
        program = self.loaded[path]
        new = []
        for name in program.needed:
            if name in self.kernel.supplies_libraries:
                continue
            folders = self._folders(path, program)
            found = self._search(os.fsencode(name), folders)
            if found is None:
                self.complete = False
                self.found.append(_missing_library(name, show(path), folders))
            elif found not in self.loaded and self._open(found) is not None:
                new.append(found)
        return new

    def _folders(self, path: bytes, program: Program) -> list[bytes]:
        origin = path.rpartition(b"/")[0] or b"/"
        own = [
            os.fsencode(folder).replace(b"${ORIGIN}", origin).replace(b"$ORIGIN", origin)
            for folder in program.runpath
        ]
        return [*own, *map(os.fsencode, self.kernel.library_folders)]

    def _search(self, name: bytes, folders: list[bytes]) -> bytes | None:
        candidates = [b"/" + name] if b"/" in name else [folder + b"/" + name for folder in folders]
        for candidate in candidates:
            found = self.tree.resolve(candidate)
            if found is not None and self._is_elf(found[0]):
                return found[0]
        return None

    def _is_elf(self, path: bytes) -> bool:
        node = self.tree.find(path)
        # A linker script called libm.so is passed over, a damaged library is not.
        return isinstance(node, HostFile) or (isinstance(node, Content) and node.data.startswith(MAGIC))

    def _symbols(self) -> None:
        """Compare what all loaded files expect with what they and the kernel define."""
        exports = self.kernel.exports
        if exports is None or not self.complete:
            return  # the missing symbols may be in the missing library
        for path, program in self.loaded.items():
            others = [other.defined for other in self.loaded.values() if other is not program]
            missing = [
                symbol.name
                for symbol in program.undefined
                if not symbol.weak
                and symbol.name not in exports
                and not any(symbol.name in defined for defined in others)
                and (symbol.copied or symbol.name not in program.defined)
            ]
            if missing:
                self.found.append(_missing_symbols(missing, show(path)))


def _missing_library(name: str, wanted_by: str, folders: list[bytes]) -> Problem:
    looked = ", ".join(show(folder) for folder in folders)
    on_host = next((folder / name for folder in HOST_LIBRARIES if (folder / name).exists()), None)
    hint = f"Copy it into the directory: cp {on_host} DIRECTORY/usr/lib/" if on_host else None
    return Problem(
        wanted_by,
        f"missing library: {name}, wanted by {wanted_by}; not supplied by the kernel, not in {looked}",
        hint or "Put it into usr/lib of the directory.",
    )


def _missing_symbols(names: list[str], wanted_by: str) -> Problem:
    shown = ", ".join(names[:_SYMBOLS_SHOWN])
    more = f" and {len(names) - _SYMBOLS_SHOWN} more" if len(names) > _SYMBOLS_SHOWN else ""
    what = "missing symbol" if len(names) == 1 else f"{len(names)} missing symbols"
    return Problem(
        wanted_by,
        f"{what}: {shown}{more}, wanted by {wanted_by}; neither its libraries nor the kernel define "
        + ("it" if len(names) == 1 else "them"),
        "Link the program statically (gcc -static), or build with check=False if it never uses them.",
    )
