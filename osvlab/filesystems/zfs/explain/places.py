"""Where structures are, and structures that are declared, from bytes that were read already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from osvlab.filesystems.structure import Field, Pointer, Structure, fields_of
from osvlab.filesystems.zfs.format import Compression, Declared
from osvlab.filesystems.zfs.objects import ObjectSet
from osvlab.filesystems.zfs.pool import Pool

__all__ = ["Place", "View", "declared", "declared_fields", "moment"]


class View(NamedTuple):
    """What is looked at: a set of objects of a pool."""

    pool: Pool
    objects: ObjectSet


class Place(NamedTuple):
    """Where bytes are: in the opened file, or in a block that is stored packed.

    Attributes
    ----------
    offset
        Bytes from the start of the file; or of the unpacked block.
    within
        Which block, in words; empty for the file.
    """

    offset: int
    within: str = ""

    def at(self, offset: int) -> Place:
        """Return the place that many bytes further on."""
        return self._replace(offset=self.offset + offset)

    @classmethod
    def of_block(cls, pool: Pool, pointer: Any, what: str) -> Place:
        """Return where the bytes of a block are, once it is unpacked."""
        offset = pool.blocks.place(pointer)
        if pointer.is_embedded:
            return cls(0, f"{what} (unpacked from its block pointer)")
        if pointer.compression == Compression.OFF:
            return cls(offset)
        return cls(0, f"{what} (unpacked from byte {offset:#x})")


def declared_fields(
    type_name: str, data: bytes, shown: Mapping[str, Callable[[Any], Any]] | None = None, base: int = 0
) -> list[Field]:
    """Return the fields of a declared structure without padding; `base` is added to their offsets."""
    return [
        Field(one.name, base + one.offset, one.length, one.value, one.meaning)
        for one in fields_of(Declared, type_name, data, shown)
        if not one.name.startswith("padding")
    ]


def declared(
    type_name: str,
    data: bytes,
    place: Place,
    pointers: Iterable[Pointer] | Callable[[], Iterable[Pointer]] = (),
    *,
    name: str,
    about: str = "",
    shown: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Structure:
    """Return a declared structure from its bytes."""
    return Structure(
        name,
        place.offset,
        len(data),
        data,
        lambda: declared_fields(type_name, data, shown),
        pointers,
        about=about,
        within=place.within,
    )


def moment(seconds: Any) -> str:
    """Return a time as people write it, in UTC; what cannot be one stays a number."""
    value = int(seconds[0] if isinstance(seconds, list) else seconds)
    if value >= 1 << 34:
        return str(value)
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
