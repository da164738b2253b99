"""Objects: a dnode, and below it a tree of pointers to blocks.

The number of levels and of pointers in a dnode is what kernels would choose: they go on writing where
this left off. A dnode with a bonus of system attributes has one pointer only, because a spill block's
pointer may come to stand where others would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from osvlab.filesystems.zfs.format import DNODE_HEAD, DNODE_SIZE, ObjectType
from osvlab.filesystems.zfs.writer.blocks import HOLE, Blocks
from osvlab.filesystems.zfs.writer.space import INDIRECT, INDIRECT_SHIFT

__all__ = ["make_dnode", "make_objset", "object_dnode", "pointers_for", "store_objset", "tree_of"]

_FAN_OUT = INDIRECT // 128
_MAX_BONUS = 320
_USED_BYTES = 1
_SPILL = 4
DNODE_BLOCK = 32 * DNODE_SIZE
META_POINTERS = 3
META_LEVELS = 7  # a filesystem's meta-dnode has them all from the start: kernels count on it
OBJSET_SIZE = 2048
_OBJSET_TYPE = 704  # where the type stands, behind meta-dnode and intent log


Leaves = Mapping[int, tuple[bytes, int]]


def pointers_for(bonus_length: int) -> int:
    """Return how many pointers a dnode with room for a bonus of that length has.

    Examples
    --------
    >>> pointers_for(0), pointers_for(24), pointers_for(256), pointers_for(320)
    (3, 3, 1, 1)
    """
    return 1 + (_MAX_BONUS - bonus_length) // 128


def tree_of(
    blocks: Blocks, leaves: Leaves, count: int, kind: int, top: int, *, levels: int = 1
) -> tuple[list[bytes], int, int]:
    """Store the indirect blocks above the pointers `leaves`.

    Parameters
    ----------
    blocks
        Where they go.
    leaves
        Pointers to blocks of data by their number, and what each counts for; holes are left out.
    count
        How many blocks there are, holes included.
    kind
        Type of the object.
    top
        How many pointers its dnode has.
    levels
        How many levels there are at least.

    Returns
    -------
    pointers, levels, used
        The pointers for the dnode, the number of levels with that of the leaves, and the
        disk space of the indirect blocks.
    """
    level, used = 1, 0
    while count > top or level < levels:
        parents: dict[int, list[int]] = {}
        for number in leaves:
            parents.setdefault(number // _FAN_OUT, []).append(number)
        above: dict[int, tuple[bytes, int]] = {}
        for parent, numbers in parents.items():
            block = bytearray(INDIRECT)
            fill = 0
            for number in numbers:
                pointer, counts = leaves[number]
                at = number % _FAN_OUT * 128
                block[at : at + 128] = pointer
                fill += counts
            stored, taken = blocks.store(bytes(block), kind, level=level, fill=fill)
            above[parent] = stored, fill
            used += taken
        leaves, count, level = above, -(-count // _FAN_OUT), level + 1
    return [leaves[number][0] if number in leaves else HOLE for number in range(top)], level, used


def make_dnode(
    kind: int,
    pointers: Sequence[bytes] = (HOLE,),
    *,
    block_size: int = 512,
    block_count: int = 1,
    levels: int = 1,
    used: int = 0,
    bonus_type: int = 0,
    bonus: bytes = b"",
    spill: bytes = b"",
) -> bytes:
    """Return the 512 bytes of a dnode.

    Parameters
    ----------
    kind
        Type of the object.
    pointers, levels
        To its blocks, and how many levels those are.
    block_size, block_count
        Bytes of a block of data, and how many blocks there are, holes included.
    used
        Disk space of all its blocks, in bytes.
    bonus_type, bonus
        What the dnode itself holds.
    spill
        Pointer to a further block of system attributes.
    """
    head = DNODE_HEAD.pack(
        kind,
        INDIRECT_SHIFT,
        levels,
        len(pointers),
        bonus_type,
        0,
        0,
        # GRUB takes the bit, on a symbolic link, as a sign that the target has a block of its own.
        (_USED_BYTES if used else 0) | (_SPILL if spill else 0),
        block_size >> 9,
        len(bonus),
        0,
        max(0, block_count - 1),
        used,
    )
    filled = b"".join((head, *pointers, bonus))
    if spill:
        return filled.ljust(DNODE_SIZE - len(spill), b"\0") + spill
    return filled.ljust(DNODE_SIZE, b"\0")


def object_dnode(
    blocks: Blocks,
    data: bytes,
    kind: int,
    block_size: int,
    *,
    bonus_type: int = 0,
    bonus: bytes = b"",
    top: int | None = None,
) -> bytes:
    """Store an object of metadata and return its dnode.

    Parameters
    ----------
    data
        Its contents; none leaves it without blocks.
    top
        How many pointers its dnode has; what its bonus leaves room for, when not given.
    """
    before = blocks.usage.used
    leaves = {
        start // block_size: (
            blocks.store(data[start : start + block_size].ljust(block_size, b"\0"), kind)[0],
            1,
        )
        for start in range(0, len(data), block_size)
    }
    count = pointers_for(len(bonus)) if top is None else top
    pointers, levels, _ = tree_of(blocks, leaves, len(leaves), kind, count)
    return make_dnode(
        kind,
        pointers,
        block_size=block_size,
        block_count=len(leaves),
        levels=levels,
        used=blocks.usage.used - before,
        bonus_type=bonus_type,
        bonus=bonus,
    )


def store_objset(blocks: Blocks, dnodes: bytearray, kind: int, *, levels: int) -> bytes:
    """Store the dnodes of a set of objects, from number 0 on, and return the pointer to the set.

    Parameters
    ----------
    kind
        1 for the pool's own objects, 2 for a filesystem.
    levels
        How many levels its meta-dnode has at least.
    """
    leaves: dict[int, tuple[bytes, int]] = {}
    before = blocks.usage.used
    for start in range(0, len(dnodes), DNODE_BLOCK):
        part = bytes(dnodes[start : start + DNODE_BLOCK]).ljust(DNODE_BLOCK, b"\0")
        fill = used_dnodes(part)
        leaves[start // DNODE_BLOCK] = blocks.store(part, ObjectType.DNODE, fill=fill)[0], fill
    pointers, levels, _ = tree_of(
        blocks, leaves, len(leaves), ObjectType.DNODE, META_POINTERS, levels=levels
    )
    used = blocks.usage.used - before
    block = make_objset(pointers, levels, len(leaves), used, kind)
    return blocks.store(block, ObjectType.OBJSET, fill=sum(fill for _, fill in leaves.values()))[0]


def used_dnodes(block: bytes) -> int:
    """Return how many dnodes of a block are not free."""
    return len(block) // DNODE_SIZE - block[::DNODE_SIZE].count(0)


def make_objset(pointers: Sequence[bytes], levels: int, block_count: int, used: int, kind: int) -> bytes:
    """Return the block that a set of objects begins with."""
    meta = make_dnode(
        ObjectType.DNODE,
        pointers,
        block_size=DNODE_BLOCK,
        block_count=block_count,
        levels=levels,
        used=used,
    )
    return meta.ljust(_OBJSET_TYPE, b"\0") + kind.to_bytes(8, "little").ljust(
        OBJSET_SIZE - _OBJSET_TYPE, b"\0"
    )
