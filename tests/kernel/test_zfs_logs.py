"""Intent logs that others wrote: what was durable by them is not lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.filesystems.zfs.zfs_fuse import ZfsFuse
from tests.kernel.zfs_tool import ZfsTool, blank_disk

POOL = "logged"
REASON = "an intent log has changes that were not played"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return blank_disk(tmp_path / "fuse", 64 << 20)


def append(path: Path, data: bytes) -> None:
    """Add to a file, durably."""
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def tree(top: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in top.rglob("*") if path.is_file()}


@pytest.fixture
def cut(zfs_fuse: ZfsFuse, image: Path, tool: ZfsTool, tmp_path: Path) -> tuple[Path, int]:
    """A pool after a power cut, and how long the file is of which its dataset `inner` has a part only in
    its log; `inner` is not mounted by itself."""
    folder = tmp_path / "cut"
    folder.mkdir()
    copy = folder / image.name
    files = zfs_fuse.create(POOL, image) / "inner"
    zfs_fuse.run("zfs", "create", f"{POOL}/inner")
    zfs_fuse.run("zfs", "set", "canmount=noauto", f"{POOL}/inner")
    size = synced = 0
    while synced == size:  # a group may have been completed just now
        for _ in range(5):
            append(files / "file", b"durable")
            size += 7
        shutil.copy(image, copy)
        tool.open(copy, f"{POOL}/inner", read_only=True)
        synced = sum(len(tool.get(b"/" + entry.name)) for entry in tool.ls(b"/"))
        tool.run("abandon")
    zfs_fuse.export(POOL)
    return copy, size


def test_a_pool_with_a_log_that_was_not_played_is_not_written_to(
    cut: tuple[Path, int], tool: ZfsTool, zfs_fuse: ZfsFuse
) -> None:
    """Not even in its other datasets: blocks of the log may seem to be free."""
    image, size = cut
    before = image.read_bytes()
    for name in (POOL, f"{POOL}/inner"):
        tool.open(image, name)
        with pytest.raises(OSError, match="Read-only"):
            tool.put(b"/new", b"words")
        tool.export()
    assert tool.messages.read_text().count(REASON) == 2  # once for each time it was opened
    assert image.read_bytes() == before
    top = zfs_fuse.import_pool(POOL, image.parent, "-f")
    zfs_fuse.run("zfs", "mount", f"{POOL}/inner")
    assert len(tree(top)["file"]) == size
    zfs_fuse.export(POOL)


def test_a_log_that_was_only_claimed_is_kept(
    cut: tuple[Path, int], tool: ZfsTool, zfs_fuse: ZfsFuse
) -> None:
    """Its pool was exported, but its dataset was not mounted."""
    image, size = cut
    zfs_fuse.import_pool(POOL, image.parent, "-f")
    zfs_fuse.export(POOL)
    tool.open(image, f"{POOL}/inner")
    with pytest.raises(OSError, match="Read-only"):
        tool.put(b"/new", b"words")
    tool.run("dataset", POOL)
    tool.put(b"/new", b"words" * 100000)
    tool.export()
    top = zfs_fuse.import_pool(POOL, image.parent)
    zfs_fuse.run("zfs", "mount", f"{POOL}/inner")
    found = tree(top)
    assert len(found["file"]) == size
    assert found["new"] == b"words" * 100000
    zfs_fuse.export(POOL)


def test_an_empty_log_goes(tool: ZfsTool, zfs_fuse: ZfsFuse, image: Path) -> None:
    files = zfs_fuse.create(POOL, image)
    append(files / "synced", b"kept")
    zfs_fuse.export(POOL)
    assert "ZIL intent log" in zfs_fuse.run("zdb", "-e", "-p", image.parent, "-bb", POOL)
    tool.open(image, POOL)
    tool.put(b"/new", b"words")
    tool.export()
    report = zfs_fuse.run("zdb", "-e", "-p", image.parent, "-bcc", POOL)
    assert "No leaks" in report
    assert "1\t4K" not in report
    assert tree(zfs_fuse.import_pool(POOL, image.parent)) == {"synced": b"kept", "new": b"words"}
    zfs_fuse.export(POOL)


def test_an_empty_log_is_empty_after_a_power_cut(tool: ZfsTool, zfs_fuse: ZfsFuse, image: Path) -> None:
    """Of a dataset that had not been written to when the power was cut."""
    files = zfs_fuse.create(POOL, image)
    zfs_fuse.run("zfs", "create", f"{POOL}/inner")
    append(files / "inner" / "synced", b"kept")
    zfs_fuse.export(POOL)
    tool.open(image, POOL)
    tool.put(b"/new", b"words")
    tool.run("sync")
    tool.run("abandon")
    tool.open(image, f"{POOL}/inner")
    tool.put(b"/synced", b"!", 4)
    tool.export()
    assert "No leaks" in zfs_fuse.run("zdb", "-e", "-p", image.parent, "-bcc", POOL)
    assert tree(zfs_fuse.import_pool(POOL, image.parent)) == {"synced": b"kept!", "new": b"words"}
    zfs_fuse.export(POOL)
