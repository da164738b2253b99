"""The options of `build` and `run` that make an image of a program of this host."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.image.recipe import Recipe

_OF_PROGRAMS = ("data", "library", "library_path", "locale", "exclude")
_OF_SOURCES = ("base", "define", "packages", "require", "boot")

__all__ = ["add_program_options", "names_program", "program_recipe"]


def add_program_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--program` and what goes with it."""
    group = parser.add_argument_group("a program of this host, with the libraries that it needs")
    group.add_argument(
        "--program", metavar="PROGRAM", help="its path, or its name in $PATH; instead of SOURCE"
    )
    group.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="PATH[:/PLACE]",
        help="include a file, folder or pattern, at the place it has here or another (repeatable)",
    )
    group.add_argument(
        "--library",
        action="append",
        default=[],
        metavar="NAME",
        help="include a library that it opens with dlopen (repeatable)",
    )
    group.add_argument(
        "--library-path",
        action="append",
        default=[],
        metavar="FOLDER",
        help="look for libraries there too (repeatable)",
    )
    group.add_argument("--locale", metavar="NAME", help="include a locale, such as de_DE.UTF-8")
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out of --data what has such a name or path (repeatable)",
    )


def names_program(options: argparse.Namespace, source: str | None) -> bool:
    """Whether an image of a program is asked for, rather than of a source.

    Raises
    ------
    OsvlabError
        Both are, or there are options that go with the other one.
    """
    has_program = options.program is not None
    if has_program and source is not None:
        raise OsvlabError(
            f"both --program {options.program} and {source}",
            hint="Name one of them; the program's arguments stand behind --.",
        )
    wrong = [name for name in (_OF_SOURCES if has_program else _OF_PROGRAMS) if getattr(options, name, None)]
    if wrong:
        raise OsvlabError(
            f"--{wrong[0].replace('_', '-')} does not go "
            + ("with --program" if has_program else "without --program"),
            hint="Leave it out; osvlab build --help tells what goes with what.",
        )
    return has_program


def program_recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe of the program that is named; the words behind ``--`` are its arguments.

    Raises
    ------
    OsvlabError
        The recipe cannot be made.
    """
    from osvlab.events import step
    from osvlab.image.recipe import Recipe

    with step("collect the program"):
        return Recipe.from_program(
            options.program,
            options.words,
            fs=getattr(options, "fs", "rofs"),
            data=[_placed(text) for text in options.data],
            libraries=options.library,
            locale=options.locale,
            exclude=options.exclude,
            library_path=options.library_path,
            kernel=options.kernel,
        )


def _placed(text: str) -> str | tuple[str, str]:
    """Part a path from its place in the guest, if it has one."""
    path, colon, place = text.rpartition(":/")
    return ("/" + place, path) if colon and path and not os.path.lexists(text) else text
