"""Block pointers explained, and the blocks that they lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from osvlab.filesystems.structure import Field, Pointer, Structure
from osvlab.filesystems.zfs.explain.places import Place
from osvlab.filesystems.zfs.format import BlockPointer, Checksum, Compression, ObjectType
from osvlab.filesystems.zfs.pool import Pool
from osvlab.paths import format_size

__all__ = ["brief", "explain_block", "explain_pointer"]

Contents = Callable[[bytes, Place], Iterable[Pointer]]
_POINTER = "Where a block is, how it is stored, and its checksum: so a parent vouches for its children."


def brief(pointer: BlockPointer) -> str:
    """Return a block pointer in one line."""
    if pointer.is_hole:
        return "hole"
    how = f"{ObjectType.text(pointer.kind)}, {format_size(pointer.lsize)}"
    if pointer.compression != Compression.OFF:
        how += f" in {format_size(pointer.psize)} ({Compression.text(pointer.compression)})"
    if pointer.is_embedded:
        return f"{how}, here"
    return f"{how}, at " + ", ".join(f"{dva.vdev}:{dva.offset:#x}" for dva in pointer.dvas)


def explain_pointer(
    pool: Pool, pointer: BlockPointer, place: Place, *, name: str, block: Callable[[], Structure]
) -> Structure:
    """Return a block pointer as a structure that points to its block.

    Parameters
    ----------
    pool
        The pool.
    pointer, place
        The pointer, and where it stands.
    name
        What to call it.
    block
        Makes the structure of the block.
    """
    leads = [] if pointer.is_hole else [Pointer("block", block)]
    return Structure(
        name,
        place.offset,
        128,
        pointer.pack(),
        lambda: _fields(pool, pointer),
        leads,
        about=_POINTER,
        within=place.within,
    )


def _fields(pool: Pool, pointer: BlockPointer) -> list[Field]:
    if pointer.is_hole:
        return [
            Field("hole", 0, 128, True, "there is no block: its bytes are zeros"),
            Field("birth", 80, 8, pointer.birth, "transaction group in which it became a hole; 0: unknown"),
        ]
    if pointer.is_embedded:
        return [
            Field("embedded", 48, 8, True, "the bytes are in the pointer itself, around this word"),
            *_how(pointer),
        ]
    found: list[Field] = []
    for number, dva in enumerate(pointer.dvas):
        at = 16 * number
        place = pool.blocks.place_of(dva)
        found += [
            Field(f"dva[{number}].asize", at, 3, dva.asize, "bytes it takes there"),
            Field(f"dva[{number}].vdev", at + 4, 3, dva.vdev, "which top-level vdev the copy is on"),
            Field(f"dva[{number}].offset", at + 8, 8, dva.offset, f"4 MiB further on: byte {place:#x}"),
            Field(f"dva[{number}].gang", at + 15, 1, dva.gang, "whether it is stored in parts"),
        ]
    return [
        *found,
        *_how(pointer),
        Field("birth", 80, 8, pointer.birth, "transaction group that wrote it"),
        Field("fill", 88, 8, pointer.fill, "blocks below that are no holes; of dnodes: those in use"),
        Field("checksum", 96, 32, " ".join(f"{word:016x}" for word in pointer.words), "of what is stored"),
    ]


def _how(pointer: BlockPointer) -> list[Field]:
    order = "little-endian" if pointer.is_little_endian else "big-endian"
    found: list[tuple[str, int, int, Any, str]] = [
        ("lsize", 48, 2, pointer.lsize, "bytes as it is read"),
        ("psize", 50, 2, pointer.psize, "bytes as it is stored"),
        ("compression", 52, 1, Compression.text(pointer.compression), "how it is packed"),
        ("checked by", 53, 1, Checksum.text(pointer.checksum), "which checksum"),
        ("type", 54, 1, ObjectType.text(pointer.kind), "what the object holds that it is of"),
        ("level", 55, 1, pointer.level, "0: contents; else pointers to the level below"),
        ("byte order", 55, 1, order, "of the words in the block"),
    ]
    return [Field(*one) for one in found if not (pointer.is_embedded and one[0] == "checked by")]


def explain_block(
    pool: Pool,
    pointer: BlockPointer,
    read: Callable[[], bytes],
    *,
    name: str,
    contents: Contents,
    about: str = "",
) -> Structure:
    """Return a block as a structure; `contents` says what is in it.

    Parameters
    ----------
    pool
        The pool.
    pointer
        To the block.
    read
        Reads it, checked and unpacked.
    name
        What to call it.
    contents
        Makes pointers to what is in it, from its bytes and the place where they are.
    about
        One sentence.
    """
    stored = "as it is"
    if pointer.is_embedded:
        stored = "in its block pointer"
    elif pointer.compression != Compression.OFF:
        stored = f"in {pointer.psize} bytes, packed with {Compression.text(pointer.compression)}"
    place = Place.of_block(pool, pointer, name)
    return Structure(
        name,
        pool.blocks.place(pointer),
        pointer.lsize,
        read,
        (),
        lambda: contents(read(), place),
        about=f"{about or 'A block'}, stored {stored}; shown are its bytes as they are read.",
    )
