"""Pools as wholes: made, opened, refused, left; and what happens where space is in pieces."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import struct
from pathlib import Path

import pytest

from tests.kernel import zfs
from tests.kernel.zfs_tool import ZfsTool, blank_disk

POOL = "lab"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return blank_disk(tmp_path / "pool", 64 << 20)


def fails(number: int, tool: ZfsTool, *words: bytes | str | int) -> str:
    """Run a command that must end with this error; return what the console has of it."""
    tool.messages.write_bytes(b"")
    with pytest.raises(OSError, match=os.strerror(number)):
        tool.run(*words)
    return tool.messages.read_text()


@pytest.mark.parametrize(("ashift", "compression"), [(9, 15), (9, 2), (12, 15), (13, 2)])
def test_a_new_pool_is_empty_and_whole(tool: ZfsTool, image: Path, ashift: int, compression: int) -> None:
    zfs.overwrite(image, 5 << 20, os.urandom(1 << 20))
    tool.format(image, POOL, ashift, compression)
    zfs.check(image)
    tool.open(image, POOL)
    assert tool.ls(b"/") == []
    total, used, free, _ = map(int, tool.run("space")[0].split())
    assert total > 0.9 * (64 << 20) - (5 << 20)
    assert used < 3 << 20
    assert free == total - used
    tool.export()


def test_what_opens_nothing_writes_nothing(tool: ZfsTool, image: Path) -> None:
    tool.format(image, POOL)
    before = image.read_bytes()
    for read_only in (False, True):
        tool.open(image, POOL, read_only)
        tool.ls(b"/")
        tool.run("sync")
        tool.export()
    assert image.read_bytes() == before
    tool.open(image, POOL, read_only=True)
    fails(errno.EROFS, tool, "make", "/a", "100644")
    tool.export()
    assert image.read_bytes() == before


def test_labels_keep_the_txg_of_the_configuration(tool: ZfsTool, image: Path) -> None:
    """A real OSv takes no label that is newer than the configuration among the pool's objects."""
    tool.format(image, POOL)

    def labels() -> list[tuple[int, int]]:
        numbers = [zfs.config_numbers(image, offset) for offset in zfs.label_offsets(image)]
        return [(label["state"], label["txg"]) for label in numbers]

    assert labels() == [(1, 4)] * 4
    tool.open(image, POOL)
    tool.put(b"/file", b"words")
    tool.run("sync")
    assert labels() == [(0, 4)] * 4
    tool.export()
    assert labels() == [(1, 4)] * 4


def test_a_new_pool_takes_the_place_of_an_old_one(tool: ZfsTool, image: Path) -> None:
    tool.format(image, "old")
    tool.open(image, "old")
    for number in range(20):
        tool.put(b"/file", b"%d" % number)
        tool.run("sync")
    tool.export()
    tool.format(image, POOL)
    assert tool.run("open", str(image)) == [POOL.encode()]
    tool.run("dataset", POOL)
    assert tool.ls(b"/") == []
    tool.export()
    assert [txg for txg, _ in zfs.uberblocks(image)] == [4]


@pytest.mark.parametrize("torn", [(0, 2), (1, 3), (0, 1, 2), (3,)], ids=str)
def test_labels_that_one_cut_tore_are_mended_before_others_are_written(
    tool: ZfsTool, image: Path, tmp_path: Path, torn: tuple[int, ...]
) -> None:
    tool.format(image, POOL)
    for number in torn:
        zfs.overwrite(image, zfs.label_offsets(image)[number] + zfs.CONFIG + 50000, b"torn")
    cut = tmp_path / "cut.img"
    for writes in range(2, 14):
        shutil.copy(image, cut)
        tool.open(cut, POOL)
        tool.run("cut", writes, writes)
        tool.run("make", "/made", "40755")
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            tool.run("export")
        tool.open(cut, POOL)
        tool.run("abandon")
    tool.open(image, POOL)
    tool.run("make", "/made", "40755")
    tool.export()
    zfs.check(image)


@pytest.mark.parametrize("name", ["", "9lives", "a/b", "a b", "a@b", "x" * 256])
def test_names_that_no_pool_can_have(tool: ZfsTool, image: Path, name: str) -> None:
    assert "cannot have the name" in fails(errno.EINVAL, tool, "format", str(image), name, 9, 15)


def test_disks_that_are_too_small(tool: ZfsTool, image: Path) -> None:
    os.truncate(image, 63 << 20)
    assert "a pool needs 67108864" in fails(errno.ENOSPC, tool, "format", str(image), POOL, 9, 15)
    os.truncate(image, 5 << 20)
    assert "too small for a pool" in fails(errno.EINVAL, tool, "open", str(image))


