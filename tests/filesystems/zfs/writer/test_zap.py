"""Tables of names: what the writer makes, the reader finds, whatever the names are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.zfs.format import C
from osvlab.filesystems.zfs.writer.zap import FAT_BLOCK, MICRO_ENTRIES, Entry, make_zap
from osvlab.filesystems.zfs.zap import zap_hash
from tests.filesystems.strategies import names
from tests.filesystems.zfs.writer.zaps import read_zap

numbers = st.integers(0, 2**64 - 1)
values = st.one_of(
    st.tuples(st.just(8), st.lists(numbers, min_size=1, max_size=9)),
    st.tuples(st.just(2), st.lists(st.integers(0, 65535), min_size=1, max_size=20)),
    st.tuples(st.just(1), st.lists(st.integers(0, 255), min_size=1, max_size=300)),
)
salts = st.integers(1, 2**64 - 1)


def test_the_hash_is_crc_64_of_the_ecma_polynomial() -> None:
    # CRC-64/XZ of "123456789", which begins with all ones, and is inverted at the end.
    whole = 0x995DC9BBDF1939FA ^ (2**64 - 1)
    assert zap_hash(b"123456789", 2**64 - 1) == whole >> 36 << 36


@given(st.dictionaries(names, values, max_size=30), salts)
def test_names_and_values_come_back(entries: dict[bytes, tuple[int, list[int]]], salt: int) -> None:
    zap = make_zap([Entry(name, value, size) for name, (size, value) in entries.items()], salt)
    assert read_zap(zap, salt) == entries


@pytest.mark.parametrize("count", [0, 1, 7, 8, MICRO_ENTRIES, MICRO_ENTRIES + 1, 30_000])
def test_of_any_size(count: int) -> None:
    entries = {b"name-%d" % number: (8, [number]) for number in range(count)}
    zap = make_zap([Entry(name, value, size) for name, (size, value) in entries.items()], 77)
    assert (zap.block_size == FAT_BLOCK) == (count > MICRO_ENTRIES)
    assert read_zap(zap, 77) == entries


def test_the_table_moves_out_when_leaves_are_many() -> None:
    chance = random.Random(1)
    names = [chance.randbytes(120).hex().encode() for _ in range(40_000)]
    zap = make_zap([Entry(name, (1,)) for name in names], 1)
    header = C.fat_zap(zap.data[: len(C.fat_zap)])
    assert header.table_blocks > 0
    assert header.entries == 40_000
    assert len(read_zap(zap, 1)) == 40_000


def colliding(count: int) -> list[bytes]:
    """Names of the same 28 bits of hash: a CRC is linear, so what changes nothing can be added anywhere."""
    base = b"\x80" * 60
    plain = zap_hash(base, 1)
    # Gaussian elimination: which sets of flipped bits leave the hash as it is?
    rows: dict[int, tuple[int, int]] = {}
    kernel = []
    for bit in range(len(base) * 7):
        flipped = bytearray(base)
        flipped[bit // 7] ^= 1 << bit % 7
        change, mask = (zap_hash(bytes(flipped), 1) ^ plain) >> 36, 1 << bit
        while change:
            top = change.bit_length()
            if top not in rows:
                rows[top] = change, mask
                break
            change, mask = change ^ rows[top][0], mask ^ rows[top][1]
        else:
            kernel.append(mask)
    found = []
    for number in range(count):
        mask = 0
        for index, part in enumerate(kernel):
            if number >> index & 1:
                mask ^= part
        name = bytearray(base)
        for bit in range(len(base) * 7):
            if mask >> bit & 1:
                name[bit // 7] ^= 1 << bit % 7
        found.append(bytes(name))
    assert len(set(found)) == count
    assert {zap_hash(name, 1) for name in found} == {plain}
    return found


def test_names_of_one_hash_are_told_apart() -> None:
    names = colliding(100)
    entries = {name: (8, [number]) for number, name in enumerate(names)}
    assert read_zap(make_zap([Entry(name, value) for name, (_, value) in entries.items()], 1), 1) == entries


def test_more_names_of_one_hash_than_a_leaf_holds_are_an_error() -> None:
    with pytest.raises(OsvlabError, match="300 names in one directory have the same hash"):
        make_zap([Entry(name, (1,)) for name in colliding(300)], 1)


def test_chains_of_a_leaf_are_in_the_order_of_differentiators() -> None:
    names = [*colliding(3), *(b"%d" % number for number in range(400)), b"x" * 60]
    assert set(read_zap(make_zap([Entry(name, (1,)) for name in names], 1), 1)) == set(names)
