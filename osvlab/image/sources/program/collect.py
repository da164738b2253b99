"""A program of this host as the source of an image: the file, and all it needs that the kernel has not.

Nothing is run to find that out, neither the program nor `ldd`, which runs it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import TypedDict, TypeVar

from osvlab.elf.host import HostLinker
from osvlab.elf.program import Program, ProgramKind
from osvlab.filesystems.base import show
from osvlab.image.collection import Collection, RecipeError
from osvlab.image.command import quote
from osvlab.image.linker import Supplier
from osvlab.image.sources.program.data import Data, Exclusion, add_data
from osvlab.image.sources.program.host_tree import HostTree
from osvlab.image.sources.program.locale import add_locale
from osvlab.image.sources.program.needs import Needs
from osvlab.image.sources.program.script import Script, read_script
from osvlab.kernels import Kernel
from osvlab.paths import PathNotFoundError

__all__ = ["Extras", "collect"]

_MOST_SCRIPTS = 4  # a script for a script for ...: Linux gives up after four
_T = TypeVar("_T")


class Extras(TypedDict, total=False):
    """What goes into an image besides a program and the libraries that it names.

    Attributes
    ----------
    data
        Files, folders and patterns (``*``, ``**``), each perhaps as a pair with a place in the guest before
        it, ``("/etc/app.conf", "my.conf")``; or a mapping from places in the guest to these. Programs and
        libraries among them bring along what they need.
    libraries
        What the program opens with `dlopen`: names, or paths and patterns with a slash.
    locale
        A locale such as ``de_DE.UTF-8``: glibc's files, and the messages of the program and its libraries.
    exclude
        Patterns of what to leave out of folders: names, or whole paths.
    library_path
        Folders to look for libraries in, as if `$LD_LIBRARY_PATH` named them. That variable itself does
        not count.
    level
        Level of x86-64, from 1 to 4, that the guest's CPU has: which of the folders in ``glibc-hwcaps``
        count. 1 if not given.
    """

    data: Data
    libraries: Iterable[str]
    locale: str | None
    exclude: Iterable[str]
    library_path: Iterable[str | os.PathLike[str]]
    level: int


def collect(
    program: str | os.PathLike[str],
    arguments: Iterable[str] = (),
    kernel: Supplier | None = None,
    *,
    data: Data = (),
    libraries: Iterable[str] = (),
    locale: str | None = None,
    exclude: Iterable[str] = (),
    library_path: Iterable[str | os.PathLike[str]] = (),
    level: int = 1,
) -> Collection:
    """Collect a program and what it needs, as `Recipe.from_program` and `Extras` describe it."""
    exclusion = Exclusion(_listed("exclude", exclude))
    names, extra = _listed("libraries", libraries), _listed("arguments", arguments)
    folders = [os.fsencode(os.path.abspath(folder)) for folder in _listed("library_path", library_path)]
    files = Collection()
    tree = HostTree(files)
    words, path, main = _add_program(tree, _on_host(program))
    files.command = " ".join(quote(_checked(word)) for word in [*words, *extra])
    linker = HostLinker(main.interpreter, folders, level)
    needs = Needs(tree, linker, Kernel.lab() if kernel is None else kernel, path, main)
    for name in names:
        needs.add_library(name)
    for place, file in add_data(tree, data, exclusion):
        needs.add_data(place, file)
    needs.refuse_missing()
    needs.check_guest()
    if locale is not None:
        add_locale(tree, locale, needs.files)
    return files


def _listed(what: str, values: Iterable[_T]) -> tuple[_T, ...]:
    if isinstance(values, str | bytes):
        words = os.fsdecode(values).split() or [""]
        raise RecipeError(f"{what} is a list, not {values!r}", hint=f"Write {what}={words!r}.")
    return tuple(values)


def _checked(word: str) -> str:
    if "$" in word:
        raise RecipeError(
            f"{word!r} would be in the guest's command, with a $ that it expands and nothing can quote",
            hint="Write the whole command with command=, if you want a variable of the guest.",
        )
    return word


def _on_host(program: str | os.PathLike[str]) -> bytes:
    """Return the path of a program that is named as in a shell: by a path, or by a name in $PATH."""
    name = os.fspath(program)
    if not name:
        raise PathNotFoundError("no such program: ''", hint="Name one, like /usr/bin/env.")
    if "/" not in name and isinstance(program, str):
        found = shutil.which(name)
        if found is not None:
            return os.path.join(os.getcwdb(), os.fsencode(found))
        if not os.path.isdir(name):
            here = os.path.exists(name)
            raise PathNotFoundError(
                f"no such program in $PATH: {name}", hint=f"Write ./{name}." if here else "Give its path."
            )
    path = os.path.join(os.getcwdb(), os.fsencode(name))
    if os.path.isdir(path):
        raise RecipeError(
            f"{name} is a folder, not a program",
            hint="Name a program in it; or make an image of the whole folder: osvlab build FOLDER.",
        )
    if not os.path.exists(path):
        raise PathNotFoundError(f"no such program: {name}", hint="Check the path.")
    return path


def _add_program(tree: HostTree, path: bytes) -> tuple[list[str], bytes, Program]:
    """Add a program, and if it is a script the one that reads it.

    Return the words that start it, and the program that the kernel loads, with its path here.
    """
    reason, words, place = "is the program", list[str](), b""
    for _ in range(_MOST_SCRIPTS + 1):
        script = _script(path)
        place = tree.add(path, reason)
        words.insert(0, os.fsdecode(place))
        if script is None:
            program = Program.open(path, show(place))
            if program.kind is ProgramKind.LIBRARY:
                raise RecipeError(
                    f"{show(place)} is a shared library without main, not a program",
                    hint="Name the program that uses it, and the library with libraries=[...].",
                )
            return words, path, program
        words[:0] = script.arguments
        reason = f"reads the script {show(place)} (#!{script.line})"
        path = os.fsencode(script.interpreter)
    raise RecipeError(f"{show(place)} is a script for a script, and so on", hint="Name a program.")


def _script(path: bytes) -> Script | None:
    try:
        return read_script(path)
    except OSError as error:
        raise RecipeError(
            f"cannot read the program {show(path)}: {error.strerror}", hint="Check its permissions."
        ) from error
