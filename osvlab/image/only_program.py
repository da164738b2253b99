"""Which program an image runs when nobody says: the only one at the top of its files."""

from __future__ import annotations

import io
import os
import stat

from osvlab.elf.program import Program, ProgramKind
from osvlab.elf.recognise import MAGIC, NotAProgramError, is_elf
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Content, Directory, HostFile
from osvlab.image.collection import RecipeError
from osvlab.image.command import quote

__all__ = ["only_program"]


def only_program(tree: Directory, origin: str) -> str:
    """Return the command that runs the only program at the top of a tree; `origin` is what it came from.

    Raises
    ------
    RecipeError
        There is none, or more than one.
    NotAProgramError
        The only candidate is none.
    """
    files = [(name, node) for name, node in tree.entries() if isinstance(node, HostFile | Content)]
    programs, refused = [], []
    for name, node in files:
        if not _looks_like_elf(node):
            continue
        try:
            if _open(node, name).kind is not ProgramKind.LIBRARY:
                programs.append(name)
        except NotAProgramError as error:
            refused.append(error)
    if len(programs) == 1:
        return quote(os.fsdecode(b"/" + programs[0]))
    if programs:
        names = ", ".join(show(b"/" + name) for name in programs)
        raise RecipeError(
            f"more than one program at the top of {origin}: {names}",
            hint=f'Say which one to run: command="/{show(programs[0])}".',
        )
    if refused:
        raise refused[0]
    for name, node in files:
        if node.mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
            _open(node, name)  # an executable that is no ELF program: this says what it is instead
    raise RecipeError(
        f"no program at the top of {origin}",
        hint='Say what to run: command="/bin/program arguments".',
    )


def _looks_like_elf(node: HostFile | Content) -> bool:
    return node.data.startswith(MAGIC) if isinstance(node, Content) else is_elf(node.path)


def _open(node: HostFile | Content, name: bytes) -> Program:
    if isinstance(node, Content):
        return Program.read(io.BytesIO(node.data), show(b"/" + name))
    return Program.open(node.path)