def test_a_power_cut_while_a_pool_is_made_leaves_none_or_all(
    zfs_program: Path, tool: ZfsTool, image: Path, tmp_path: Path
) -> None:
    tool.format(image, "old")
    states, reasons = set(), set()
    for writes in itertools.count(1):
        other = tmp_path / "cut.img"
        shutil.copy(image, other)
        try:
            tool.run("format-cut", str(other), POOL, writes)
            break
        except OSError as error:
            reasons.add(error.errno)
        try:
            states.add(tool.run("open", str(other))[0].decode())
            tool.run("abandon")
        except OSError as error:
            states.add(os.strerror(error.errno or 0))
    assert writes > 10
    assert reasons == {errno.EIO}
    assert states <= {"old", POOL, os.strerror(errno.EINVAL)}


def test_pools_without_an_uberblock_that_can_be_used(tool: ZfsTool, image: Path) -> None:
    tool.format(image, POOL)
    ((_, at),) = zfs.uberblocks(image)
    for magic, reason in ((0, "none of its uberblocks is whole"), (0xBAB10C, "big-endian")):
        for offset in zfs.label_offsets(image):
            zfs.overwrite(image, offset + at, struct.pack(">Q", magic))
        assert reason in fails(errno.EIO, tool, "open", str(image))


def test_a_feature_for_reading_that_is_not_known(tool: ZfsTool, image: Path) -> None:
    tool.format(image, POOL)
    tool.open(image, POOL)
    tool.run("feature", "features_for_read", "org.example:unused", 0)
    tool.export()
    tool.open(image, POOL)
    tool.run("make", "/a", "100644")
    tool.run("feature", "features_for_read", "org.example:spirals", 1)
    tool.export()
    assert "does not know: org.example:spirals" in fails(errno.ENOTSUP, tool, "open", str(image))


def test_a_feature_for_writing_that_is_not_known(tool: ZfsTool, image: Path) -> None:
    tool.format(image, POOL)
    tool.open(image, POOL)
    tool.run("make", "/a", "100644")
    tool.run("feature", "features_for_write", "org.example:spirals", 1)
    tool.export()
    tool.open(image, POOL)
    said = tool.messages.read_text().splitlines()
    assert said == [
        f"[zfs] pool {POOL} can only be read: it uses a feature that this kernel does not know: "
        "org.example:spirals"
    ]
    assert [entry.name for entry in tool.ls(b"/")] == [b"a"]
    fails(errno.EROFS, tool, "make", "/b", "100644")
    tool.export()


def root_places(image: Path, offset: int) -> list[int]:
    """Where an uberblock's three copies of the MOS are, as offsets of the image."""
    with image.open("rb") as file:
        file.seek(offset + 40)
        words = struct.unpack("<6Q", file.read(48))
    return [(4 << 20) + (word << 9) for word in words[1::2]]


def test_an_older_group_is_taken_where_the_newest_cannot_be_read(tool: ZfsTool, image: Path) -> None:
    tool.format(image, POOL)
    tool.open(image, POOL)
    for number in range(3):
        tool.put(b"/file", b"state %d" % number)
        tool.run("sync")
    tool.run("abandon")
    (newest, at), *_ = zfs.uberblocks(image)
    for place in root_places(image, at):
        zfs.overwrite(image, place + 9, b"damage")
    tool.open(image, POOL)
    assert f"the older transaction group {newest - 1}" in tool.messages.read_text()
    assert tool.get(b"/file") == b"state 1"
    tool.put(b"/file", b"state 3")
    tool.export()
    assert zfs.uberblocks(image)[0][0] > newest
    tool.open(image, POOL)
    assert tool.get(b"/file") == b"state 3"
    tool.export()
    zfs.check(image)


@pytest.mark.parametrize("ashift", [9, 12])
def test_blocks_are_put_together_where_space_is_in_pieces(tool: ZfsTool, image: Path, ashift: int) -> None:
    tool.format(image, POOL, ashift, 2)
    tool.open(image, POOL)
    tool.run("make", "/small", "40755")
    dice, piece, count = random.Random(1), b"8 KiB...", 0
    try:
        for count in range(100000):
            tool.put(b"/small/%d" % count, piece * 1024)
            if count % 500 == 0:
                tool.run("sync")
    except OSError as error:
        full = error.errno
    assert full == errno.ENOSPC
    for number in range(0, count, 2):
        tool.insist("rm", b"/small/%d" % number)
    large = dice.randbytes(6 << 20)
    for _ in range(4):
        tool.run("sync")
        tool.put(b"/waste", dice.randbytes(10))
    tool.put(b"/large", large)
    tool.export()
    zfs.check(image)
    tool.open(image, POOL)
    assert tool.get(b"/large") == large
    for number in range(1, count, 4):
        assert tool.get(b"/small/%d" % number) == piece * 1024
    tool.put(b"/large", large[::-1])
    tool.run("sync")
    assert tool.get(b"/large") == large[::-1]
    tool.run("rm", "/large")
    tool.export()
    zfs.check(image)
