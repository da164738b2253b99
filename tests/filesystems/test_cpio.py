"""cpio archives, judged by GNU cpio."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from pathlib import Path

import pytest

from osvlab.filesystems.cpio import cpio_size, write_cpio
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink, TreeError


def written(tree: Directory) -> bytes:
    stream = io.BytesIO()
    size = write_cpio(tree, stream)
    assert size == len(stream.getvalue()) == cpio_size(tree)
    return stream.getvalue()


def test_gnu_cpio_unpacks_what_was_written(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for size in range(9):
        (source / ("n" * (size + 1))).write_bytes(bytes(range(size)))
    (source / "program").write_bytes(os.urandom(300_001))
    (source / "program").chmod(0o751)
    (source / "empty").mkdir()
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "ü").write_text("ü")
    (source / "link").symlink_to("deep/er")
    (source / os.fsdecode(b"bytes\xff")).write_text("no UTF-8")

    target = tmp_path / "target"
    target.mkdir()
    argv = ["cpio", "--extract", "--no-absolute-filenames", "--quiet"]
    done = subprocess.run(
        argv, input=written(read_tree(source)), cwd=target, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr

    names = sorted(path.relative_to(source) for path in source.rglob("*"))
    assert sorted(path.relative_to(target) for path in target.rglob("*")) == names
    for name in names:
        one, other = source / name, target / name
        assert stat.S_IFMT(one.lstat().st_mode) == stat.S_IFMT(other.lstat().st_mode)
        if one.is_symlink():
            assert os.readlink(one) == os.readlink(other)
        elif one.is_file():
            assert one.read_bytes() == other.read_bytes()
            assert one.stat().st_mode == other.stat().st_mode


def test_parents_come_before_their_children_and_are_told() -> None:
    tree = Directory()
    tree.add(b"/b/c/d", Content(b"x"))
    tree.add(b"/a", Symlink(b"b"))
    told: list[bytes] = []
    shares: list[tuple[int, int]] = []
    write_cpio(
        tree, io.BytesIO(), entry=told.append, progress=lambda done, all_: shares.append((done, all_))
    )
    assert told == [b"/a", b"/b", b"/b/c", b"/b/c/d"]
    assert shares == sorted(shares)
    assert shares[-1] == (cpio_size(tree), cpio_size(tree))


def test_a_file_of_four_gigabytes_is_refused_by_name() -> None:
    tree = Directory({b"huge": HostFile(b"/dev/null", 1 << 32)})
    with pytest.raises(TreeError, match=r"/huge has 4294967296 bytes"):
        write_cpio(tree, io.BytesIO())
