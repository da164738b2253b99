"""What goes into an image: files and why they are there, the command, the filesystem.

A source is read once, and everything in it that an image cannot hold is said
in one error, before anything is compiled or written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from osvlab.events import step
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import (
    Content,
    Directory,
    HostFile,
    TreeError,
)
from osvlab.image.collection import Collection, RecipeError, why
from osvlab.image.command import parse_command
from osvlab.image.described import FromDescription
from osvlab.image.modules import Module, add_modules
from osvlab.image.only_program import only_program
from osvlab.image.program import FromProgram
from osvlab.image.skeleton import add_skeleton
from osvlab.kernels import Kernel
from osvlab.paths import format_size

__all__ = ["Filesystem", "Recipe", "RecipeError"]


class Filesystem(StrEnum):
    """What the root filesystem of an image is, by the name that kernels know it by.

    ``rofs``: read-only, on the disk. ``ramfs``: unpacked into memory when the
    guest boots, from a bootfs on the disk; the guest can write to it. ``zfs``: on the disk, and the
    guest can write to it.
    """

    ROFS = "rofs"
    RAMFS = "ramfs"
    ZFS = "zfs"


@dataclass(frozen=True, slots=True, repr=False)
class Recipe(FromProgram, FromDescription):
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
    reasons
        Why things are there, by path; `why` makes a sentence of them.
    kernel
        The kernel that the source names; None if it names none.
    folders
        Directories of the host that were taken whole.

    Examples
    --------
    >>> tree = Directory({b"hello": Content(b"...")})
    >>> recipe = Recipe(tree, "/hello", Filesystem.ROFS).with_skeleton()
    >>> [os.fsdecode(path) for path, node in recipe.tree.walk() if isinstance(node, Content)]
    ['/etc/fstab', '/etc/hosts', '/hello']
    >>> print(recipe.why("/proc"))
    /proc is a directory that the guest mounts a filesystem of its own onto
    """

    tree: Directory
    command: str
    filesystem: Filesystem = Filesystem.ROFS
    modules: tuple[Module, ...] = ()
    reasons: Mapping[bytes, str] = field(default_factory=dict, compare=False, repr=False)
    kernel: Kernel | None = field(default=None, compare=False)
    folders: tuple[Path, ...] = field(default=(), compare=False)
    # What has to stay as long as the tree is used, such as a folder with unpacked files.
    kept: tuple[object, ...] = field(default=(), compare=False, repr=False)

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
            ``rofs``, ``zfs`` or ``ramfs``.

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
        try:
            tree = read_tree(directory)
        except TreeError as error:
            raise RecipeError(error.message, error.hint) from error
        whole = Path(os.path.realpath(directory))
        reasons = {b"/": f"comes from the directory {os.fspath(directory)}"}
        files = Collection(tree, reasons, folders=(whole,), origin=os.fspath(directory))
        return cls.from_collection(files, command, fs)

    @classmethod
    def from_source(
        cls,
        path: str | os.PathLike[str],
        command: str | None = None,
        fs: str = Filesystem.ROFS,
        **options: Any,
    ) -> Recipe:
        """Make a recipe of whatever a path stands for.

        Parameters
        ----------
        path
            A directory, which becomes the root of the guest; a Capstanfile, or a directory with one; a
            manifest; a package, as a directory or an archive.
        command
            What the guest runs.
        fs
            ``rofs``, ``zfs`` or ``ramfs``.
        options
            Further parameters of `from_capstanfile`, `from_manifest` or `from_package`.

        Raises
        ------
        RecipeError
            It is nothing of these, or an option is not for it; and what these functions raise.

        Examples
        --------
        >>> _ = Path("Capstanfile").write_text("cmdline: /hello")
        >>> Recipe.from_source(".").command
        '/hello'
        """
        from osvlab.image.sources.recognise import SourceKind, options_for, recognise

        kind = recognise(path)
        makers: dict[SourceKind, Callable[..., Recipe]] = {
            SourceKind.DIRECTORY: cls.from_directory,
            SourceKind.CAPSTANFILE: cls.from_capstanfile,
            SourceKind.MANIFEST: cls.from_manifest,
            SourceKind.PACKAGE: cls.from_package,
        }
        with step(f"read the {kind}"):
            return makers[kind](path, command, fs, **options_for(path, kind, options))

    @classmethod
    def from_collection(
        cls, files: Collection, command: str | None = None, fs: str = Filesystem.ROFS
    ) -> Recipe:
        """Make a recipe of files that a source has collected.

        Parameters
        ----------
        files
            The files, with their reasons.
        command
            What the guest runs. Without it what the source says, and if that says nothing, the
            only ELF program at the top.
        fs
            ``rofs``, ``zfs`` or ``ramfs``.

        Raises
        ------
        RecipeError
            There is nothing to run, or it is not clear what.
        NotAProgramError
            The only candidate is a script, or made for another machine.
        CommandError
            The command cannot be understood.
        """
        filesystem = _filesystem(fs)
        command = None if command is None else _checked(command)
        command = command or files.command or only_program(files.tree, files.origin)
        recipe = cls(
            files.tree,
            command,
            filesystem,
            reasons=files.reasons,
            kernel=files.kernel,
            folders=files.folders,
            kept=files.kept,
        )
        return recipe.with_skeleton()

    def __repr__(self) -> str:
        sizes = [node.size for _, node in self.tree.walk() if isinstance(node, HostFile | Content)]
        size = format_size(sum(sizes))
        return f"<Recipe of {len(sizes)} files, {size}, as {self.filesystem}: {self.command}>"

    def why(self, path: str | bytes) -> str:
        """Return a sentence that says why a file, directory or link is in the image.

        Raises
        ------
        GuestPathNotFoundError
            It is not there; the hint names one that is and looks like it.
        """
        return why(self.tree, self.reasons, path)

    def with_command(self, command: str) -> Recipe:
        """Run something else.

        Raises
        ------
        RecipeError
            The command is empty.
        CommandError
            It cannot be understood.
        """
        return replace(self, command=_checked(command))

    def with_skeleton(self) -> Recipe:
        """Add what a root filesystem must have and the tree has not: mount points, and files in /etc.

        Raises
        ------
        RecipeError
            A file stands where a mount point has to be.
        """
        files = Collection(self.tree, dict(self.reasons))
        add_skeleton(files, self.filesystem, writable=self.filesystem is not Filesystem.ROFS)
        return replace(self, tree=files.tree, reasons=files.reasons)

    def with_modules(self, modules: Iterable[Module]) -> Recipe:
        """Add modules; files that the tree already has stay as they are.

        Raises
        ------
        RecipeError
            A file stands where a module needs a directory.
        """
        modules = tuple(modules)
        files = Collection.of(self.tree, self.reasons)
        add_modules(files, modules)
        return replace(self, tree=files.tree, reasons=files.reasons, modules=self.modules + modules)


def _checked(command: str) -> str:
    if not parse_command(command):
        raise RecipeError(
            "the command is empty: there is nothing to run", hint="Leave it out, or name a program."
        )
    return command


def _filesystem(name: str) -> Filesystem:
    try:
        return Filesystem(name)
    except ValueError:
        known = ", ".join(Filesystem)
        raise RecipeError(f"unknown filesystem: {name!r}", hint=f"The lab writes {known}.") from None
