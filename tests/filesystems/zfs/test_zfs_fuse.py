"""The other implementation that the tests lean on works by itself."""

from __future__ import annotations

from pathlib import Path

from tests.filesystems.zfs.zfs_fuse import ZfsFuse


def test_what_was_written_is_there_after_an_import(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    files = zfs_fuse.create("kept", tmp_path / "kept.img")
    (files / "hello").write_text("hello")
    zfs_fuse.export("kept")
    assert not (files / "hello").exists()
    files = zfs_fuse.import_pool("kept", tmp_path)
    found = [path.read_text() for path in files.rglob("hello")]
    zfs_fuse.export("kept")
    assert found == ["hello"]
