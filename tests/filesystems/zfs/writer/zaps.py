"""A second reading of ZAPs, by their declared structures and checks that no reader needs."""

from __future__ import annotations

import struct
from collections import Counter

from osvlab.filesystems.zfs.format import LEAF_ARRAY, LEAF_ENTRY, C
from osvlab.filesystems.zfs.writer.zap import Zap
from osvlab.filesystems.zfs.zap import zap_hash

END, FREE, ENTRY, ARRAY = int(C.CHUNK_END), C.CHUNK_FREE, C.CHUNK_ENTRY, C.CHUNK_ARRAY
Values = dict[bytes, tuple[int, list[int]]]


def read_zap(zap: Zap, salt: int) -> Values:
    """Return size and integers of all values by name, after checking every rule of the format."""
    assert len(zap.data) % zap.block_size == 0
    kind = int.from_bytes(zap.data[:8], "little")
    return _micro(zap, salt) if kind == C.ZAP_MICRO else _fat(zap, salt)


def _micro(zap: Zap, salt: int) -> Values:
    assert C.micro_zap(zap.data[:64]).salt == salt
    found: Values = {}
    seen = set()
    for at in range(64, len(zap.data), 64):
        entry = C.micro_entry(zap.data[at : at + 64])
        name = bytes(entry.name).rstrip(b"\0")
        if name:
            place = zap_hash(name, salt), int(entry.differentiator)
            assert place not in seen
            seen.add(place)
            found[name] = 8, [int(entry.value)]
    return found


def _fat(zap: Zap, salt: int) -> Values:
    blocks = [zap.data[at : at + zap.block_size] for at in range(0, len(zap.data), zap.block_size)]
    head = C.fat_zap(blocks[0][: len(C.fat_zap)])
    assert (head.magic, head.salt, head.free_block) == (C.ZAP_MAGIC, salt, len(blocks))
    if head.table_blocks:
        raw = b"".join(blocks[head.table_block : head.table_block + head.table_blocks])
    else:
        raw = blocks[0][zap.block_size // 2 :]
    table = struct.unpack(f"<{len(raw) // 8}Q", raw)
    assert len(table) == 1 << head.table_shift
    leaves = sorted(set(table))
    assert leaves == list(range(1 + head.table_blocks, len(blocks)))
    assert head.leaves == len(leaves)
    found: Values = {}
    for number in leaves:
        leaf = C.leaf_header(blocks[number][:48])
        span = 1 << head.table_shift - leaf.prefix_length
        assert table[leaf.prefix * span : (leaf.prefix + 1) * span] == (number,) * span
        names = _leaf(blocks[number], salt)
        assert not names.keys() & found.keys()
        found |= names
    assert len(found) == head.entries
    return found


def _leaf(block: bytes, salt: int) -> Values:
    head = C.leaf_header(block[:48])
    assert (head.magic, head.flags) == (C.ZAP_LEAF_MAGIC, C.LEAF_SORTED)
    prefix, length = int(head.prefix), int(head.prefix_length)
    chunks = [block[at : at + 24] for at in range(48 + 1024, len(block), 24)]
    assert len(chunks) == 638
    used: Counter[int] = Counter()

    def array(at: int, size: int) -> bytes:
        data = b""
        while at != END:
            used[at] += 1
            kind, part, at = LEAF_ARRAY.unpack(chunks[at])
            assert kind == ARRAY
            data += part
        assert 0 <= len(data) - size < 21
        return data[:size]

    found: Values = {}
    places = set()
    for bucket, first in enumerate(struct.unpack("<512H", block[48 : 48 + 1024])):
        at, last = first, 0
        while at != END:
            used[at] += 1
            kind, size, at, name_at, name_length, value_at, count, cd, stored = LEAF_ENTRY.unpack(chunks[at])
            assert kind == ENTRY
            assert cd >= last
            last = cd
            name = array(name_at, name_length)
            assert name.endswith(b"\0")
            hashed = zap_hash(name[:-1], salt)
            assert hashed == stored
            assert hashed >> 64 - length == prefix
            assert hashed >> 64 - 9 - length & 511 == bucket
            assert (hashed, last) not in places
            places.add((hashed, last))
            code = {1: "B", 2: "H", 8: "Q"}[size]
            found[name[:-1]] = size, list(struct.unpack(f">{count}{code}", array(value_at, size * count)))
    assert len(found) == head.entries
    free, at = 0, head.free_list
    while at != END:
        used[at] += 1
        kind, _, at = LEAF_ARRAY.unpack(chunks[at])
        assert kind == FREE
        free += 1
    assert free == head.free_chunks
    assert all(used[at] == 1 for at in range(638))  # each chunk has one use
    return found
