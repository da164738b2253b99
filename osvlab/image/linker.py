"""Which library of an image a kernel would take: its search, through the tree the image is made of."""

from __future__ import annotations

import io
import os
from typing import Protocol

from osvlab.elf.program import Program
from osvlab.elf.recognise import MAGIC
from osvlab.elf.search import Loaded, Place, Rules, own_places
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Content, Directory, HostFile

__all__ = ["ImageLinker", "Supplier"]


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
    def linker_rules(self) -> Rules:
        """What the kernel makes of the folders that programs name."""

    @property
    def exports(self) -> frozenset[str] | None:
        """Symbols programs find in the kernel; None if unknown."""


class ImageLinker:
    """A kernel's dynamic linker, at work in a tree.

    Parameters
    ----------
    tree
        The root filesystem.
    kernel
        Whose rules count.
    """

    def __init__(self, tree: Directory, kernel: Supplier) -> None:
        self._tree = tree
        self._kernel = kernel
        self._programs: dict[bytes, Program] = {}

    def loaded(self, path: bytes, loader: Loaded | None = None) -> Loaded | None:
        """Return a file of the tree as the kernel loads it; None if there is none.

        Raises
        ------
        NotAProgramError
            It is no program and no library.
        """
        found = self._tree.resolve(path)
        if found is None or isinstance(found[1], Directory):
            return None
        real, _ = found
        if real not in self._programs:
            self._programs[real] = self._read(real)
        opened = real if self._kernel.linker_rules.origin_behind_links else path
        origin = opened.rpartition(b"/")[0] or b"/"
        return Loaded(path, self._programs[real], real, origin, loader)

    def _read(self, path: bytes) -> Program:
        node = self._tree.find(path)
        if isinstance(node, HostFile):
            return Program.open(node.path, show(path))
        return Program.read(io.BytesIO(node.data if isinstance(node, Content) else b""), show(path))

    def folders(self, wanting: Loaded) -> list[bytes]:
        """Return where the kernel looks for what a file needs, in order."""
        own: list[Place] = own_places(wanting, self._kernel.linker_rules)
        return [*(place.folder for place in own), *map(os.fsencode, self._kernel.library_folders)]

    def find(self, name: str, wanting: Loaded) -> bytes | None:
        """Return the path at which the kernel would open what a file needs; None if there is none."""
        wanted = os.fsencode(name)
        folders = [b"/"] if b"/" in wanted else self.folders(wanting)
        for folder in folders:
            path = os.path.join(folder, wanted)
            if self._is_elf(path):
                return path
        return None

    def _is_elf(self, path: bytes) -> bool:
        found = self._tree.resolve(path)
        node = None if found is None else found[1]
        # A linker script called libm.so is passed over, a damaged library is not.
        return isinstance(node, HostFile) or (isinstance(node, Content) and node.data.startswith(MAGIC))
