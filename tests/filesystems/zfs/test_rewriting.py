"""Writing a pool again: those of other systems are refused. The rest is tried in `tests/image`."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.filesystems.tree import Content, Directory
from osvlab.filesystems.zfs import open_zfs
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.rewriting import pool_writer
from tests.filesystems.zfs.writer.pools import write_pool
from tests.filesystems.zfs.zfs_fuse import ZfsFuse, inside


def refused(pool: Path, message: str) -> None:
    with open_zfs([pool]) as fs, pytest.raises(PoolError, match=message):
        pool_writer(fs)


def test_a_pool_that_zfs_fuse_made(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    pool = tmp_path / "x.img"
    files = zfs_fuse.create("theirs", pool)
    Path(inside(zfs_fuse, files), "x").write_text("x")
    zfs_fuse.export("theirs")
    refused(pool, "pool theirs was made or changed by another system than the lab, which would be lost")


def test_a_pool_of_ours_that_zfs_fuse_wrote_to(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    tree = Directory({b"x": Content(b"x")})
    (tmp_path / "ours").mkdir()
    pool = write_pool(tree, tmp_path / "ours" / "x.img", name="ours", compat="v23", compression=None)
    with open_zfs([pool]) as fs:
        pool_writer(fs)
    zfs_fuse.import_pool("ours", pool.parent)
    zfs_fuse.run("zfs", "snapshot", "ours@now")
    zfs_fuse.export("ours")
    refused(pool, "pool ours was made or changed by another system than the lab, which would be lost")
