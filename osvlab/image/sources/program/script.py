"""Scripts: which program reads them, as `execve` finds it in their first line.

Source: execve(2), "Interpreter scripts"; env(1).
"""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass

from osvlab.filesystems.base import show
from osvlab.image.collection import RecipeError
from osvlab.paths import open_bytes

__all__ = ["Script", "read_script"]

_LONGEST = 256  # what Linux reads of a file to see what it is (BINPRM_BUF_SIZE)


@dataclass(frozen=True, slots=True)
class Script:
    """The first line of a script.

    Attributes
    ----------
    line
        As it stands there, without ``#!``.
    interpreter
        Path of the program that reads the script.
    arguments
        What comes before the script's name on that program's command line.
    """

    line: str
    interpreter: str
    arguments: tuple[str, ...]


def read_script(path: bytes) -> Script | None:
    """Return what a script says of itself; None if the file is no script.

    Raises
    ------
    RecipeError
        Its interpreter is not on this host, or is named in a way that only a shell understands.
    """
    with open(open_bytes(path), "rb") as stream:
        head = stream.read(_LONGEST)
    if not head.startswith(b"#!"):
        return None
    line = os.fsdecode(head[2:].partition(b"\n")[0].strip(b" \t"))
    interpreter, _, rest = line.replace("\t", " ").partition(" ")
    if not interpreter:
        raise RecipeError(f"{show(path)} is a script that names no interpreter", hint="Write one after #!.")
    arguments: tuple[str, ...] = (rest.strip(),) if rest.strip() else ()
    if os.path.basename(interpreter) == "env":
        interpreter, arguments = _after_env(show(path), _plain(line), rest)
    if not os.path.isfile(interpreter):
        raise RecipeError(
            f"{show(path)} is a script for {_plain(line)}, and there is no {_plain(interpreter)} here",
            hint="Install it, or name another interpreter in the first line.",
        )
    return Script(line, interpreter, arguments)


def _plain(text: str) -> str:
    """Write what stands in a file so that a terminal survives it: a carriage return, for example."""
    return text if text.isprintable() else repr(text)


def _after_env(path: str, line: str, rest: str) -> tuple[str, tuple[str, ...]]:
    """Return what `env` would run; only a name, or -S and words, can be told without running it."""
    rest = rest.strip()
    try:
        words = shlex.split(rest[2:]) if rest.startswith("-S") else [rest]
    except ValueError:  # a quote without its end
        words = []
    if not words or not words[0] or words[0].startswith("-") or "=" in words[0]:
        raise RecipeError(
            f"{path} is a script for {line}, which says too little about what reads it",
            hint="Name the interpreter's path in the first line.",
        )
    found = shutil.which(words[0])
    if found is None:
        raise RecipeError(
            f"{path} is a script for {line}, and there is no {_plain(words[0])} in $PATH",
            hint="Install it, or name the interpreter's path in the first line.",
        )
    return found, tuple(words[1:])
