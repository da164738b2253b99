"""ZAP: tables of names and values, the dictionaries of ZFS.

A micro ZAP is one block of entries. A fat ZAP is a hash table: the first bits of a name's hash lead
through a table of pointers to a leaf, more bits to a chain of entries in it. Names and values lie in
chains of small chunks.

Nothing in a leaf can make a loop: chains are followed for no more chunks than the leaf has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import (
    FAT_HEAD,
    LEAF_ARRAY,
    LEAF_ENTRY,
    LEAF_HEAD,
    MICRO_ENTRY,
    MICRO_HEAD,
    C,
)
from osvlab.filesystems.zfs.objects import Dnode

__all__ = ["Zap", "ZapEntry", "zap_hash"]

_CHUNK: int = C.LEAF_CHUNK_SIZE
_ENTRY: int = C.CHUNK_ENTRY
_ARRAY: int = C.CHUNK_ARRAY
_END: int = C.CHUNK_END
_ARRAY_BYTES = 21
_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_HASH64 = 1
_NUMBERS_AS_NAMES = 2
MAX_NAME = 1024
MAX_VALUE = 8192 * 21
_POLYNOMIAL = 0xC96C5795D7870F42
_LEAF_HEAD_SIZE = LEAF_HEAD.size
# From so many names on it takes numpy less time to be loaded than it saves.
MANY = 200


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def zap_hash(name: bytes, salt: int, bits: int = C.ZAP_HASH_BITS) -> int:
    """Return the hash of a name: a CRC-64 that starts from the table's salt, its first bits only.

    Examples
    --------
    >>> hex(zap_hash(b"ROOT", 1))
    '0xa1ab3e3000000000'
    """
    value = salt
    for byte in name:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value >> 64 - bits << 64 - bits


class ZapEntry(NamedTuple):
    """A name and its value: integers of 1, 2, 4 or 8 bytes."""

    name: bytes
    size: int
    values: tuple[int, ...]

    @property
    def number(self) -> int:
        """The first integer; 0 when there is none."""
        return self.values[0] if self.values else 0

    @property
    def text(self) -> str:
        """A value of bytes as text, without its NUL."""
        if self.size != 1:
            return ""
        return bytes(self.values).split(b"\0")[0].decode("utf-8", "backslashreplace")


class Zap:
    """A table that is read.

    Parameters
    ----------
    dnode
        The object that holds it.

    Raises
    ------
    DamagedError
        It is no table, or one that cannot be right.
    """

    def __init__(self, dnode: Dnode) -> None:
        self.dnode = dnode
        self._first = dnode.block(0)
        if self._first is None or len(self._first) < 512:
            raise damaged(f"table of {dnode.name}", dnode.offset, "has no first block")
        kind, self.salt, _ = MICRO_HEAD.unpack_from(self._first)
        self.is_micro = kind == C.ZAP_MICRO
        if self.is_micro:
            self._normalization = MICRO_HEAD.unpack_from(self._first)[2]
            return
        head = FAT_HEAD.unpack_from(self._first)
        kind, magic, self.table_block, self.table_blocks, self.table_shift = head[:5]
        self.leaf_count, self.entry_count, self.salt, self._normalization, self.flags = head[8:]
        if kind != C.ZAP_HEADER or magic != C.ZAP_MAGIC:
            raise self._damaged(f"begins with {kind:#x}, which is no table")
        size = dnode.data_size
        room = size // 16 if not self.table_blocks else self.table_blocks * size // 8
        if not 1 <= self.table_shift <= 40 or 1 << self.table_shift > room or size < 1024:
            raise self._damaged(f"has 2**{self.table_shift} pointers to leaves, where {room} have room")
        if self.table_blocks and self.table_block + self.table_blocks > dnode.block_count:
            raise self._damaged(f"has a pointer table up to block {self.table_block + self.table_blocks}")
        self._bits = 48 if self.flags & _HASH64 else C.ZAP_HASH_BITS

    def _damaged(self, problem: str, block: int = 0) -> Exception:
        pointer = self.dnode.pointer_to(block)
        place = self.dnode.blocks.place(pointer) if pointer is not None else 0
        return damaged(f"table of {self.dnode.name}, block {block},", place or self.dnode.offset, problem)

    # --- finding -------------------------------------------------------------------------------------------

    def get(self, name: bytes) -> ZapEntry | None:
        """Return the entry of a name, or None."""
        if self.is_micro:
            return next((entry for entry in self.entries() if entry.name == name), None)
        if self._normalization or self.flags & _NUMBERS_AS_NAMES:  # hashed in another form
            return next((entry for entry in self.entries() if entry.name == name), None)
        value = zap_hash(name, self.salt, self._bits)
        leaf = self._leaf(self.leaf_of(value >> 64 - self.table_shift))
        return leaf.find(name, value)

    def number(self, name: bytes) -> int:
        """Return the first integer of a name's value; 0 when it is not there."""
        found = self.get(name)
        return found.number if found is not None else 0

    def __contains__(self, name: bytes) -> bool:
        return self.get(name) is not None

    def numbers(self) -> tuple[list[bytes], list[int]]:
        """Return all names, and the first integer of each value, in the order of `entries`."""
        names: list[bytes] = []
        values: list[int] = []
        if self.is_micro or self.entry_count < MANY:
            for entry in self.entries():
                names.append(entry.name)
                values.append(entry.number)
            return names, values
        from osvlab.filesystems.zfs.bulk import leaf_numbers

        for number in self.leaves():
            found = leaf_numbers(self._leaf(number))
            names += found[0]
            values += found[1]
        return names, values

    # --- all -----------------------------------------------------------------------------------------------

    def entries(self) -> Iterator[ZapEntry]:
        """Yield all entries, in the order in which they are stored.

        Raises
        ------
        DamagedError
            A leaf cannot be right.
        """
        if self.is_micro:
            yield from self._micro_entries()
            return
        for number in self.leaves():
            yield from self._leaf(number).entries()

    def _micro_entries(self) -> Iterator[ZapEntry]:
        assert self._first is not None
        whole = self._first[C.micro_zap.size : len(self._first) // 64 * 64]
        for value, _, _, name in MICRO_ENTRY.iter_unpack(whole):
            if name[0]:
                yield ZapEntry(name.split(b"\0")[0], 8, (value,))

    def leaf_of(self, index: int) -> int:
        """Return the block of the leaf that a place of the pointer table leads to."""
        size = self.dnode.data_size
        if not self.table_blocks:
            assert self._first is not None
            return int(struct.unpack_from("<Q", self._first, size // 2 + 8 * index)[0])
        block = self.dnode.block(self.table_block + index * 8 // size) or bytes(size)
        return int(struct.unpack_from("<Q", block, index * 8 % size)[0])

    def leaves(self) -> Iterator[int]:
        """Yield the blocks of all leaves, each once, in the order of hashes."""
        seen: set[int] = set()
        for table in self._table_blocks():
            for number in table:
                if number not in seen:
                    seen.add(number)
                    yield number

    def _table_blocks(self) -> Iterator[tuple[int, ...]]:
        size = self.dnode.data_size
        if not self.table_blocks:
            assert self._first is not None
            yield struct.unpack_from(f"<{1 << self.table_shift}Q", self._first, size // 2)
            return
        left = 1 << self.table_shift
        for number in range(self.table_blocks):
            count = min(left, size // 8)
            block = self.dnode.block(self.table_block + number) or bytes(size)
            yield struct.unpack_from(f"<{count}Q", block)
            left -= count
            if not left:
                return

    def _leaf(self, number: int) -> Leaf:
        block = self.dnode.block(number) if 0 < number <= self.dnode.max_block else None
        if block is None:
            raise self._damaged(f"has a leaf in block {number}, where none is")
        return Leaf(block, lambda problem: self._damaged(problem, number))

    def leaf(self, number: int) -> Leaf:
        """Return a leaf by its block, checked."""
        return self._leaf(number)


class Leaf:
    """A block of a fat ZAP that holds entries.

    Parameters
    ----------
    block
        Its bytes.
    wrong
        Makes the error that is raised when it cannot be right, from what is wrong.
    """

    def __init__(self, block: bytes, wrong: Callable[[str], Exception]) -> None:
        self.wrong = wrong
        if len(block) < 1024:
            raise wrong(f"is a leaf of {len(block)} bytes")
        kind, _, self.prefix, magic, _, self.count, self.prefix_length, _, _ = LEAF_HEAD.unpack_from(block)
        if kind != C.ZAP_LEAF or magic != C.ZAP_LEAF_MAGIC:
            raise self.wrong("is no leaf")
        self.block = block
        self.buckets = len(block) // 32
        self.start = _LEAF_HEAD_SIZE + 2 * self.buckets
        self.chunks = (len(block) - self.start) // _CHUNK
        if self.prefix_length > 48 or self.count > self.chunks:
            raise self.wrong(f"is a leaf of {self.count} entries and {self.prefix_length} bits")

    def entries(self) -> Iterator[ZapEntry]:
        """Yield its entries."""
        for _, entry in self.places():
            yield entry

    def places(self) -> Iterator[tuple[int, ZapEntry]]:
        """Yield its entries with where each is in the block."""
        block, start, end = self.block, self.start, self.start + self.chunks * _CHUNK
        count = 0
        for here in range(start, end, _CHUNK):
            if block[here] == _ENTRY:
                count += 1
                yield here, self.entry(here)
        if count != self.count:
            raise self.wrong(f"has {count} entries and says that it has {self.count}")

    def find(self, name: bytes, value: int) -> ZapEntry | None:
        """Return the entry of a name by its hash, or None."""
        shift = 64 - (self.buckets.bit_length() - 1) - self.prefix_length
        bucket = value >> shift & self.buckets - 1
        chunk = struct.unpack_from("<H", self.block, _LEAF_HEAD_SIZE + 2 * bucket)[0]
        for _ in range(self.chunks):
            if chunk == _END:
                return None
            here = self._place(chunk, _ENTRY)
            _, _, following, _, length, _, _, _, stored = LEAF_ENTRY.unpack_from(self.block, here)
            if stored == value and length == len(name) + 1:
                entry = self.entry(here)
                if entry.name == name:
                    return entry
            chunk = following
        raise self.wrong("has a chain of entries that is a loop")

    def _place(self, chunk: int, kind: int) -> int:
        here = self.start + _CHUNK * chunk
        if chunk >= self.chunks or self.block[here] != kind:
            raise self.wrong(f"has a chain that leads to chunk {chunk}, which is none of it")
        return here

    def entry(self, here: int) -> ZapEntry:
        """Return the entry at a place in the block."""
        _, size, _, name_chunk, name_length, chunk, count, _, _ = LEAF_ENTRY.unpack_from(self.block, here)
        code = _INTEGERS.get(size)
        if code is None or not 0 < name_length <= MAX_NAME or count * size > MAX_VALUE:
            raise self.wrong(f"has an entry with a name of {name_length} bytes, {count} values of {size}")
        name = self._bytes(name_chunk, name_length)
        values = struct.unpack(f">{count}{code}", self._bytes(chunk, count * size))
        return ZapEntry(name[:-1] if name[-1:] == b"\0" else name, size, values)

    def _bytes(self, chunk: int, length: int) -> bytes:
        if not length:
            return b""
        if length <= _ARRAY_BYTES:
            here = self._place(chunk, _ARRAY)
            return self.block[here + 1 : here + 1 + length]
        parts = []
        left = length
        while left > 0:
            _, piece, chunk = LEAF_ARRAY.unpack_from(self.block, self._place(chunk, _ARRAY))
            parts.append(piece)
            left -= _ARRAY_BYTES
        return b"".join(parts)[:length]
