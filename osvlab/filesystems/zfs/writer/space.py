"""Space on a fresh pool: where the next block goes, and the space maps that say what was taken.

Blocks are laid one after the other and never across the border of two metaslabs. The first copy of
everything grows from the front; second copies of metadata grow from a place near the end, so that no
scratch hits both. Nothing is ever given back, so a metaslab's space map is a few runs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from osvlab.errors import OsvlabError
from osvlab.filesystems.zfs.format import LABEL_SIZE, VDEV_DATA

__all__ = ["INDIRECT", "INDIRECT_SHIFT", "RECORD", "Geometry", "NoSpaceError", "Space", "space_map"]

RECORD = 128 << 10  # the largest block: all readers have it
INDIRECT_SHIFT = 14  # OSv and zfs-fuse take no larger blocks of pointers
INDIRECT = 1 << INDIRECT_SHIFT
MIN_VDEV = 64 << 20
_METASLABS = 64
_MIN_METASLAB_SHIFT = 20
_RUN_LIMIT = 1 << 15
_ENTRY = struct.Struct("<Q")


class NoSpaceError(OsvlabError, ValueError):
    """A tree does not fit the size that was asked for."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a vdev of some size is divided.

    Attributes
    ----------
    size
        Bytes of the whole vdev: a multiple of the size of a label.
    ashift
        log2 of the smallest allocation.

    Examples
    --------
    >>> geometry = Geometry(64 << 20, 9)
    >>> geometry.asize >> 20, geometry.metaslab_shift, geometry.metaslabs
    (59, 20, 59)
    """

    size: int
    ashift: int

    @property
    def asize(self) -> int:
        """Bytes between the labels at the front, with the room for boot code, and those at the end."""
        return self.size - VDEV_DATA - 2 * LABEL_SIZE

    @property
    def metaslab_shift(self) -> int:
        """log2 of the bytes of a metaslab: some 64 to 128 of them, none below 1 MiB."""
        return max(_MIN_METASLAB_SHIFT, (self.asize // _METASLABS).bit_length() - 1)

    @property
    def metaslabs(self) -> int:
        """How many there are. What is left behind the last one is not used."""
        return self.asize >> self.metaslab_shift

    @property
    def room(self) -> int:
        """Bytes of blocks that surely fit, although none may cross the border of a metaslab."""
        return self.metaslabs * ((1 << self.metaslab_shift) - RECORD)

    @classmethod
    def for_room(cls, room: int, ashift: int) -> Geometry:
        """Return the smallest vdev with that much room."""
        size = max(MIN_VDEV, -(-(room + VDEV_DATA + 2 * LABEL_SIZE) >> 20) << 20)
        while cls(size, ashift).room < room:
            size += max(1 << 20, size >> 8 >> 20 << 20)
        return cls(size, ashift)


class Space:
    """Takes space from the front of the pool, and for second copies from `copies_at` on.

    Parameters
    ----------
    geometry
        Of the vdev.
    copies_room
        Bytes that second copies need at most.
    """

    def __init__(self, geometry: Geometry, copies_room: int) -> None:
        self.geometry = geometry
        metaslab = 1 << geometry.metaslab_shift
        count = -(-copies_room // (metaslab - RECORD))
        border = max(0, geometry.metaslabs - count) * metaslab
        self._front = _Cursor(0, border, geometry)
        self._back = _Cursor(border, geometry.metaslabs * metaslab, geometry)

    def take(self, size: int) -> int:
        """Return where a block of `size` bytes goes, in bytes from the start of the vdev's data.

        Raises
        ------
        NoSpaceError
            There is no more.
        """
        return self._front.take(size)

    def take_copy(self, size: int) -> int:
        """Return where the second copy of a block goes."""
        return self._back.take(size)

    def copy(self) -> Space:
        """Return the same state, to try out what would be taken."""
        twin = object.__new__(Space)
        twin.geometry = self.geometry
        twin._front, twin._back = self._front.copy(), self._back.copy()
        return twin

    def by_metaslab(self) -> dict[int, list[tuple[int, int]]]:
        """Return runs of bytes that are taken, start and length in their metaslab, by metaslab."""
        shift = self.geometry.metaslab_shift
        found: dict[int, list[tuple[int, int]]] = {}
        for start, end in self._front.runs() + self._back.runs():
            while start < end:
                index = start >> shift
                stop = min(end, index + 1 << shift)
                found.setdefault(index, []).append((start - (index << shift), stop - start))
                start = stop
        return found


class _Cursor:
    __slots__ = ("_done", "_limit", "_mask", "_size", "_start", "at")

    def __init__(self, at: int, limit: int, geometry: Geometry) -> None:
        self.at = self._start = at
        self._limit = limit
        self._size = 1 << geometry.metaslab_shift
        self._mask = self._size - 1
        self._done: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        at = self.at
        if (at & self._mask) + size > self._size:
            if self._start < at:
                self._done.append((self._start, at))
            at = self._start = (at | self._mask) + 1
        if at + size > self._limit:
            raise NoSpaceError("the tree does not fit the pool", hint="Give it a larger size.")
        self.at = at + size
        return at

    def runs(self) -> list[tuple[int, int]]:
        return [*self._done, (self._start, self.at)] if self._start < self.at else list(self._done)

    def copy(self) -> _Cursor:
        twin = object.__new__(_Cursor)
        for name in ("at", "_start", "_limit", "_size", "_mask"):
            setattr(twin, name, getattr(self, name))
        twin._done = list(self._done)
        return twin


def space_map(runs: list[tuple[int, int]], ashift: int) -> bytes:
    """Return the entries of a space map in which these runs of bytes were taken.

    Examples
    --------
    >>> space_map([(0, 512), (1024, 1024)], 9).hex(" ", 8)
    '0000000000000000 0100020000000000'
    """
    entries = bytearray()
    for start, length in runs:
        unit, count = start >> ashift, length >> ashift
        while count:
            run = min(count, _RUN_LIMIT)
            entries += _ENTRY.pack(unit << 16 | run - 1)
            unit, count = unit + run, count - run
    return bytes(entries)
