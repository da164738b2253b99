"""What a Capstanfile builds on: a kernel, an image with files in it, or one of OSv's plain images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish
from osvlab.filesystems.base import Entry, Kind, show
from osvlab.filesystems.disk import ROOT_SLOT
from osvlab.filesystems.path import GuestPath
from osvlab.filesystems.tree import Directory, Node, Symlink
from osvlab.image.collection import Collection, RecipeError
from osvlab.image.image import Image
from osvlab.image.sources.scratch import Scratch
from osvlab.image.sources.store import capstan_root, find_image
from osvlab.kernels import Kernel, KernelError

__all__ = ["Base", "find_base"]

PLAIN = frozenset(
    {"cloudius/osv", "cloudius/osv-base", "cloudius/osv-loader", "mike/osv-loader", "osv-loader"}
)
"""Images of OSv with no application in them: a kernel, and a few tools for building."""


@dataclass(frozen=True, slots=True)
class Base:
    """What was found under a name.

    Attributes
    ----------
    name
        What it was asked for by.
    kernel
        The kernel that it is; None leaves the choice to who builds.
    image
        The image whose files go in first; None if it brings none.
    """

    name: str
    kernel: Kernel | None = None
    image: Image | None = None

    def put_into(self, files: Collection) -> None:
        """Add the files of the image, which later ones replace."""
        if self.image is None:
            return
        scratch = Scratch()
        try:
            for path, entry in self.image.files.walk():
                reason = f"comes from the base image {self.image.path}"
                files.add(entry.path, _node(path, entry, scratch), reason)
        except BaseException:
            scratch.close()  # whoever keeps the error, would keep it
            raise
        files.kept = (*files.kept, scratch)


def find_base(name: str, folder: Path) -> Base:
    """Find what a name stands for: a file, an image in Capstan's repository, or one of OSv's plain images.

    Parameters
    ----------
    name
        Path of a file, absolute or in `folder`, or a name like ``cloudius/osv-base``.
    folder
        Where the Capstanfile is.

    Raises
    ------
    RecipeError
        There is no such file or image, or it is none that can be read.
    """
    path = folder / name
    if path.is_file():
        return _open(name, path)
    stored = find_image(name)
    if stored is not None:
        try:
            return _open(name, stored)
        except RecipeError as error:
            if name not in PLAIN:
                raise
            publish(Note(f"{error.message}; it is a plain OSv"))
    if name in PLAIN:
        publish(Note(f"base {name} is a plain OSv: the lab kernel takes its place, unless another is given"))
        return Base(name)
    raise RecipeError(
        f"no such base: {name}; not a file in {folder}, not an image in {capstan_root() / 'repository'}",
        hint="Give a kernel or an image with base=..., or take cloudius/osv-base for the lab kernel.",
    )


def _open(name: str, path: Path) -> Base:
    try:
        image = Image.open(path)
    except OsvlabError:
        image = None  # a kernel is none
    if image is not None and any(partition.slot == ROOT_SLOT for partition in image.partitions):
        if image.filesystem == "unknown":
            raise _unreadable(name, path, "its root filesystem is of no kind that the lab reads")
        publish(Note(f"base {name}: the files of {path} go in first; its kernel does not come along"))
        return Base(name, image=image)
    try:
        return Base(name, kernel=Kernel.open(path))
    except KernelError as error:
        with open(path, "rb") as file:
            head = file.read(4)
        formats = {b"QFI\xfb": "it is in the format qcow2", b"KDMV": "it is in the format vmdk"}
        raise _unreadable(name, path, formats.get(head, error.message)) from error


def _unreadable(name: str, path: Path, why: str) -> RecipeError:
    return RecipeError(
        f"the base {name} cannot be used: {path}: {why}",
        hint=f"Convert it: qemu-img convert -O raw {path} base.img; and name that with base=...",
    )


def _node(path: GuestPath, entry: Entry, scratch: Scratch) -> Node:
    mode = entry.permissions
    mtime = entry.modified or 0
    match entry.kind:
        case Kind.DIRECTORY:
            return Directory(mode=0o755 if mode is None else mode, mtime=mtime)
        case Kind.SYMLINK:
            return Symlink(os.fsencode(path.readlink()), mtime)
        case Kind.FILE:
            pieces = path.data_pieces()
            # A format without permissions says nothing about which of its files are programs.
            return scratch.keep_data(pieces, entry.size, 0o755 if mode is None else mode, mtime)
        case _:
            raise RecipeError(
                f"the base image has a {entry.kind} at {show(entry.path)}, which an image cannot hold",
                hint="Remove it there.",
            )
