"""Look before the leap: what a program needs that neither the image nor the kernel has.

A guest that lacks a library or a symbol fails seconds later and far away, on real
OSv only when the symbol is used. All of it can be read from the ELF files before.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from osvlab.elf.program import ProgramKind
from osvlab.elf.recognise import NotAProgramError
from osvlab.elf.search import Loaded, Namespace
from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Content, Directory, HostFile
from osvlab.image.command import quote
from osvlab.image.linker import ImageLinker, Supplier
from osvlab.image.modules import HOST_LIBRARIES
from osvlab.image.recipe import Recipe
from osvlab.image.started import started_programs

__all__ = ["PreflightError", "Problem", "Supplier", "check", "preflight"]

_SYMBOLS_SHOWN = 8


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
    problems: dict[Problem, None] = {}
    seen: set[bytes] = set()
    for name in started_programs(recipe):
        found = _locate(recipe.tree, name, kernel.program_folders)
        if found is None:
            problems[_no_program(recipe.tree, name, kernel.program_folders)] = None
        elif found not in seen:
            seen.add(found)
            problems |= dict.fromkeys(_Loader(recipe.tree, kernel).problems(found))
    return list(problems)


def _locate(tree: Directory, name: str, folders: tuple[str, ...]) -> bytes | None:
    """Find a program as the kernel does: a path as it is, a bare name in its folders."""
    path = os.fsencode(name)
    where = ["/"] if b"/" in path else folders
    for candidate in (os.path.join(os.fsencode(folder), path) for folder in where):
        found = tree.resolve(candidate)
        if found is not None and not isinstance(found[1], Directory):
            return candidate
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
        self.kernel = kernel
        self.linker = ImageLinker(tree, kernel)
        self.namespace = Namespace(self._find, kernel.supplies_libraries)
        self.found: list[Problem] = []
        self.complete = True

    def problems(self, path: bytes) -> list[Problem]:
        """Return everything wrong with the program at a path."""
        try:
            first = self.linker.loaded(path)
        except NotAProgramError as error:
            return [Problem(show(path), error.message, error.hint)]
        if first is None or first.program.kind.is_static:
            return []
        if first.program.kind is ProgramKind.LIBRARY:
            text = f"{first.program.name} is a shared library without main, not a program"
            return [Problem(first.program.name, text)]
        for _ in self.namespace.follow(first):
            pass
        self._symbols()
        return self.found

    def _find(self, name: str, wanting: Loaded) -> Loaded | None:
        """Find what a file needs; keep what is wrong with it."""
        path = self.linker.find(name, wanting)
        try:
            if path is not None:
                return self.linker.loaded(path, wanting)
            problem = _missing_library(name, wanting.program.name, self.linker.folders(wanting))
        except NotAProgramError as error:
            problem = Problem(show(path or b""), error.message, error.hint)
        self.complete = False
        if problem not in self.found:
            self.found.append(problem)
        return None

    def _symbols(self) -> None:
        """Compare what all loaded files expect with what they and the kernel define."""
        exports = self.kernel.exports
        if exports is None or not self.complete:
            return  # the missing symbols may be in the missing library
        programs = [loaded.program for loaded in self.namespace.loaded.values()]
        for program in programs:
            others = [other.defined for other in programs if other is not program]
            missing = [
                symbol.name
                for symbol in program.undefined
                if not symbol.weak
                and symbol.name not in exports
                and not any(symbol.name in defined for defined in others)
                and (symbol.copied or symbol.name not in program.defined)
            ]
            if missing:
                self.found.append(_missing_symbols(missing, program.name))


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
