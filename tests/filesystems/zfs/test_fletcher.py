from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs import fletcher
from osvlab.filesystems.zfs.checksums import checksum
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
    assert fletcher.fletcher4(data, swapped=swapped) == plain_fletcher4(data, endian)
    assert fletcher.fletcher2(data, swapped=swapped) == plain_fletcher2(data, endian)


def test_fletcher4_is_exact_for_the_largest_words() -> None:
    for size in (512, 131072, 1 << 20):
        data = b"\xff" * size
        assert fletcher.fletcher4(data) == plain_fletcher4(data, "<")


def test_pointers_name_them_by_numbers() -> None:
    data = bytes(range(64))
    assert checksum(Checksum.FLETCHER2, data) == fletcher.fletcher2(data)
    assert checksum(Checksum.FLETCHER4, data, swapped=True) == fletcher.fletcher4(data, swapped=True)
