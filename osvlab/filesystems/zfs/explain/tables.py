"""Tables (ZAP) explained: their entries, at the places where they are."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from osvlab.filesystems.base import show
from osvlab.filesystems.structure import Field, Pointer, Structure
from osvlab.filesystems.zfs.explain.places import Place, View, declared, declared_fields
from osvlab.filesystems.zfs.format import LEAF_ENTRY, C, ObjectType
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.zap import Zap, ZapEntry

__all__ = ["entry_name", "explain_table_block", "table_entries"]

Follow = Callable[[ZapEntry], list[Pointer]]
_TYPE_SHIFT, _OBJECT = 60, (1 << 48) - 1
_TYPES = {
    1: "fifo",
    2: "character device",
    4: "directory",
    6: "block device",
    8: "file",
    10: "link",
    12: "socket",
}


def entry_name(entry: ZapEntry) -> str:
    """Return what a pointer to an entry is called."""
    return f"entry {show(entry.name)}"


def table_entries(view: View, dnode: Dnode, follow: Follow) -> Iterator[Pointer]:
    """Yield pointers to all entries of a table; `follow` says where an entry leads."""
    table = Zap(dnode)
    if table.is_micro:
        place = _place(view, dnode, 0)
        block = dnode.block(0) or b""
        for start in range(len(C.micro_zap), len(block) // 64 * 64, 64):
            raw = block[start : start + 64]
            if raw[14]:
                entry = ZapEntry(raw[14:].split(b"\0")[0], 8, (int.from_bytes(raw[:8], "little"),))
                yield Pointer(
                    entry_name(entry), _maker(_micro_entry, dnode, raw, place.at(start), entry, follow)
                )
        return
    for number in table.leaves():
        leaf = table.leaf(number)
        place = _place(view, dnode, number)
        for here, entry in leaf.places():
            raw = leaf.block[here : here + LEAF_ENTRY.size]
            yield Pointer(entry_name(entry), _maker(_leaf_entry, dnode, raw, place.at(here), entry, follow))


def _maker(make: Callable[..., Structure], *arguments: Any) -> Callable[[], Structure]:
    return lambda: make(*arguments)


def _place(view: View, dnode: Dnode, number: int) -> Place:
    pointer = dnode.pointer_to(number)
    return Place.of_block(view.pool, pointer, f"block {number} of {dnode.name}") if pointer else Place(0)


def _value(dnode: Dnode, entry: ZapEntry) -> str:
    if dnode.kind == ObjectType.DIRECTORY_CONTENTS:
        kind = _TYPES.get(entry.number >> _TYPE_SHIFT)
        return f"object {entry.number & _OBJECT}" + (f", a {kind}" if kind else "")
    if entry.size == 1:
        return entry.text
    return ", ".join(map(str, entry.values[:16])) + (", ..." if len(entry.values) > 16 else "")


def _micro_entry(dnode: Dnode, raw: bytes, place: Place, entry: ZapEntry, follow: Follow) -> Structure:
    return declared(
        "micro_entry",
        raw,
        place,
        lambda: follow(entry),
        name=entry_name(entry),
        about=f"A name and its value: {_value(dnode, entry)}",
        shown={
            "name": lambda name: show(bytes(name).split(b"\0")[0]),
            "value": lambda _: _value(dnode, entry),
        },
    )


def _leaf_entry(dnode: Dnode, raw: bytes, place: Place, entry: ZapEntry, follow: Follow) -> Structure:
    def fields() -> list[Field]:
        return [
            *declared_fields("leaf_entry", raw),
            Field("name", 0, 0, show(entry.name), "in chunks of 21 bytes, elsewhere in the leaf"),
            Field("value", 0, 0, _value(dnode, entry), "in chunks too, big-endian"),
        ]

    return Structure(
        entry_name(entry),
        place.offset,
        len(raw),
        raw,
        fields,
        lambda: follow(entry),
        about=f"A name and its value: {_value(dnode, entry)}",
        within=place.within,
    )


def explain_table_block(data: bytes, place: Place) -> Iterator[Pointer]:
    """Yield what a block of a table begins with: a header of one of three kinds."""
    kind = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else 0
    names = {
        C.ZAP_MICRO: ("micro_zap", "A small table: a header, then entries of 64 bytes."),
        C.ZAP_HEADER: ("fat_zap", "A large table: hashes lead through a table of pointers to leaves."),
        C.ZAP_LEAF: ("leaf_header", "A leaf: a hash table of chains, then chunks of 24 bytes."),
    }
    if kind in names:
        type_name, about = names[kind]
        raw = data[: len(getattr(C, type_name))]
        yield Pointer("header", lambda: declared(type_name, raw, place, name=type_name, about=about))
