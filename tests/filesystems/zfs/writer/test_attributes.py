"""Modes, times and access lists as ZFS stores them."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs.format import C
from osvlab.filesystems.zfs.writer.attributes import Attributes, access_list, sa_bonus, znode

READ, WRITE, EXECUTE = 1, 2, 0x20
OWNER, GROUP, EVERYONE = 0x1000, 0x2040, 0x4000


def may(mode: int, who: int, right: int) -> bool:
    """Ask an access list as ZFS does: the first entry that is for somebody and speaks of a right decides."""
    matching = {OWNER: (OWNER, EVERYONE), GROUP: (GROUP, EVERYONE), EVERYONE: (EVERYONE,)}[who]
    for kind, whom, mask in access_list(mode):
        if whom in matching and mask & right:
            return kind == 0
    return False


@given(st.integers(0, 0o7777))
def test_an_access_list_says_what_its_mode_says(mode: int) -> None:
    for who, shift in ((OWNER, 6), (GROUP, 3), (EVERYONE, 0)):
        for right, bit in ((READ, 4), (WRITE, 2), (EXECUTE, 1)):
            assert may(mode, who, right) == bool(mode >> shift & bit), (oct(mode), hex(who), right)


def test_an_ordinary_mode_needs_three_entries() -> None:
    assert [len(access_list(mode)) for mode in (0o777, 0o755, 0o644, 0o640, 0o600, 0o604, 0o077)] == [
        *(3, 3, 3, 3, 3, 5, 4)
    ]


def attributes(mtime: int = 0, mode: int = stat.S_IFREG | 0o644) -> Attributes:
    return Attributes(mode=mode, size=5, parent=6, links=1, mtime=mtime)


@pytest.mark.parametrize(
    ("mtime", "stored"),
    [(0, (0, 0)), (1_500_000_001, (1, 500_000_001)), (-1, (2**64 - 1, 999_999_999)), (10**19, (10**10, 0))],
)
def test_times_count_seconds_and_nanoseconds(mtime: int, stored: tuple[int, int]) -> None:
    assert attributes(mtime).time == stored
    bonus, _ = sa_bonus(attributes(mtime))
    assert tuple(int.from_bytes(bonus[at : at + 8], "little") for at in (8 + 56, 8 + 64)) == stored


@pytest.mark.parametrize("length", [1, 55, 56, 57, 143, 144, 145, 4095])
def test_long_targets_spill(length: int) -> None:
    target = b"t" * length
    bonus, spill = sa_bonus(attributes(mode=stat.S_IFLNK | 0o777), target)
    # GRUB knows where the target is: behind 16 bytes of header and 160 of attributes.
    assert (bonus[176 : 176 + length] == target) == (length <= 144)
    assert spill.endswith(target) == (length > 144)
    # The pointer to the spilled block takes the last 128 of 320 bytes.
    assert len(bonus) <= (192 if spill else 320)


def test_the_old_structure_is_as_declared() -> None:
    raw = znode(attributes(mtime=3 * 10**9, mode=stat.S_IFREG | 0o604), b"target")
    assert len(raw) == len(C.znode) + 6
    found = C.znode(raw[: len(C.znode)])
    assert (found.mode, found.size, found.parent, found.links) == (0o100604, 5, 6, 1)
    assert list(found.modified) == [3, 0]
    assert (found.acl_version, found.acl_count, found.acl_bytes) == (1, 5, 40)
    assert [entry.type for entry in found.acl[:5]] == [0, 1, 0, 0, 0]
