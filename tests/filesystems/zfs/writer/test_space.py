"""Space: nothing is taken twice or beyond the end, and space maps say just what was taken."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs.writer.space import RECORD, Geometry, NoSpaceError, Space, space_map

MIB = 1 << 20


@given(
    st.sampled_from([9, 12]),
    st.lists(st.tuples(st.booleans(), st.integers(1, RECORD // 4096)), max_size=300),
)
def test_blocks_lie_apart_and_inside_one_metaslab(ashift: int, wanted: list[tuple[bool, int]]) -> None:
    geometry = Geometry(64 * MIB, ashift)
    space = Space(geometry, 8 * MIB)
    taken = []
    for second, units in wanted:
        size = units * 4096
        try:
            taken.append(((space.take_copy if second else space.take)(size), size))
        except NoSpaceError:
            break
    for (start, size), (following, _) in zip(sorted(taken), sorted(taken)[1:], strict=False):
        assert start + size <= following
    for start, size in taken:
        assert start >> geometry.metaslab_shift == start + size - 1 >> geometry.metaslab_shift
        assert start + size <= geometry.metaslabs << geometry.metaslab_shift
    mapped = space.by_metaslab()
    total = sum(length for runs in mapped.values() for _, length in runs)
    assert total == sum(size for _, size in taken)
    for start, size in taken:
        index = start >> geometry.metaslab_shift
        inside = start - (index << geometry.metaslab_shift)
        assert any(at <= inside and inside + size <= at + length for at, length in mapped[index])


def test_the_end_is_an_error() -> None:
    space = Space(Geometry(64 * MIB, 9), 1 * MIB)
    with pytest.raises(NoSpaceError, match="does not fit"):
        [space.take(RECORD) for _ in range(500)]
    assert space.take_copy(512)  # second copies have room of their own


@given(st.integers(0, 40 << 30), st.sampled_from([9, 12]))
def test_what_is_asked_for_fits(room: int, ashift: int) -> None:
    geometry = Geometry.for_room(room, ashift)
    assert geometry.room >= room
    assert geometry.size % (256 << 10) == 0
    assert 40 <= geometry.metaslabs <= 130
    assert geometry.size == 64 * MIB or geometry.size < room * 1.3 + 64 * MIB


@given(st.integers(0, 1 << 20), st.integers(1, 200_000), st.sampled_from([9, 12]))
def test_long_runs_take_several_entries(start: int, units: int, ashift: int) -> None:
    raw = space_map([(start << ashift, units << ashift)], ashift)
    at, total = start, 0
    for (entry,) in struct.iter_unpack("<Q", raw):
        assert entry >> 16 == at
        assert not entry >> 15 & 1  # taken, not given back
        run = (entry & 0x7FFF) + 1
        at, total = at + run, total + run
    assert total == units
