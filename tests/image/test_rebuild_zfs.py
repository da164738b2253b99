"""Copying into ZFS images: the pool stays what it was, and what would be lost is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import osvlab.filesystems
from osvlab.errors import OsvlabError
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Content, Directory
from osvlab.filesystems.zfs import ZfsDataset, open_zfs
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.writer import labels
from osvlab.filesystems.zfs.writer import pool as pool_module
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.image.rebuild import copy_in, rebuild
from osvlab.kernels import Kernel
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, short_names, trees
from tests.filesystems.zfs.writer.pools import VARIANTS, write_pool


def tree() -> Directory:
    tree = Directory()
    tree.add(b"/etc/hosts", Content(b"127.0.0.1 localhost\n" * 500, 0o640, 5 * 10**9))
    tree.add(b"/random", Content(os.urandom(300_000)))
    return tree


def same(_: Directory) -> None:
    """Change nothing."""


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_a_pool_that_is_not_changed_stays_the_same_to_the_byte(variant: str, tmp_path: Path) -> None:
    options: dict[str, Any] = dict(VARIANTS[variant])
    if options.get("compression") == "gzip":
        options["compression"] = "gzip-6"  # the same by another name
    properties: dict[str, str | int] = {"mountpoint": "/", "canmount": 2}
    pool = write_pool({"": ZfsDataset(tree(), properties)}, tmp_path / "x", name="mine", **options)
    before = pool.read_bytes()
    rebuild(pool, same)
    assert pool.read_bytes() == before


@given(tree=trees(short_names))
@settings(deadline=None, max_examples=15)
def test_so_does_any_tree(tree: Directory, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_pool(tree, tmp_path_factory.mktemp("rebuild") / "x.img", free=0)
    before = path.read_bytes()
    rebuild(path, same)
    assert path.read_bytes() == before
    with osvlab.filesystems.open(path) as fs:
        assert facts_of_reader(fs) == facts_of_tree(tree)


def test_names_of_one_file_and_holes_stay(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "one").write_text("one file")
    os.link(folder / "one", folder / "two")
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 32)
        file.seek(1 << 31)
        file.write(b"in the middle")
    pool = write_pool(read_tree(folder), tmp_path / "x.img")
    before = pool.read_bytes()
    rebuild(pool, same)
    assert pool.read_bytes() == before
    assert pool.stat().st_blocks * 512 < 16 << 20
    with open_zfs([pool]) as fs:
        assert fs.find("one").number == fs.find("two").number
        assert fs.find("one").links == 2


def test_a_bootable_disk(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    image = build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img", compression="gzip-9")
    whole, root, allocated = image.size, image.root_partition, image.allocated
    before = image.path.read_bytes()
    (tmp_path / "big").write_bytes(b"big " * 500_000)
    copy_in(image.path, tmp_path / "big", "/etc/")
    again = Image.open(image.path)
    assert (again.size, again.root_partition) == (whole, root)
    assert (again.files / "etc/big").read_bytes() == (tmp_path / "big").read_bytes()
    assert again.allocated < allocated + 150_000  # compressed as the others
    assert image.path.read_bytes()[: root.offset] == before[: root.offset]
    assert all(report.ok for report in osvlab.filesystems.check(image.path))


def test_a_pool_keeps_its_size(tmp_path: Path) -> None:
    pool = write_pool(tree(), tmp_path / "x.img", free=0)
    before = pool.read_bytes()
    (tmp_path / "big").write_bytes(os.urandom(70 << 20))
    with pytest.raises(PoolError, match=r"the files may need .* MiB, and the pool has 64 MiB"):
        copy_in(pool, tmp_path / "big", "/")
    assert pool.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["big", "x.img"]


def refused(pool: Path, message: str) -> None:
    """Nothing is copied into a pool, and it stays as it was."""
    before, names = pool.read_bytes(), sorted(os.listdir(pool.parent))
    with pytest.raises(OsvlabError, match=message):
        rebuild(pool, same)
    assert pool.read_bytes() == before
    assert sorted(os.listdir(pool.parent)) == names


def test_several_datasets(tmp_path: Path) -> None:
    both = {"": ZfsDataset(tree()), "data": ZfsDataset(tree())}
    refused(write_pool(both, tmp_path / "x.img"), "pool osv has the dataset osv/data with files in it, too")


@pytest.mark.parametrize("filled", ["", "zfs"])
def test_datasets_without_files_stay(tmp_path: Path, filled: str) -> None:
    datasets = {
        name: ZfsDataset(Directory(mode=0o700, mtime=10**9), {"canmount": 2, "mountpoint": f"/{name}"})
        for name in ("", "zfs", "zfs/deep")
    }
    datasets[filled] = ZfsDataset(tree(), {"canmount": 1})
    pool = write_pool(datasets, tmp_path / "x.img")
    before = pool.read_bytes()
    rebuild(pool, same)
    assert pool.read_bytes() == before
    copy_in(pool, __file__, "/etc/new")
    with osvlab.filesystems.open(pool) as fs:
        assert (fs / "etc/new").read_bytes() == Path(__file__).read_bytes()
        assert fs.check().ok


def test_a_pool_that_was_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_EXPORTED", 0)
    pool = write_pool(tree(), tmp_path / "x.img")
    refused(pool, r"pool osv was not exported \(it is active\)")


def test_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LZ4_FEATURE", "org.open-zfs:large_blocks")
    monkeypatch.setattr("osvlab.filesystems.zfs.writer.write.LZ4_FEATURE", "org.open-zfs:large_blocks")
    refused(write_pool(tree(), tmp_path / "x.img"), "has the features org.open-zfs:large_blocks")


def test_damage(tmp_path: Path) -> None:
    pool = write_pool(tree(), tmp_path / "x.img", compression=None)
    data = bytearray(pool.read_bytes())
    at = data.index(b"localhost\n" * 1)
    data[at] ^= 1
    pool.write_bytes(data)
    refused(pool, "damaged ZFS: ")


def test_a_killed_copy_leaves_the_old_image(tmp_path: Path) -> None:
    pool = write_pool(tree(), tmp_path / "x.img", size=256 << 20)
    before = pool.read_bytes()
    (tmp_path / "big").write_bytes(os.urandom(30 << 20))
    command = [sys.executable, "-m", "osvlab.cli", "cp", str(tmp_path / "big"), f"{pool}:/big"]
    started = time.monotonic()
    subprocess.run(command, check=True)
    took = time.monotonic() - started
    assert pool.read_bytes() != before
    for part in range(1, 9):
        pool.write_bytes(before)
        process = subprocess.Popen(command)
        time.sleep(took * part / 9)  # wherever that is: it must not matter
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open_zfs([pool]) as fs:
            assert fs.check().ok
            assert (fs / "etc/hosts").read_bytes() == b"127.0.0.1 localhost\n" * 500
        assert sorted(os.listdir(tmp_path)) == ["big", "x.img"]
