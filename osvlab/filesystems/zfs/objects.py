"""Objects: dnodes, the trees of block pointers below them, and sets of objects.

Invariant: what a dnode says was checked when it was made. Levels of pointers only go down, so no loop
of pointers is ever followed; and every block has the size and level that its dnode says.
"""

from __future__ import annotations

from collections.abc import Iterator

from osvlab.errors import OsvlabError
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import (
    DNODE_HEAD,
    DNODE_SIZE,
    MAX_BLOCK,
    POINTER_SIZE,
    BlockPointer,
    C,
    ObjectType,
)

__all__ = ["INDIRECT_SHIFTS", "MAX_LEVELS", "Dnode", "ObjectSet", "dnodes_in"]

MAX_LEVELS = 10
INDIRECT_SHIFTS = range(7, 22)
_CORE: int = C.DNODE_CORE_SIZE
_SPILL: int = C.DNODE_SPILL
_TYPE = C.objset.fields["type"].offset
_ZIL_LOG = C.objset.fields["zil"].offset + C.zil_header.fields["log"].offset
_PROJECT_USED = 2048


class Dnode:
    """An object: what it is, and where its blocks are.

    Parameters
    ----------
    blocks
        What reads blocks.
    raw
        Its bytes: 512, or more when it takes several slots.
    number
        Which object of its set.
    where
        The set, in words, for errors.
    offset
        Where it is in the opened file (or the block that it is in), for errors.

    Raises
    ------
    DamagedError
        It says something that cannot be.
    """

    __slots__ = (
        *("_lowest", "_lowest_block"),
        *("blocks", "bonus_length", "bonus_type", "data_size", "flags", "indirect_shift", "kind", "levels"),
        *("max_block", "number", "offset", "pointer_count", "raw", "used", "where"),
    )

    def __init__(self, blocks: Blocks, raw: bytes, number: int, where: str, offset: int) -> None:
        head = DNODE_HEAD.unpack_from(raw)
        self.kind, self.indirect_shift, self.levels, self.pointer_count, self.bonus_type = head[:5]
        self.flags, sectors, self.bonus_length, _, self.max_block, self.used = head[7:]
        self.blocks, self.raw, self.number, self.where, self.offset = blocks, raw, number, where, offset
        self.data_size = sectors << 9
        self._lowest, self._lowest_block = -1, b""
        problem = self._problem()
        if problem:
            raise damaged(self.name, offset, problem)

    def _problem(self) -> str:
        room = len(self.raw) - _CORE - POINTER_SIZE * self.pointer_count
        if not 1 <= self.pointer_count <= 3 or not 1 <= self.levels <= MAX_LEVELS:
            return f"has {self.pointer_count} pointers and {self.levels} levels"
        if self.bonus_length > room:
            return f"has a bonus of {self.bonus_length} bytes, room is for {room}"
        if not 0 < self.data_size <= MAX_BLOCK:
            return f"has blocks of {self.data_size} bytes"
        if self.levels > 1 and self.indirect_shift not in INDIRECT_SHIFTS:
            return f"has indirect blocks of 2**{self.indirect_shift} bytes"
        return ""

    @property
    def name(self) -> str:
        """What to call it: ``object 7 of osv/zfs``."""
        return f"object {self.number} of {self.where}" if self.number else f"the dnodes of {self.where}"

    @property
    def bonus(self) -> bytes:
        """What the dnode itself holds besides pointers."""
        start = _CORE + POINTER_SIZE * self.pointer_count
        return self.raw[start : start + self.bonus_length]

    @property
    def bonus_room(self) -> bytes:
        """The bonus with what lies behind it, up to the end of the dnode."""
        return self.raw[_CORE + POINTER_SIZE * self.pointer_count :]

    @property
    def spill(self) -> BlockPointer | None:
        """Pointer to the block with attributes that did not fit; None when there is none."""
        if not self.flags & _SPILL:
            return None
        return BlockPointer.unpack(self.raw, len(self.raw) - POINTER_SIZE)

    @property
    def pointers(self) -> list[BlockPointer]:
        """The pointers in the dnode itself."""
        return [BlockPointer.unpack(self.raw, _CORE + POINTER_SIZE * i) for i in range(self.pointer_count)]

    @property
    def block_count(self) -> int:
        """How many blocks of data there can be."""
        return int(self.max_block) + 1

    def pointer_to(self, block: int) -> BlockPointer | None:
        """Return the pointer to a block of data; None where there is a hole above it."""
        shift = self.indirect_shift - 7
        height = self.levels - 1
        if height and block >> shift == self._lowest:
            return BlockPointer.unpack(self._lowest_block, POINTER_SIZE * (block & (1 << shift) - 1))
        index = block >> shift * height
        if block > self.max_block or index >= self.pointer_count:
            return None
        pointer = BlockPointer.unpack(self.raw, _CORE + POINTER_SIZE * index)
        while height:
            if pointer.is_hole:
                return None
            indirect = self.read_indirect(pointer, height, block >> shift * height)
            if height == 1:  # neighbours are asked for next
                self._lowest, self._lowest_block = block >> shift, indirect
            height -= 1
            index = block >> shift * height & (1 << shift) - 1
            pointer = BlockPointer.unpack(indirect, POINTER_SIZE * index)
        return pointer

    def read_indirect(self, pointer: BlockPointer, level: int, index: int) -> bytes:
        """Return a block of pointers, the `index`-th of its level."""
        what = f"indirect block {index} (level {level}) of {self.name}"
        size = 1 << self.indirect_shift
        if pointer.level != level or pointer.lsize != size:
            raise damaged(
                what,
                self.blocks.place(pointer) or self.offset,
                f"is of level {pointer.level} and {pointer.lsize} bytes instead of {level} and {size}",
            )
        return self.blocks.read(pointer, what)

    def read_data(self, pointer: BlockPointer, block: int) -> bytes:
        """Return a block of data by its pointer."""
        what = f"block {block} of {self.name}"
        if pointer.level or pointer.lsize != self.data_size:
            raise damaged(
                what,
                self.blocks.place(pointer) or self.offset,
                f"is of level {pointer.level} and {pointer.lsize} bytes instead of 0 and {self.data_size}",
            )
        return self.blocks.read(pointer, what)

    def block(self, number: int) -> bytes | None:
        """Return a block of data; None for a hole."""
        pointer = self.pointer_to(number)
        return None if pointer is None or pointer.is_hole else self.read_data(pointer, number)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the object: zeros in holes and behind its last block."""
        size = self.data_size
        if size * self.block_count <= offset:
            return bytes(length)
        parts = []
        end = offset + length
        while offset < end:
            number, start = divmod(offset, size)
            if number > self.max_block:
                parts.append(bytes(end - offset))
                break
            count = min(size - start, end - offset)
            found = self.block(number)
            if found is None:
                parts.append(bytes(count))
            else:
                parts.append(found if count == size else found[start : start + count])
            offset += count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def runs(self) -> Iterator[tuple[int, int, BlockPointer | None]]:
        """Yield first block, number of blocks and pointer: of each block of data, None for holes.

        Holes that follow each other come as one; together all cover blocks 0 to `max_block`.
        """
        expected = 0
        for level, index, pointer in self.walk():
            if level or index < expected:
                continue
            if index > expected:
                yield expected, index - expected, None
            yield index, 1, pointer
            expected = index + 1
        if expected <= self.max_block:
            yield expected, self.max_block + 1 - expected, None

    def walk(self) -> Iterator[tuple[int, int, BlockPointer]]:
        """Yield level, number in its level, and pointer of every block that is no hole, parents first.

        Raises
        ------
        DamagedError
            A block of pointers cannot be read; what is below it is lost.
        """
        pending = [(self.levels - 1, index, pointer) for index, pointer in enumerate(self.pointers)][::-1]
        width = 1 << max(0, self.indirect_shift - 7)
        while pending:
            level, index, pointer = pending.pop()
            if pointer.is_hole:
                continue
            yield level, index, pointer
            if not level:
                continue
            raw = self.read_indirect(pointer, level, index)
            below = [
                (level - 1, index * width + i, BlockPointer.unpack(raw, POINTER_SIZE * i))
                for i in range(width)
            ]
            pending += reversed(below)


class ObjectSet:
    """A set of objects: the pool's own (MOS), or a dataset.

    Parameters
    ----------
    blocks
        What reads blocks.
    pointer
        To the set.
    name
        What it is called, for errors.

    Raises
    ------
    DamagedError
        It cannot be read.
    """

    def __init__(self, blocks: Blocks, pointer: BlockPointer, name: str) -> None:
        self.blocks, self.pointer, self.name = blocks, pointer, name
        what = f"the object set of {name}"
        self.offset = blocks.place(pointer)
        if pointer.level or not C.OBJSET_SIZE_OLD <= pointer.lsize <= 1 << 14:
            raise damaged(what, self.offset, f"is of level {pointer.level} and {pointer.lsize} bytes")
        self.raw = blocks.read(pointer, what)
        self.kind = int.from_bytes(self.raw[_TYPE : _TYPE + 8], "little")
        self.log = BlockPointer.unpack(self.raw, _ZIL_LOG)
        self.meta = Dnode(blocks, self.raw[:DNODE_SIZE], 0, name, self.offset)
        if self.meta.kind != ObjectType.DNODE or self.meta.data_size % DNODE_SIZE:
            raise damaged(what, self.offset, "does not begin with the dnode of dnodes")
        self.slots = self.meta.data_size // DNODE_SIZE

    @property
    def accounting(self) -> list[Dnode]:
        """The objects that count the space of owners, which have no number."""
        starts = range(C.OBJSET_SIZE_OLD, min(len(self.raw), _PROJECT_USED + DNODE_SIZE), DNODE_SIZE)
        whole = [self.raw[start : start + DNODE_SIZE] for start in starts]
        return [
            Dnode(self.blocks, raw, 0, f"{self.name} (space by owner)", self.offset)
            for raw in whole
            if len(raw) == DNODE_SIZE and raw[0]
        ]

    def dnode(self, number: int) -> Dnode:
        """Return an object's dnode.

        Raises
        ------
        DamagedError
            It is free, or cannot be right.
        """
        index, slot = divmod(number, self.slots)
        block = self.meta.block(index) if number > 0 and index <= self.meta.max_block else None
        if block is not None:
            here = 0
            while here < slot:
                here += _slots_at(block, here)
            if here == slot and block[slot * DNODE_SIZE]:
                return _dnode_in(self.blocks, block, slot, number, self.name, self._place_of(index))
        raise damaged(f"object {number} of {self.name}", self.offset, "is pointed to, but free")

    def block_of_dnodes(self, index: int) -> bytes | None:
        """Return a block of dnodes; None for a hole and behind the last."""
        return self.meta.block(index) if index <= self.meta.max_block else None

    def _place_of(self, index: int) -> int:
        """Return where a block of dnodes is."""
        pointer = self.meta.pointer_to(index)
        return self.blocks.place(pointer) if pointer is not None else 0

    def dnodes(self) -> Iterator[Dnode | OsvlabError]:
        """Yield all objects, and errors in place of those that are lost."""
        for level, index, pointer in self.meta.walk():
            if level:
                continue
            try:
                block = self.meta.read_data(pointer, index)
            except OsvlabError as error:
                yield error
                continue
            first = index * self.slots
            yield from dnodes_in(self.blocks, block, first, self.name, self.blocks.place(pointer))


def dnodes_in(
    blocks: Blocks, block: bytes, first: int, where: str, place: int
) -> Iterator[Dnode | OsvlabError]:
    """Yield the dnodes of a block of them, and errors in place of those that cannot be right.

    Parameters
    ----------
    blocks, where
        As for `Dnode`.
    block
        The block.
    first
        The number of its first object.
    place
        Where it is.
    """
    slot, slots = 0, len(block) // DNODE_SIZE
    while slot < slots:
        if block[slot * DNODE_SIZE] and first + slot:
            try:
                yield _dnode_in(blocks, block, slot, first + slot, where, place)
            except OsvlabError as error:
                yield error
        slot += _slots_at(block, slot)


def _dnode_in(blocks: Blocks, block: bytes, slot: int, number: int, where: str, place: int) -> Dnode:
    start = slot * DNODE_SIZE
    end = start + _slots_at(block, slot) * DNODE_SIZE
    if end > len(block):
        raise damaged(f"object {number} of {where}", place, "reaches beyond its block")
    return Dnode(blocks, block[start:end], number, where, place)


def _slots_at(block: bytes, slot: int) -> int:
    """Return how many slots the dnode in a slot takes; a free one takes one."""
    start = slot * DNODE_SIZE
    return 1 + block[start + 12] if block[start] else 1
