"""Disks with the labels of more than one pool on them."""

from __future__ import annotations

from pathlib import Path

import pytest

import osvlab.filesystems
from osvlab.filesystems.tree import Content, Directory
from osvlab.filesystems.zfs import open_zfs
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.writer import labels
from tests.filesystems.zfs.writer.pools import write_pool
from tests.filesystems.zfs.zfs_fuse import ZfsFuse

MIB = 1 << 20


@pytest.fixture
def overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool at the start of a disk that had a larger one, which was changed more often."""
    new = write_pool(Directory({b"x": Content(b"new")}), tmp_path / "new.img", name="new")
    monkeypatch.setattr(labels, "SYNCED", 1000)
    old = write_pool(Directory({b"x": Content(b"old")}), tmp_path / "old.img", name="old", size=300 * MIB)
    with old.open("r+b") as disk:
        disk.write(new.read_bytes())
    return old


def test_labels_that_an_older_pool_left(overwritten: Path, tmp_path: Path) -> None:
    message = r"two pools on one disk: the file has new \(label 0, 1\) and old \(label 2, 3\)"
    with pytest.raises(PoolError, match=message):
        open_zfs([overwritten])
    with pytest.raises(PoolError, match=message):
        osvlab.filesystems.open(overwritten)
    with overwritten.open("r+b") as disk:  # as the hint says
        disk.truncate((tmp_path / "new.img").stat().st_size)
    with open_zfs([overwritten]) as fs:
        assert (fs / "x").read_bytes() == b"new"
        assert fs.check().ok


def test_a_pool_that_was_destroyed_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = write_pool(Directory({b"x": Content(b"new")}), tmp_path / "new.img", name="new")
    monkeypatch.setattr(labels, "SYNCED", 1000)
    monkeypatch.setattr(labels, "_EXPORTED", 2)
    old = write_pool(Directory({b"x": Content(b"old")}), tmp_path / "old.img", name="old", size=300 * MIB)
    with old.open("r+b") as disk:
        disk.write(new.read_bytes())
    with open_zfs([old]) as fs:
        assert (fs.pool.name, (fs / "x").read_bytes()) == ("new", b"new")
        assert [block.txg for block in fs.pool.uberblocks] == [8]


def test_uberblocks_of_another_pool_behind_a_broken_label(overwritten: Path) -> None:
    with overwritten.open("r+b") as disk:
        for end in (512, 256):  # what the two labels at the end say is gone, their uberblocks are not
            disk.seek(300 * MIB - end * 1024 + 20_000)
            disk.write(b"broken")
    with open_zfs([overwritten]) as fs:
        assert (fs.pool.name, (fs / "x").read_bytes()) == ("new", b"new")
        assert not fs.pool.notes


def test_a_spare_is_known_for_a_disk_of_a_pool(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    """It has labels, and no uberblock in them."""
    disk, spare = tmp_path / "disk.img", tmp_path / "spare.img"
    for path in (disk, spare):
        with path.open("wb") as file:
            file.truncate(64 * MIB)
    zfs_fuse.run("zpool", "create", "-m", tmp_path / "mount", "reserve", disk, "spare", spare)
    zfs_fuse.export("reserve")
    with pytest.raises(PoolError, match="only spares"):
        osvlab.filesystems.open(spare)
    with osvlab.filesystems.open([spare, disk]) as fs:
        assert fs.check().ok
