"""Blocks of a pool that was written in big-endian order, turned round.

Each block pointer says in which order the block was written, so one pool may have both. Blocks are
turned round when they are read, as their object's type asks; everybody else sees little-endian ones.
A block that cannot be what it should be is turned round as far as it makes sense: who reads it checks
it as any other. System attributes stay as they are, as only their layout says which of them are words;
`sa` refuses those of the other order.

Source of the format: OpenZFS, module/zfs/dmu.c (dmu_ot_byteswap) and the byteswap functions it names.
"""

from __future__ import annotations

import struct
from array import array
from enum import IntEnum

from osvlab.filesystems.zfs.format import DNODE_SIZE, LEAF_ENTRY, MICRO_ENTRY, C, ObjectType

__all__ = ["ByteSwap", "byte_swap_of", "little_endian"]


class ByteSwap(IntEnum):
    """How the contents of an object are turned round."""

    BYTES = 0
    UINT16 = 1
    UINT32 = 2
    UINT64 = 3
    ZAP = 4
    DNODE = 5
    OBJSET = 6
    ZNODE = 7
    OLD_ACL = 8
    ACL = 9


_BY_SWAP: dict[ByteSwap, str] = {
    ByteSwap.UINT64: "OBJECT_ARRAY PACKED_NVLIST_SIZE BPOBJ BPOBJ_HEADER SPACE_MAP_HEADER SPACE_MAP "
    "INTENT_LOG DSL_DIR DSL_DATASET UINT64_OTHER POOL_HISTORY_OFFSETS FUID_SIZE DDT_STATISTICS "
    "DEADLIST_HEADER BPOBJ_SUBOBJECTS",
    ByteSwap.ZAP: "OBJECT_DIRECTORY DSL_DIR_CHILD_MAP DSL_DATASET_SNAPSHOT_MAP DSL_PROPERTIES "
    "DIRECTORY_CONTENTS MASTER_NODE DELETE_QUEUE ZVOL_PROPERTIES ZAP_OTHER ERROR_LOG POOL_PROPERTIES "
    "DSL_PERMISSIONS NEXT_CLONES SCAN_QUEUE OWNER_USED OWNER_QUOTA USER_REFERENCES DDT_ZAP SA_MASTER_NODE "
    "SA_REGISTRATION SA_LAYOUTS SCAN_TRANSLATIONS DEADLIST DSL_CLONES",
    ByteSwap.DNODE: "DNODE",
    ByteSwap.OBJSET: "OBJSET",
    ByteSwap.ZNODE: "ZNODE",
    ByteSwap.OLD_ACL: "OLD_ACL",
    ByteSwap.ACL: "ACL SYSTEM_ACL",
}
_BIG_MICRO = struct.Struct(f">{MICRO_ENTRY.format[1:]}")
_BIG_ENTRY = struct.Struct(f">{LEAF_ENTRY.format[1:]}")
_CODES = {2: "H", 4: "I", 8: "Q"}
_SWAPS: dict[int, ByteSwap] = {
    ObjectType[name]: swap for swap, names in _BY_SWAP.items() for name in names.split()
}


def byte_swap_of(kind: int) -> ByteSwap:
    """Return how contents of an object type are turned round; types from 128 on say it themselves.

    Examples
    --------
    >>> byte_swap_of(ObjectType.DSL_DIR).name, byte_swap_of(196).name
    ('UINT64', 'ZAP')
    """
    if kind & 0x80:
        return ByteSwap(kind & 0x1F) if kind & 0x1F <= ByteSwap.ACL else ByteSwap.BYTES
    return _SWAPS.get(kind, ByteSwap.BYTES)


def little_endian(data: bytes, kind: int, level: int) -> bytes:
    """Return a block that was written big-endian as if it had been written little-endian.

    Parameters
    ----------
    data
        The block.
    kind
        Type of the object it belongs to.
    level
        0 for contents; others hold block pointers.

    Examples
    --------
    >>> little_endian(bytes(range(16)), ObjectType.OBJECT_ARRAY, 0).hex()
    '07060504030201000f0e0d0c0b0a0908'
    """
    if level:
        return _words(data, 8)
    return _swap(data, byte_swap_of(kind))


