"""System attributes: what a file of ZPL version 5 is, in an order that a layout says.

A dataset registers its attributes (name, number, length) and its layouts (lists of numbers). The bonus
of a file names a layout; the attributes follow in its order, and what did not fit is in a spill block
with a header and a layout of its own. An attribute of length 0 is of variable length: the header has
those lengths, in order.
"""

from __future__ import annotations

from typing import NamedTuple

from osvlab.filesystems.zfs.errors import UnsupportedPoolError, damaged
from osvlab.filesystems.zfs.format import SA_HEAD, C
from osvlab.filesystems.zfs.objects import Dnode, ObjectSet
from osvlab.filesystems.zfs.zap import Zap

__all__ = ["Attribute", "SystemAttributes"]

_MAX_ATTRIBUTES = 1024
_MAX_KNOWN = 1024
_HEADER = len(C.sa_header)
_MAGIC = C.SA_MAGIC
_SWAPPED = int.from_bytes(_MAGIC.to_bytes(4, "little"), "big")


class Attribute(NamedTuple):
    """An attribute as it is registered.

    Attributes
    ----------
    name
        Such as ``ZPL_MODE``.
    length
        Bytes; 0: as the header of each file says.
    swap
        How its words are turned round.
    """

    name: str
    length: int
    swap: int


class SystemAttributes:
    """What a dataset registers.

    Parameters
    ----------
    objects
        The dataset's objects.
    number
        The object that holds registry and layouts.

    Raises
    ------
    DamagedError
        It cannot be right.
    """

    def __init__(self, objects: ObjectSet, number: int) -> None:
        master = Zap(objects.dnode(number))
        registry = Zap(objects.dnode(master.number(b"REGISTRY")))
        layouts = Zap(objects.dnode(master.number(b"LAYOUTS")))
        self._known: dict[bytes, list[tuple[str, int, int]]] = {}  # by header: files have few of them
        self.attributes: dict[int, Attribute] = {}
        for entry in registry.entries():
            name = entry.name.decode("ascii", "backslashreplace")
            value = entry.number
            self.attributes[value & 0xFFFF] = Attribute(name, value >> 24 & 0xFFFF, value >> 16 & 0xFF)
        self.layouts: dict[int, list[Attribute]] = {}
        for entry in layouts.entries():
            unknown = [number for number in entry.values if number not in self.attributes]
            if unknown or not entry.name.isdigit() or len(entry.values) > _MAX_ATTRIBUTES:
                raise damaged(
                    f"layout {entry.name!r} of {objects.name}",
                    layouts.dnode.offset,
                    f"has attributes that are not registered: {unknown[:5]}",
                )
            self.layouts[int(entry.name)] = [self.attributes[number] for number in entry.values]

    def of(self, dnode: Dnode) -> dict[str, bytes]:
        """Return the attributes of a file: their bytes by name."""
        found = self._parse(dnode.bonus, dnode)
        spill = dnode.spill
        if spill is not None and not spill.is_hole:
            found.update(self._parse(dnode.blocks.read(spill, f"spill block of {dnode.name}"), dnode))
        return found

    def _parse(self, data: bytes, dnode: Dnode) -> dict[str, bytes]:
        return {name: data[start:end] for name, start, end in self.places(data, dnode)}

    def places(self, data: bytes, dnode: Dnode) -> list[tuple[str, int, int]]:
        """Return name, start and end of each attribute in a bonus or a spill block."""
        if len(data) < _HEADER:
            raise damaged(f"attributes of {dnode.name}", dnode.offset, f"are {len(data)} bytes")
        magic, info = SA_HEAD.unpack_from(data)
        here = (info >> 10) * 8
        known = self._known.get(data[:here])
        if known is not None and known[-1][2] <= len(data):
            return known
        found = self._places(data, dnode, magic, info)
        if found and len(self._known) < _MAX_KNOWN:
            self._known[data[:here]] = found
        return found

    def _places(self, data: bytes, dnode: Dnode, magic: int, info: int) -> list[tuple[str, int, int]]:
        here = (info >> 10) * 8
        layout = self.layouts.get(info & 0x3FF)
        if magic == _SWAPPED:
            raise UnsupportedPoolError(
                f"{dnode.name} has attributes of a big-endian machine, which are not read here",
                hint="Files of versions before 5 are read in either order.",
            )
        if magic != _MAGIC or layout is None or not 8 <= here <= len(data):
            raise damaged(
                f"attributes of {dnode.name}",
                dnode.offset,
                f"begin with {magic:#x}, layout {info & 0x3FF}, a header of {here} bytes",
            )
        lengths = iter(range(SA_HEAD.size, here, 2))
        found = []
        for attribute in layout:
            length = attribute.length
            if not length:
                at = next(lengths, None)
                length = int.from_bytes(data[at : at + 2], "little") if at is not None else 0
            if here + length > len(data):
                raise damaged(
                    f"attributes of {dnode.name}", dnode.offset, f"end before {attribute.name} does"
                )
            found.append((attribute.name, here, here + length))
            here += -(-length // 8) * 8
        return found
