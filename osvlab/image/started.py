"""Which programs a guest starts: those of its command, of its modules, and of scripts that these run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Content, HostFile
from osvlab.image.command import CommandError, parse_command, split_command_line
from osvlab.image.recipe import Recipe

__all__ = ["RUNSCRIPT", "started_programs"]

RUNSCRIPT = "runscript"
"""A command of the kernels themselves: it runs what stands in a file, a command line in each line."""

_LARGEST = 1 << 20


def started_programs(recipe: Recipe) -> list[str]:
    """Return the programs, as the command or a script names them, in order and each once.

    Names with a `$` are left out: what they mean is known only when the guest runs. A script that is
    not there stands for itself.

    Raises
    ------
    CommandError
        The command or a script cannot be understood.

    Examples
    --------
    >>> from osvlab.filesystems.tree import Directory
    >>> tree = Directory({b"all": Content(b"--env=A?=b /one; /two $A")})
    >>> started_programs(Recipe(tree, "--cwd=/ runscript /all; /three"))
    ['/one', '/two', '/three']
    """
    # What in front of the command begins with a dash is the kernel's.
    command = split_command_line(recipe.command)[1]
    lines = [*(line for module in recipe.modules for line in module.init.values()), command]
    found: dict[str, None] = {}
    for words in (words for line in lines for words in parse_command(line)):
        if words[0] == RUNSCRIPT and len(words) == 2:
            found |= dict.fromkeys(_programs_of(recipe, words[1]))
        else:
            found.setdefault(words[0])
    return [name for name in found if "$" not in name]


def _programs_of(recipe: Recipe, script: str) -> Iterator[str]:
    """Yield the programs that a script starts, whose lines may begin with options of their own."""
    found = recipe.tree.resolve(os.fsencode(script))
    text = None if found is None else _text(found[1])
    if text is None:
        yield script
        return
    for number, line in enumerate(text.splitlines(), 1):
        try:
            commands = parse_command(line)
        except CommandError as error:
            where = f"{show(os.fsencode(script))}, line {number}"
            raise CommandError(f"{where}: {error.message}", error.hint) from error
        for words in commands:
            yield from [word for word in words if not word.startswith("-")][:1]


def _text(node: object) -> str | None:
    if isinstance(node, Content):
        return os.fsdecode(node.data)
    if isinstance(node, HostFile) and node.size <= _LARGEST:
        with open(node.path, "rb") as file:
            return os.fsdecode(file.read(_LARGEST))
    return None
