"""What goes into an image: files, the command, the filesystem.

A directory is read once, and everything in it that an image cannot hold is said
in one error, before anything is compiled or written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from osvlab.elf.program import NotAProgramError, Program, ProgramKind, is_elf
from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import (
    Content,
    Directory,
    HostFile,
    Node,
    Symlink,
    TreeError,
)
from osvlab.image.command import parse_command, quote
from osvlab.image.modules import Module, add_modules

__all__ = ["Filesystem", "Recipe", "RecipeError"]


class RecipeError(OsvlabError, ValueError):
    """A directory cannot become an image."""


class Filesystem(StrEnum):
    """What the root filesystem of an image is, by the name that kernels know it by.

    ``rofs``: read-only, on the disk. ``ramfs``: unpacked into memory when the
    guest boots, from a bootfs on the disk; the guest can write to it.
    """

    ROFS = "rofs"
    RAMFS = "ramfs"


# What a root filesystem must have: OSv mounts onto these directories and reads these files.
_MOUNT_POINTS = (b"dev", b"proc", b"sys", b"tmp")
_HOSTS = b"127.0.0.1 localhost osv.local\n"
_FSTAB = """\
{device:<12} /          {filesystem:<9} defaults 0 0
none         /dev       devfs     defaults 0 0
none         /proc      procfs    defaults 0 0
none         /sys       sysfs     defaults 0 0
"""
_FSTAB_TMP = """\
none         /tmp       ramfs     defaults 0 0
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What goes into an image.

    Attributes
    ----------
    tree
        The root filesystem.
    command
        What the guest runs, in OSv's grammar.
    filesystem
        How the tree is stored.
    modules
        Parts of the guest that were added to the tree.

    Examples
    --------
    >>> tree = Directory({b"hello": Content(b"...")})
    >>> recipe = Recipe(tree, "/hello", Filesystem.ROFS).with_skeleton()
    >>> [show(path) for path, node in recipe.tree.walk() if isinstance(node, Content)]
    ['/etc/fstab', '/etc/hosts', '/hello']
    """

    tree: Directory
    command: str
    filesystem: Filesystem = Filesystem.ROFS
    modules: tuple[Module, ...] = ()

    @classmethod
    def from_directory(
        cls,
        directory: str | os.PathLike[str],
        command: str | None = None,
        fs: str = Filesystem.ROFS,
    ) -> Recipe:
        """Read a directory: it becomes the root of the guest.

        Parameters
        ----------
        directory
            Its files, directories and symbolic links are taken as they are.
        command
            What the guest runs. Without it, the only ELF program at the top of
            the directory.
        fs
            ``rofs`` or ``ramfs``.

        Raises
        ------
        PathNotFoundError
            The directory is not there.
        RecipeError
            It is empty or no directory; it holds sockets, devices, unreadable
            files or names that are too long (all are listed); or there is not
            exactly one program and no command.
        NotAProgramError
            The only candidate is a script, or made for another machine.
        CommandError
            The command cannot be understood.
        """
        filesystem = _filesystem(fs)
        if command is not None and not parse_command(command):
            raise RecipeError(
                "the command is empty: there is nothing to run", hint="Leave it out, or name a program."
            )
        try:
            tree = read_tree(directory)
        except TreeError as error:
            raise RecipeError(error.message, error.hint) from error
        if command is None:
            command = _only_program(tree, Path(directory))
        return cls(tree, command, filesystem).with_skeleton()

    def with_skeleton(self) -> Recipe:
        """Add what a root filesystem must have and the tree has not: mount points, and files in /etc.

        Raises
        ------
        RecipeError
            A file stands where a mount point has to be.
        """
        tree = replace(self.tree, children=dict(self.tree.children))
        for name in _MOUNT_POINTS:
            found = tree.children.setdefault(name, Directory())
            if isinstance(found, HostFile | Content):
                raise RecipeError(
                    f"/{show(name)} is a file, and the guest needs a directory there",
                    hint="Rename it: the guest mounts a filesystem of its own onto it.",
                )
        etc = tree.children.get(b"etc", Directory())
        if isinstance(etc, Directory):  # a link or a file called /etc is the user's own business
            fstab = _FSTAB.format(device="/dev/vblk0.1", filesystem=self.filesystem)
            if self.filesystem is Filesystem.ROFS:
                fstab += _FSTAB_TMP  # the only place where the guest can write
            defaults: dict[bytes, Node] = {
                b"fstab": Content(fstab.encode()),
                b"hosts": Content(_HOSTS),
                b"mnttab": Symlink(b"/proc/mounts"),
                b"resolv.conf": Symlink(b"/proc/net/pnp"),  # the name servers that DHCP gave
            }
            tree.children[b"etc"] = replace(etc, children={**defaults, **etc.children})
        return replace(self, tree=tree)

    def with_modules(self, modules: Iterable[Module]) -> Recipe:
        """Add modules; files that the tree already has stay as they are.

        Raises
        ------
        TreeError
            A file stands where a module needs a directory.
        """
        modules = tuple(modules)
        return replace(self, tree=add_modules(self.tree, modules), modules=self.modules + modules)


def _filesystem(name: str) -> Filesystem:
    try:
        return Filesystem(name)
    except ValueError:
        known = ", ".join(Filesystem)
        raise RecipeError(f"unknown filesystem: {name!r}", hint=f"The lab writes {known}.") from None


# --- which program to run ------------------------------------------------------------------------------


def _only_program(tree: Directory, directory: Path) -> str:
    """Return the command that runs the only program at the top of a directory.

    Raises
    ------
    RecipeError
        There is none, or more than one.
    NotAProgramError
        The only candidate is none.
    """
    files = [(name, node) for name, node in tree.entries() if isinstance(node, HostFile)]
    programs, refused = [], []
    for name, node in files:
        if not is_elf(node.path):
            continue
        try:
            if Program.open(node.path).kind is not ProgramKind.LIBRARY:
                programs.append(name)
        except NotAProgramError as error:
            refused.append(error)
    if len(programs) == 1:
        return quote(os.fsdecode(b"/" + programs[0]))
    if programs:
        names = ", ".join(show(b"/" + name) for name in programs)
        raise RecipeError(
            f"more than one program at the top of {directory}: {names}",
            hint=f'Say which one to run: command="/{show(programs[0])}".',
        )
    if refused:
        raise refused[0]
    for _, node in files:
        if os.access(node.path, os.X_OK):
            Program.open(node.path)  # an executable that is no ELF program: this says what it is instead
    raise RecipeError(
        f"no program at the top of {directory}",
        hint='Say what to run: command="/bin/program arguments".',
    )