def _swap(data: bytes, how: ByteSwap) -> bytes:
    match how:
        case ByteSwap.UINT16 | ByteSwap.UINT32 | ByteSwap.UINT64:
            return _words(data, {ByteSwap.UINT16: 2, ByteSwap.UINT32: 4, ByteSwap.UINT64: 8}[how])
        case ByteSwap.ZAP:
            return _zap(data)
        case ByteSwap.DNODE:
            return _dnodes(data)
        case ByteSwap.OBJSET:
            return _objset(data)
        case ByteSwap.ZNODE:
            return _znode(data)
        case _:  # bytes, and ACLs, which are not read
            return data


def _words(data: bytes, size: int) -> bytes:
    whole = len(data) // size * size
    words = array(_CODES[size], data[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]


def _by_format(data: bytes, layout: str) -> bytes:
    """Turn round the fields of a `struct` layout; what follows stays."""
    size = struct.calcsize(f"<{layout}")
    if len(data) < size:
        return data
    return struct.pack(f"<{layout}", *struct.unpack_from(f">{layout}", data)) + data[size:]


def _znode(data: bytes) -> bytes:
    return _by_format(data, "22QQIHH" + "HHI" * 9)


def _dnodes(data: bytes) -> bytes:
    out = []
    slot = 0
    while slot < len(data):
        size = DNODE_SIZE
        if data[slot]:
            size = (
                min(DNODE_SIZE * (1 + data[slot + 12]), len(data) - slot) if len(data) > slot + 12 else size
            )
        out.append(_dnode(data[slot : slot + size]) if data[slot] else data[slot : slot + size])
        slot += size
    return b"".join(out)


def _dnode(data: bytes) -> bytes:
    if len(data) < DNODE_SIZE:
        return data
    core = data[:8] + _words(data[8:12], 2) + data[12:16] + _words(data[16:64], 8)
    pointers_end = min(C.DNODE_CORE_SIZE + 128 * data[3], len(data))
    spill = len(data) - 128 if data[7] & C.DNODE_SPILL else len(data)
    bonus = data[pointers_end : max(spill, pointers_end)]
    rest = data[pointers_end + len(bonus) :]
    return (
        core
        + _words(data[C.DNODE_CORE_SIZE : pointers_end], 8)
        + _swap(bonus, byte_swap_of(data[4]))
        + _words(rest, 8)
    )


def _objset(data: bytes) -> bytes:
    fields = C.objset.fields
    out = _dnode(data[:DNODE_SIZE]) + _words(data[DNODE_SIZE : fields["padding"].offset], 8)
    out += data[len(out) : C.OBJSET_SIZE_OLD]
    for start in range(C.OBJSET_SIZE_OLD, len(data), DNODE_SIZE):
        out += _dnode(data[start : start + DNODE_SIZE])
    return out


def _zap(data: bytes) -> bytes:
    kind = int.from_bytes(data[:8], "big")
    if kind == C.ZAP_MICRO and len(data) >= len(C.micro_zap):
        return _micro(data)
    if kind == C.ZAP_LEAF:
        return _leaf(data)
    return _words(data, 8)  # the header, with its table; or a block of a table


def _micro(data: bytes) -> bytes:
    whole = len(data) // MICRO_ENTRY.size * MICRO_ENTRY.size
    entries = (MICRO_ENTRY.pack(*entry) for entry in _BIG_MICRO.iter_unpack(data[64:whole]))
    return _words(data[:64], 8) + b"".join(entries) + data[whole:]


def _leaf(data: bytes) -> bytes:
    """Turn round a leaf: header, hash table, and chunks; entries by their fields, others at their end."""
    table = len(data) // 32 * 2  # one short for each 32 bytes
    start = 48 + table
    size, entry = LEAF_ENTRY.size, C.CHUNK_ENTRY
    end = start + (len(data) - start) // size * size
    if end <= start:
        return data
    head = _by_format(data[:48], "3QI4H12B")
    chunks = (data[at : at + size] for at in range(start, end, size))
    turned = (
        LEAF_ENTRY.pack(*_BIG_ENTRY.unpack(chunk)) if chunk[0] == entry else chunk[:22] + chunk[:21:-1]
        for chunk in chunks
    )
    return head + _words(data[48:start], 2) + b"".join(turned) + data[end:]
