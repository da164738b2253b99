"""Other hands on our pools: zfs-fuse reads, changes and scrubs them, GRUB reads them, zdb finds no leak.

What another implementation writes afterwards shows mistakes that reading does not: so each time the
space maps are compared with all pointers again.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.filesystems.base import Kind
from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs import open_zfs
from osvlab.filesystems.zfs.writer.plan import ZfsDataset
from tests.filesystems.strategies import facts_of_tree, short_names, trees
from tests.filesystems.zfs.trees import make_tree
from tests.filesystems.zfs.writer.pools import OLD, VARIANTS, nested, write_pool
from tests.filesystems.zfs.zfs_fuse import ZfsFuse

Zdb = Callable[..., str]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tree") / "top"
    make_tree(top, special=False)
    return top


def same_on_disk(one: Path, other: Path) -> None:
    """Compare two trees by names, kinds, modes, times, names of one file, and bytes."""

    def facts(top: Path) -> dict[bytes, tuple[object, ...]]:
        found: dict[bytes, tuple[object, ...]] = {}
        base = os.fsencode(top)
        inodes: dict[int, int] = {}
        for folder, folders, files in os.walk(base):
            for name in sorted(folders + files):
                path = os.path.join(folder, name)
                told = os.lstat(path)
                kind = stat.S_IFMT(told.st_mode)
                if stat.S_ISLNK(told.st_mode):
                    content: object = os.readlink(path)
                elif stat.S_ISREG(told.st_mode):
                    content = (told.st_size, told.st_mtime_ns // 10**9, told.st_nlink)
                    with open(path, "rb") as file:
                        while part := file.read(1 << 20):
                            content = hash((content, part))
                else:
                    content = None
                shared = inodes.setdefault(told.st_ino, len(inodes)) if told.st_nlink > 1 else 0
                mode = 0 if stat.S_ISLNK(told.st_mode) else stat.S_IMODE(told.st_mode)
                found[path.removeprefix(base)] = kind, mode, content, bool(shared)
        return found

    assert facts(one) == facts(other)


# --- zfs-fuse ---------------------------------------------------------------------------------------------


def scrub(zfs_fuse: ZfsFuse, pool: str) -> None:
    zfs_fuse.run("zpool", "scrub", pool)
    deadline = time.monotonic() + 120
    while "scrub in progress" in (told := zfs_fuse.run("zpool", "status", pool)):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    assert "with 0 errors" in told, told
    assert "No known data errors" in told, told


@pytest.mark.parametrize("name", OLD)
def test_zfs_fuse_reads_writes_and_scrubs(zfs_fuse: ZfsFuse, tree: Path, tmp_path: Path, name: str) -> None:
    pool = f"judged-{name}"
    image = write_pool(tree, tmp_path / "pool.img", name=pool, **OLD[name])
    mount = zfs_fuse.import_pool(pool, tmp_path) / pool
    same_on_disk(tree, mount)
    before = int(zfs_fuse.run("zfs", "get", "-Hpo", "value", "used", pool))
    assert image.stat().st_blocks * 512 > before > 0  # it believes what we count
    shutil.rmtree(mount / "folder-1")
    (mount / "text-1500000").write_bytes(b"shorter now")
    with open(mount / "sparse", "r+b") as file:
        file.seek(5_000_000)
        file.write(b"in a hole")
    for number in range(1500):
        (mount / "empty" / f"new-{number}").write_bytes(b"%d" % number * number)
    for number in range(0, 1500, 2):
        (mount / "empty" / f"new-{number}").unlink()
    (mount / "deep" / "level-0").rename(mount / "moved")
    zfs_fuse.run("zfs", "snapshot", f"{pool}@now")
    zfs_fuse.run("zfs", "create", f"{pool}/child")
    (mount / "child" / "file").write_bytes(b"x" * 300_000)
    (mount / "text-70000").unlink()  # the snapshot still has it
    scrub(zfs_fuse, pool)
    count = sum(1 for _ in mount.rglob("*"))
    zfs_fuse.export(pool)
    told = zfs_fuse.run("zdb", "-e", "-p", tmp_path, "-bcc", pool)
    assert "No leaks" in told, told
    with open_zfs([image], pool) as files:
        assert sum(1 for _ in files.walk()) - 1 == count - 1  # without the mounted child's file
        assert (files / "moved/level-1").is_dir()


@given(trees())
@settings(max_examples=12, deadline=None)
def test_zfs_fuse_reads_random_trees(zfs_fuse: ZfsFuse, tree: Directory) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pool(tree, Path(folder) / "pool.img", compat="v23", compression=None, name="random", free=0)
        mount = zfs_fuse.import_pool("random", Path(folder)) / "random"
        try:
            found: dict[bytes, tuple[Kind, bytes | None]] = {}
            base = os.fsencode(mount)
            for path, folders, files in os.walk(base):
                found[path.removeprefix(base) or b"/"] = Kind.DIRECTORY, None
                for name in (*folders, *files):
                    place = os.path.join(path, name)
                    inner = place.removeprefix(base)
                    if os.path.islink(place):
                        found[inner] = Kind.SYMLINK, os.readlink(place)
                    elif os.path.isfile(place):
                        found[inner] = Kind.FILE, Path(os.fsdecode(place)).read_bytes()
            assert found == facts_of_tree(tree)
        finally:
            zfs_fuse.export("random")


@pytest.mark.slow
def test_zfs_fuse_finds_and_changes_a_hundred_thousand_names(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    names = [b"file-%06d" % number for number in range(100_000)]
    trees = Directory({b"d": Directory({name: Content(b"") for name in names})})
    write_pool(trees, tmp_path / "pool.img", compat="v23", compression="gzip-1", name="names")
    place = zfs_fuse.import_pool("names", tmp_path) / "names" / "d"
    assert set(os.listdir(os.fsencode(place))) == set(names)
    # Some 18 pairs of these names have the same hash.
    assert all((place / os.fsdecode(name)).exists() for name in names[::7])
    for name in names[::50]:
        (place / os.fsdecode(name)).unlink()
    for number in range(2000):
        (place / f"new-{number}").touch()
    assert len(os.listdir(place)) == 100_000
    zfs_fuse.export("names")
    assert "No leaks" in zfs_fuse.run("zdb", "-e", "-p", tmp_path, "-bcc", "names")


def test_zfs_fuse_mounts_datasets_and_knows_their_properties(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    def holding(text: str) -> Directory:
        return Directory({b"name": Content(text.encode())})

    datasets = {
        "": ZfsDataset(holding("root")),
        "zfs": ZfsDataset(holding("zfs"), {"mountpoint": "/elsewhere", "compression": 10}),
        "zfs/below": ZfsDataset(holding("below"), {"canmount": 2}),
    }
    write_pool(datasets, tmp_path / "pool.img", compat="v23", compression=None, name="several")
    top = zfs_fuse.import_pool("several", tmp_path)
    assert (top / "several" / "name").read_text() == "root"
    assert (top / "elsewhere" / "name").read_text() == "zfs"
    properties = zfs_fuse.run(
        "zfs", "get", "-Ho", "value,source", "compression,canmount", "several/zfs/below"
    )
    assert properties.split() == ["gzip", "inherited", "from", "several/zfs", "noauto", "local"]
    zfs_fuse.run("zfs", "rename", "several/zfs/below", "several/moved")
    zfs_fuse.run("zfs", "destroy", "several/moved")
    zfs_fuse.export("several")
    assert "No leaks" in zfs_fuse.run("zdb", "-e", "-p", tmp_path, "-bcc", "several")


# --- OpenZFS's zdb ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_zdb_finds_no_leak(zdb: Zdb, tree: Path, tmp_path: Path, name: str) -> None:
    write_pool(tree, tmp_path / "pool.img", **VARIANTS[name])
    assert "No leaks" in zdb("-e", "-p", tmp_path, "-bcc", "osv")


@pytest.mark.parametrize("depth", [0, 2000])
def test_zdb_finds_no_leak_in_what_is_small_or_deep(zdb: Zdb, tmp_path: Path, depth: int) -> None:
    write_pool(nested(depth), tmp_path / "pool.img")
    assert "No leaks" in zdb("-e", "-p", tmp_path, "-bcc", "osv")


# --- GRUB -------------------------------------------------------------------------------------------------


def grub(image: Path, *command: str) -> bytes:
    if shutil.which("grub-fstest") is None:
        pytest.skip("grub-fstest is not installed")
    ended = subprocess.run(["grub-fstest", image, *command], capture_output=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", [name for name in VARIANTS if "lz4-12" not in name])
def test_grub_reads_files_and_follows_links(tmp_path: Path, name: str) -> None:
    tree = Directory()
    content = os.urandom(1000) * 400
    tree.add(b"/boot/large", Content(content))
    tree.add(b"/boot/empty", Content(b""))
    # In a bonus of ZPL 4, behind it, and the longest that GRUB finds in ZPL 5.
    links = {b"/link-%d" % length: (b"./" * 80 + b"boot/large")[-length:] for length in (10, 56, 58, 144)}
    for path, target in links.items():
        tree.add(path, Symlink(target))
    image = write_pool(tree, tmp_path / "pool.img", **VARIANTS[name])
    assert set(grub(image, "ls", "(loop0)/@/boot/").split()) == {b"large", b"empty"}
    assert grub(image, "cat", "(loop0)/@/boot/large") == content
    for path in links:
        assert grub(image, "cat", f"(loop0)/@{path.decode()}") == content
    assert grub(image, "cat", "(loop0)/@/boot/empty") == b""


@given(trees(short_names), st.sampled_from([{}, {"compat": "v23", "compression": None}]))
@settings(max_examples=8, deadline=None)
def test_grub_reads_random_trees(tree: Directory, options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = write_pool(tree, Path(folder) / "pool.img", free=0, **options)
        for path, node in tree.walk():
            place = os.fsdecode(b"(loop0)/@" + path)
            if isinstance(node, Content):
                assert grub(image, "cat", place) == node.data
            elif isinstance(node, Directory):
                found = {name.removesuffix(b"/") for name in grub(image, "ls", f"{place}/").split()}
                assert found == node.children.keys()
