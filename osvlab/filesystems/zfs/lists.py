"""Lists of block pointers that a pool keeps: blocks to be freed, and the intent logs of datasets.

What a transaction group frees is freed in the next one: until then the pool lists it. The intent log of
a dataset is a chain of blocks, each with the pointer to the next; a chain ends where a checksum is
wrong, as the next block was never written.

Source of the format: OpenZFS, sys/bpobj.h and sys/zil.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from osvlab.filesystems.base import DamagedError
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.checksums import checksum
from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import BPOBJ, ECK, POINTER_SIZE, BlockPointer, C, Checksum
from osvlab.filesystems.zfs.objects import ObjectSet

__all__ = ["deferred_frees", "log_blocks"]

_OLD_HEADER = 16
_CHAIN = 8 + POINTER_SIZE + 8 + ECK.size
_LOG_UNIT = 4096
MAX_LOG_BLOCKS = 1 << 16


def deferred_frees(mos: ObjectSet, directory: dict[str, int]) -> Iterator[BlockPointer]:
    """Yield pointers to all blocks that were freed and are still taken in the space maps.

    Parameters
    ----------
    mos
        The pool's own objects.
    directory
        Their numbers by name.

    Raises
    ------
    DamagedError
        A list cannot be right.
    """
    seen: set[int] = set()
    pending = [directory[name] for name in ("sync_bplist", "free_bpobj") if directory.get(name)]
    while pending:
        number = pending.pop()
        if number in seen:
            continue
        seen.add(number)
        dnode = mos.dnode(number)
        bonus = dnode.bonus
        if len(bonus) < _OLD_HEADER:
            raise damaged(dnode.name, dnode.offset, "is no list of block pointers")
        count, _, _, _, below, below_count = BPOBJ.unpack(bonus[: BPOBJ.size].ljust(BPOBJ.size, b"\0"))
        room = dnode.data_size * dnode.block_count
        if count * POINTER_SIZE > room:
            raise damaged(dnode.name, dnode.offset, f"would hold {count} pointers in {room} bytes")
        for start in range(0, count * POINTER_SIZE, dnode.data_size):
            data = dnode.read(start, min(dnode.data_size, count * POINTER_SIZE - start))
            for at in range(0, len(data), POINTER_SIZE):
                yield BlockPointer.unpack(data, at)
        if below:
            list_of_lists = mos.dnode(below)
            if below_count * 8 > list_of_lists.data_size * list_of_lists.block_count:
                raise damaged(dnode.name, dnode.offset, f"would have {below_count} lists below it")
            pending += struct.unpack(f"<{below_count}Q", list_of_lists.read(0, 8 * below_count))


def log_blocks(blocks: Blocks, first: BlockPointer, name: str) -> Iterator[BlockPointer]:
    """Yield pointers to the blocks of an intent log, with the first that was never written.

    That one was allocated in advance, when the block before it was written.
    """
    pointer: BlockPointer | None = first
    for _ in range(MAX_LOG_BLOCKS):
        if pointer is None or pointer.is_hole or pointer.is_embedded:
            return
        yield pointer
        pointer = _next_of(blocks, pointer, name)


def _next_of(blocks: Blocks, pointer: BlockPointer, name: str) -> BlockPointer | None:
    for dva in pointer.dvas:
        try:
            places = blocks.places(dva, pointer.psize, f"the intent log of {name}")
        except DamagedError:
            continue
        for source, position in places:
            following = _chain(source.read_at(position, pointer.psize), pointer)
            if following is not None:
                return following
    return None


def _chain(data: bytes, pointer: BlockPointer) -> BlockPointer | None:
    """Return the pointer to the next block from a log block that is right, else None."""
    at_start = pointer.checksum == Checksum.ZILOG2
    start = 0 if at_start else len(data) - _CHAIN
    if not pointer.is_little_endian or len(data) < _CHAIN:
        return None
    used = int.from_bytes(data[start + 8 + POINTER_SIZE : start + 16 + POINTER_SIZE], "little")
    end = min(len(data), -(-used // _LOG_UNIT) * _LOG_UNIT) if at_start else len(data)
    check = start + _CHAIN - ECK.size
    magic, *stored = ECK.unpack_from(data, check)
    blank = data[: check + 8] + struct.pack("<4Q", *pointer.words) + data[check + ECK.size : end]
    kind = Checksum.FLETCHER4 if at_start else Checksum.FLETCHER2
    if magic != C.ECK_MAGIC or len(blank) % 16 or checksum(kind, blank) != tuple(stored):
        return None
    return BlockPointer.unpack(data, start + 8)
