"""ZAP: names and their values, as one block of entries (micro) or as a hash table in blocks (fat).

A fat ZAP has a header, a table of pointers and leaves. The first bits of a name's hash choose the
pointer, the next nine the chain in the leaf. Here all names are known at once, so the leaves are made
by dividing the sorted hashes until each part fits.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.zfs.format import (
    FAT_HEAD,
    LEAF_ARRAY,
    LEAF_ENTRY,
    LEAF_HEAD,
    MICRO_ENTRY,
    MICRO_HEAD,
    C,
)
from osvlab.filesystems.zfs.zap import zap_hash

__all__ = ["MICRO_ENTRIES", "MICRO_NAME", "Entry", "Zap", "make_zap"]

MICRO_ENTRIES = (128 << 10) // 64 - 1
MICRO_NAME = C.MICRO_NAME - 1
FAT_BLOCK = 16 << 10
_EMBEDDED_SHIFT = 10  # the pointer table is the second half of the first block
_TABLE_SHIFT = 11  # pointers in a block of a table outside
_HASH_TABLE = 512
_CHUNKS_AT = 48 + 2 * _HASH_TABLE
_CHUNKS = (FAT_BLOCK - _CHUNKS_AT) // C.LEAF_CHUNK_SIZE
_ARRAY = 21
_END = C.CHUNK_END
_FREE = struct.Struct("<B21xH")
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Entry(NamedTuple):
    """A name and its value: integers of `size` bytes each."""

    name: bytes
    values: Sequence[int]
    size: int = 8


@dataclass(frozen=True, slots=True)
class Zap:
    """The contents of a ZAP object.

    Attributes
    ----------
    data
        Its blocks.
    block_size
        Bytes of each.
    """

    data: bytes
    block_size: int


def make_zap(entries: Sequence[Entry], salt: int) -> Zap:
    r"""Return a ZAP with these names: a micro one if they fit.

    Parameters
    ----------
    entries
        Names, without NUL, and their values. No name twice.
    salt
        Start of all hashes; not 0.

    Raises
    ------
    OsvlabError
        Too many names have the same hash.

    Examples
    --------
    >>> len(make_zap([Entry(b"VERSION", (5,))], 1).data)
    512
    >>> len(make_zap([Entry(b"mountpoint", b"/\0", 1)], 1).data)
    32768
    """
    hashes = [zap_hash(entry.name, salt) for entry in entries]
    if len(entries) <= MICRO_ENTRIES and all(
        entry.size == 8 and len(entry.values) == 1 and len(entry.name) <= MICRO_NAME for entry in entries
    ):
        return _micro(entries, hashes, salt)
    return _fat(entries, hashes, salt)


def _same_before(hashes: Iterable[int]) -> Iterator[int]:
    """Yield, of each hash, how many before it are the same: that tells their names apart."""
    seen: dict[int, int] = {}
    for found in hashes:
        before = seen.get(found, 0)
        seen[found] = before + 1
        yield before


def _micro(entries: Sequence[Entry], hashes: list[int], salt: int) -> Zap:
    parts = [MICRO_HEAD.pack(C.ZAP_MICRO, salt, 0)]
    for (name, (value,), _), before in zip(entries, _same_before(hashes), strict=True):
        parts.append(MICRO_ENTRY.pack(value, before, 0, name))
    data = b"".join(parts)
    size = len(data) + 511 & ~511
    return Zap(data.ljust(size, b"\0"), size)


class _Hashed(NamedTuple):
    hash: int
    differentiator: int
    entry: Entry
    chunks: int


def _fat(entries: Sequence[Entry], hashes: list[int], salt: int) -> Zap:
    order = sorted(range(len(entries)), key=lambda i: hashes[i])
    items = []
    for index, before in zip(order, _same_before(hashes[i] for i in order), strict=True):
        entry = entries[index]
        chunks = 1 + _chunks(len(entry.name) + 1) + _chunks(entry.size * len(entry.values))
        items.append(_Hashed(hashes[index], before, entry, chunks))
    leaves = _divide(items)
    shift = max(_EMBEDDED_SHIFT, *(length for _, length, _ in leaves))
    table_blocks = 0 if shift == _EMBEDDED_SHIFT else 1 << shift - _TABLE_SHIFT
    first_leaf = 1 + table_blocks
    table = bytearray()
    for number, (_, length, _) in enumerate(leaves):
        table += (first_leaf + number).to_bytes(8, "little") * (1 << shift - length)
    head = FAT_HEAD.pack(
        *(C.ZAP_HEADER, C.ZAP_MAGIC, 1 if table_blocks else 0, table_blocks, shift, 0, 0),
        *(first_leaf + len(leaves), len(leaves), len(items), salt, 0, 0),
    )
    first = head.ljust(FAT_BLOCK, b"\0") if table_blocks else head.ljust(FAT_BLOCK // 2, b"\0")
    return Zap(b"".join([first, table, *(_leaf(*leaf) for leaf in leaves)]), FAT_BLOCK)


def _chunks(size: int) -> int:
    return -(-size // _ARRAY)


def _divide(items: list[_Hashed]) -> list[tuple[int, int, list[_Hashed]]]:
    """Return prefix, its length, and items of each leaf, in the order of prefixes."""
    done = []
    hashes = [item.hash for item in items]
    pending = [(0, 0, 0, len(items))]
    while pending:
        prefix, length, start, end = pending.pop()
        if sum(item.chunks for item in items[start:end]) <= _CHUNKS:
            done.append((prefix, length, items[start:end]))
            continue
        if length == C.ZAP_HASH_BITS:
            raise OsvlabError(
                f"{end - start} names in one directory have the same hash in ZFS, "
                f"{show(items[start].entry.name)[:40]} among them",
                hint="Rename some.",
            )
        length += 1
        middle = bisect_left(hashes, (prefix << 1 | 1) << 64 - length, start, end)
        pending += [(prefix << 1 | 1, length, middle, end), (prefix << 1, length, start, middle)]
    return done


def _leaf(prefix: int, length: int, items: list[_Hashed]) -> bytes:
    """Return a leaf. Chains are in the order of differentiators, as its flag says."""
    heads = [_END] * _HASH_TABLE
    tails: dict[int, int] = {}
    chunks: list[bytes] = []
    shift = 64 - 9 - length
    nexts: dict[int, int] = {}
    entries = []
    # Within a chain lower differentiators come first, whatever their hash is.
    for found, differentiator, entry, _ in sorted(items, key=lambda item: item[1]):
        at = len(chunks)
        name = entry.name + b"\0"
        value = struct.pack(f">{len(entry.values)}{_FORMATS[entry.size]}", *entry.values)
        name_at = at + 1
        value_at = name_at + _chunks(len(name))
        bucket = found >> shift & _HASH_TABLE - 1
        if bucket in tails:
            nexts[tails[bucket]] = at
        else:
            heads[bucket] = at
        tails[bucket] = at
        entries.append(
            (at, entry.size, name_at, len(name), value_at, len(entry.values), differentiator, found)
        )
        chunks.append(b"")
        _append_array(chunks, name)
        _append_array(chunks, value)
    for at, size, name_at, name_length, value_at, count, differentiator, found in entries:
        chunks[at] = LEAF_ENTRY.pack(
            C.CHUNK_ENTRY,
            size,
            nexts.get(at, _END),
            name_at,
            name_length,
            value_at,
            count,
            differentiator,
            found,
        )
    used = len(chunks)
    chunks += [_FREE.pack(C.CHUNK_FREE, at + 1) for at in range(used, _CHUNKS - 1)]
    if used < _CHUNKS:
        chunks.append(_FREE.pack(C.CHUNK_FREE, _END))
    head = LEAF_HEAD.pack(
        *(C.ZAP_LEAF, 0, prefix, C.ZAP_LEAF_MAGIC, _CHUNKS - used, len(items), length),
        *(used if used < _CHUNKS else _END, C.LEAF_SORTED),
    )
    return b"".join([head, struct.pack(f"<{_HASH_TABLE}H", *heads), *chunks]).ljust(FAT_BLOCK, b"\0")


def _append_array(chunks: list[bytes], data: bytes) -> None:
    for start in range(0, len(data), _ARRAY):
        rest = start + _ARRAY < len(data)
        chunks.append(
            LEAF_ARRAY.pack(C.CHUNK_ARRAY, data[start : start + _ARRAY], len(chunks) + 1 if rest else _END)
        )
