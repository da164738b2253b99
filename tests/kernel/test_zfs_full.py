"""Pools that are full, on the host: nothing is lost, and files can be removed until it is empty again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kernel import zfs
from tests.kernel.zfs_tool import ZfsTool, blank_disk


def put_many(tool: ZfsTool, folder: bytes, data: bytes) -> None:
    for number in range(1 << 20):
        tool.put(folder + b"/%d" % number, data)


def fill(tool: ZfsTool) -> None:
    """Make files of several sizes until there is no more space for any."""
    folders = {size: b"/of %d" % size for size in (1 << 20, 1 << 16, 600)}
    for folder in folders.values():
        tool.run("make", folder, "40755")
    for size, folder in folders.items():
        with pytest.raises(OSError, match="No space"):
            put_many(tool, folder, random.Random(size).randbytes(size))


@pytest.fixture
def full(tool: ZfsTool, tmp_path: Path) -> Path:
    """A full pool, open, in which 8000 small files lie in other blocks of names and dnodes each."""
    image = blank_disk(tmp_path / "pool", 64 << 20)
    tool.format(image, "lab", 12, 2)
    tool.open(image, "lab")
    tool.run("make", "/small", "40755")
    tool.run("many", "/small", "file ", 0, 8000)
    fill(tool)
    tool.run("sync")
    return image


NUMBERS = random.Random(1).sample(range(8000), 500)


def test_scattered_files_are_removed_from_a_full_pool(tool: ZfsTool, full: Path) -> None:
    """What had their names and dnodes is written anew before any of its space is free."""
    for number in NUMBERS[:350]:
        tool.insist("rm", f"/small/file {number}")
    for number in NUMBERS[350:]:
        tool.insist("set", f"/small/file {number}", 1, "600")
    tool.run("sync")
    for entry in tool.ls(b"/of 1048576"):
        tool.insist("truncate", b"/of 1048576/" + entry.name, 100)
    tool.export()
    zfs.check(full)
    tool.open(full, "lab")
    assert len(tool.ls(b"/small")) == 7650
    assert int(tool.run("space")[0].split()[2]) > 30 << 20


def test_files_in_use_are_forgotten_on_a_full_pool(tool: ZfsTool, full: Path) -> None:
    """A power cut leaves them in the delete queue, more than can be destroyed at once."""
    for number in NUMBERS:
        tool.insist("rm", f"/small/file {number}", 1)
    tool.run("sync")
    before = int(tool.run("space")[0].split()[3])
    tool.run("abandon")
    tool.open(full, "lab")
    tool.run("sync")
    assert int(tool.run("space")[0].split()[3]) == before - len(NUMBERS)
    tool.export()
    zfs.check(full)
