"""Blocks of every form: copies, mirrors, parts, embedded, compressed in every way, large, big-endian."""

from __future__ import annotations

import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.checksums import checksum, sha256
from osvlab.filesystems.zfs.compression import compressor
from osvlab.filesystems.zfs.errors import UnsupportedPoolError
from osvlab.filesystems.zfs.format import (
    DVA,
    POINTER_SIZE,
    VDEV_DATA,
    BlockPointer,
    C,
    Checksum,
    Compression,
    ObjectType,
)
from osvlab.filesystems.zfs.vdevs import Disk, Vdev

FILE = ObjectType.FILE_CONTENTS


class Disks:
    """Disks in memory that blocks are put on."""

    def __init__(self, count: int = 1, mirrors: int = 1, size: int = 40 << 20) -> None:
        self.data = [[bytearray(VDEV_DATA + size) for _ in range(mirrors)] for _ in range(count)]
        self.next = 0

    def put(self, stored: bytes, vdev: int = 0) -> DVA:
        dva = DVA(vdev, self.next, -(-len(stored) // 512) * 512)
        for disk in self.data[vdev]:
            disk[VDEV_DATA + dva.offset : VDEV_DATA + dva.offset + len(stored)] = stored
        self.next += dva.asize
        return dva

    def blocks(self) -> Blocks:
        vdevs = {}
        for number, mirrors in enumerate(self.data):
            disks = [Disk(ByteRange(bytes(disk)), [], {}) for disk in mirrors]
            vdevs[number] = Vdev(number, "disk", 9, 40 << 20, disks=disks, expected=len(disks))
        return Blocks(vdevs)


def pointer_to(
    dvas: list[DVA],
    stored: bytes,
    size: int,
    compression: int = Compression.OFF,
    kind: int = Checksum.FLETCHER4,
    object_type: int = FILE,
) -> BlockPointer:
    words = checksum(kind, stored) or (0, 0, 0, 0)
    return BlockPointer.make(
        dvas,
        lsize=size,
        psize=len(stored),
        birth=7,
        compression=compression,
        checksum=kind,
        kind=object_type,
        words=words,
    )


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def packed_zstd(data: bytes) -> bytes:
    body = zstandard.ZstdCompressor(level=3).compress(data)[4:]
    return struct.pack(">2I", len(body), 3 << 24 | 10405) + body


@pytest.mark.parametrize("kind", [Checksum.FLETCHER2, Checksum.FLETCHER4, Checksum.SHA256, Checksum.SHA512])
@pytest.mark.parametrize("size", [512, 131_072, 1 << 20, 16 << 20])
def test_checksums_are_verified(kind: Checksum, size: int) -> None:
    disks = Disks()
    data = (b"0123456789abcdef" * (size // 16))[:size]
    pointer = pointer_to([disks.put(data)], data, size, kind=kind)
    assert disks.blocks().read(pointer, "it") == data
    disks.data[0][0][VDEV_DATA + size // 2] ^= 1
    with pytest.raises(DamagedError, match=f"it at byte {VDEV_DATA:#x} has a wrong checksum") as caught:
        disks.blocks().read(pointer, "it")
    assert (caught.value.structure, caught.value.offset) == ("it", VDEV_DATA)


@given(st.binary(min_size=1, max_size=40), st.integers(1, 300))
def test_blocks_are_unpacked(piece: bytes, times: int) -> None:
    data = padded(piece * times)
    for kind, stored in (
        (Compression.LZ4, compressor(Compression.LZ4)(data)),
        (Compression.GZIP_6, compressor(Compression.GZIP_6)(data)),
        (Compression.ZSTD, packed_zstd(data)),
    ):
        disks = Disks(size=1 << 20)
        stored = padded(stored)
        pointer = pointer_to([disks.put(stored)], stored, len(data), kind)
        assert disks.blocks().read(pointer, "it") == data


def test_the_next_copy_is_read_and_that_is_said() -> None:
    disks = Disks(count=2)
    data = b"x" * 4096
    dvas = [disks.put(data, 0), disks.put(data, 1), disks.put(data, 0)]
    pointer = pointer_to(dvas, data, 4096)
    for broken in (0, 1):
        disks.data[dvas[broken].vdev][0][VDEV_DATA + dvas[broken].offset + 9] ^= 0x40
        blocks = disks.blocks()
        assert blocks.read(pointer, "it") == data
        assert len(blocks.notes) == broken + 1
        assert all("another copy is read" in note for note in blocks.notes)
        assert blocks.verify(pointer, "it")[0] == 2 - broken
    disks.data[0][0][VDEV_DATA + dvas[2].offset] ^= 1
    with pytest.raises(DamagedError):
        disks.blocks().read(pointer, "it")


def test_a_vdev_that_is_not_there() -> None:
    data = bytes(512)
    pointer = pointer_to([DVA(3, 0, 512)], data, 512)
    with pytest.raises(DamagedError, match="vdev 3, which is not there"):
        Disks().blocks().read(pointer, "it")
    outside = pointer_to([DVA(0, 41 << 20, 512)], data, 512)
    with pytest.raises(DamagedError, match="ends outside its disk"):
        Disks().blocks().read(outside, "it")


def embedded(data: bytes, size: int, compression: int, kind: int = 0) -> BlockPointer:
    raw = data.ljust(112, b"\0")
    properties = (size - 1) | (len(data) - 1) << 25 | compression << 32 | 1 << 39 | kind << 40
    words = struct.pack("<Q", properties | FILE << 48 | 1 << 63)
    return BlockPointer.unpack(raw[:48] + words + raw[48:72] + struct.pack("<Q", 9) + raw[72:])


def test_embedded_blocks() -> None:
    blocks = Disks().blocks()
    assert blocks.read(embedded(b"hello" + bytes(7), 12, Compression.OFF), "it") == b"hello" + bytes(7)
    text = b"many words, and many more, " * 30
    assert blocks.read(embedded(compressor(Compression.LZ4)(text), len(text), Compression.LZ4), "it") == text
    with pytest.raises(UnsupportedPoolError, match="embedded in a way"):
        blocks.read(embedded(b"redacted", 8, Compression.OFF, kind=2), "it")


def gang(disks: Disks, parts: list[BlockPointer], birth: int = 7) -> DVA:
    dva = DVA(0, disks.next, 512, gang=True)
    body = b"".join(part.pack() for part in parts).ljust(3 * POINTER_SIZE, b"\0") + bytes(88)
    words = sha256(body + struct.pack("<5Q", C.ECK_MAGIC, 0, dva.offset, birth, 0))
    assert disks.put(body + struct.pack("<5Q", C.ECK_MAGIC, *words)).offset == dva.offset
    return dva


def test_a_gang_is_put_together() -> None:
    disks = Disks()
    data = bytes(range(256)) * 32
    parts = [data[:512], data[512:4096], data[4096:]]
    pointers = [pointer_to([disks.put(part)], part, len(part)) for part in parts]
    pointer = pointer_to([gang(disks, pointers)], data, len(data))
    blocks = disks.blocks()
    assert blocks.read(pointer, "it") == data
    assert blocks.verify(pointer, "it") == (1, [])
    assert sorted(dva.asize for dva in blocks.parts(pointer, "it")) == [512, 512, 3584, 4096]
    disks.data[0][0][VDEV_DATA + 600] ^= 1
    with pytest.raises(DamagedError, match="a part of it"):
        disks.blocks().read(pointer, "it")


def test_a_gang_of_gangs_that_has_no_end() -> None:
    disks = Disks()
    here = DVA(0, 0, 512, gang=True)
    loop = pointer_to([here], bytes(512), 512)
    gang(disks, [loop])
    blocks = disks.blocks()
    with pytest.raises(DamagedError, match="without end"):
        blocks.read(loop, "it")
    with pytest.raises(DamagedError, match="without end"):
        list(blocks.parts(loop, "it"))
    assert blocks.verify(loop, "it")[0] == 0


def test_a_gang_whose_parts_do_not_add_up() -> None:
    disks = Disks()
    part = pointer_to([disks.put(bytes(512))], bytes(512), 512)
    pointer = pointer_to([gang(disks, [part])], bytes(1024), 1024)
    with pytest.raises(DamagedError, match="parts of 512 bytes instead of 1024"):
        disks.blocks().read(pointer, "it")


def test_what_is_not_known_is_refused_by_name() -> None:
    disks = Disks()
    dva = disks.put(bytes(512))
    for pointer, message in (
        (pointer_to([dva], bytes(512), 512, 77), "compressed with compression 77"),
        (pointer_to([dva], bytes(512), 512, kind=Checksum.EDONR), "checked with edonr"),
        (BlockPointer((*pointer_to([dva], bytes(512), 512)[:6], 1 << 61, *[0] * 9)), "is encrypted"),
    ):
        with pytest.raises(UnsupportedPoolError, match=message):
            disks.blocks().read(pointer, "it")


def test_sizes_that_cannot_be() -> None:
    disks = Disks()
    pointer = pointer_to([disks.put(bytes(512))], bytes(512), 32 << 20)
    with pytest.raises(DamagedError, match="would be 33554432 bytes long"):
        disks.blocks().read(pointer, "it")
    garbage = pointer_to([disks.put(b"\xff" * 512)], b"\xff" * 512, 4096, Compression.LZ4)
    with pytest.raises(DamagedError, match="cannot be unpacked"):
        disks.blocks().read(garbage, "it")


def test_a_hole_is_zeros() -> None:
    hole = BlockPointer((*[0] * 6, 7 | 1 << 63, *[0] * 9))
    assert Disks().blocks().read(hole, "it") == bytes(4096)
