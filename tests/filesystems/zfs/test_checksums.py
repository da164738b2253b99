from __future__ import annotations

import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs import checksums
from osvlab.filesystems.zfs.format import Checksum

MASK = 2**64 - 1


def plain_fletcher4(data: bytes, endian: str) -> tuple[int, ...]:
    a = b = c = d = 0
    for (word,) in struct.iter_unpack(f"{endian}I", data):
        a += word
        b += a
        c += b
        d += c
    return a & MASK, b & MASK, c & MASK, d & MASK


def plain_fletcher2(data: bytes, endian: str) -> tuple[int, ...]:
    a0 = a1 = b0 = b1 = 0
    for even, odd in struct.iter_unpack(f"{endian}2Q", data):
        a0 += even
        a1 += odd
        b0 += a0
        b1 += a1
    return a0 & MASK, a1 & MASK, b0 & MASK, b1 & MASK


@given(st.binary(min_size=1, max_size=64), st.sampled_from([1, 2, 16, 31, 256, 4096]), st.booleans())
def test_fletcher_is_what_running_sums_give(seed: bytes, times: int, swapped: bool) -> None:
    data = seed * times
    data += bytes(-len(data) % 16)
    endian = ">" if swapped else "<"
    assert checksums.fletcher4(data, swapped=swapped) == plain_fletcher4(data, endian)
    assert checksums.fletcher2(data, swapped=swapped) == plain_fletcher2(data, endian)


def test_fletcher4_is_exact_for_the_largest_words() -> None:
    for size in (512, 131072, 1 << 20):
        data = b"\xff" * size
        assert checksums.fletcher4(data) == plain_fletcher4(data, "<")


def test_sha256_is_stored_in_big_endian_words() -> None:
    digest = hashlib.sha256(b"x" * 512).digest()
    words = checksums.checksum(Checksum.SHA256, b"x" * 512)
    assert words is not None
    assert struct.pack(">4Q", *words) == digest


def test_an_unknown_checksum_is_none() -> None:
    assert checksums.checksum(Checksum.EDONR, b"") is None


def test_an_embedded_checksum_knows_its_place() -> None:
    region = checksums.with_eck(b"label" + bytes(1019), 4096)
    assert checksums.eck_is_right(region, (4096, 0, 0, 0)) == "<"
    assert checksums.eck_is_right(region, (8192, 0, 0, 0)) is None
    assert checksums.eck_is_right(b"Label" + region[5:], (4096, 0, 0, 0)) is None
