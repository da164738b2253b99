"""The upper half of the ZFS module against other implementations: zfs-fuse writes, it reads; and back."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.filesystems.zfs.zfs_fuse import ZfsFuse
from tests.kernel import zfs
from tests.kernel.zfs_tool import ZfsTool, blank_disk, host_tree

POOL = "shared"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return blank_disk(tmp_path / "pool", 128 << 20)


def fill(folder: Path, dice: random.Random) -> None:
    """Make files of every kind and size that a tree can have."""
    for size in (0, 1, 511, 512, 513, 100000, 131072, 131073, 400000):
        (folder / f"size {size}").write_bytes(dice.randbytes(size))
    (folder / "text").write_bytes(b"some words that can be packed " * 20000)
    with (folder / "sparse").open("wb") as file:
        file.write(b"front")
        file.seek(3 << 20)
        file.write(b"middle")
        file.truncate(30 << 20)
    os.link(folder / "text", folder / "another name")
    for length in (1, 56, 57, 144, 145, 1000):
        (folder / f"link {length}").symlink_to("t" * length)
    (folder / ("n" * 255)).write_bytes(b"a long name")
    (folder / "ünïcode €").mkdir(mode=0o750)
    (folder / "a").mkdir()
    (folder / "a" / "b").mkdir()
    (folder / "a" / "b" / "deep").write_bytes(b"deep")
    many = folder / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"entry {number}").touch()
    for number in range(0, 3000, 7):
        (many / f"entry {number}").unlink()


@pytest.mark.parametrize(
    "option", ["compression=lzjb", "compression=gzip", "checksum=sha256", "recordsize=8K"]
)
def test_files_of_zfs_fuse_are_read(tool: ZfsTool, image: Path, zfs_fuse: ZfsFuse, option: str) -> None:
    files = zfs_fuse.create(POOL, image, size=256 << 20)
    zfs_fuse.run("zfs", "create", "-o", option, f"{POOL}/inner")
    fill(files / "inner", random.Random(option))
    zfs_fuse.run("zfs", "snapshot", f"{POOL}/inner@before")
    before = host_tree(files / "inner")
    (files / "inner" / "text").write_bytes(b"changed")
    (files / "inner" / "size 0").unlink()
    after = host_tree(files / "inner")
    zfs_fuse.export(POOL)

    tool.open(image, f"{POOL}/inner")
    assert tool.tree() == after
    tool.run("dataset", f"{POOL}/inner@before")
    assert tool.tree() == before
    with pytest.raises(OSError, match="Read-only"):
        tool.run("make", "/new", "100644")
    tool.run("dataset", POOL)
    assert [entry.name for entry in tool.ls(b"/")] == [b"inner"]


def work(tool: ZfsTool, dice: random.Random) -> None:
    """Change a tree that `fill` made, in every way."""
    for path, entry in list(tool.walk()):
        if entry.type == 8 and b"many" not in path and dice.random() < 0.6:
            if dice.random() < 0.3:
                tool.run("rm", path)
                continue
            tool.put(path, dice.randbytes(dice.randrange(300000)), dice.randrange(200000))
            tool.run("truncate", path, dice.randrange(400000))
    for length in (1, 56, 57, 144, 145, 1000):
        tool.run("make", f"/new link {length}", "120777", "u" * length)
    tool.run("make", "/new", "40711")
    tool.run("make", "/new/" + "m" * 255, "100600")
    for number in range(2000):
        tool.run("make", f"/new/{number}", "100644")
    for number in range(0, 3000, 5):
        if number % 7:
            tool.run("rm", f"/many/entry {number}")
    tool.run("rename", "/a/b", "/new/moved")
    tool.run("set", "/new", 1 | 2 | 4 | 8 | 16, "1777", 5, 6, 10**18, 10**18 + 5)


@pytest.mark.parametrize("ashift", [9, 12])
def test_zfs_fuse_goes_on_with_what_was_written(
    tool: ZfsTool, image: Path, zfs_fuse: ZfsFuse, ashift: int
) -> None:
    files = zfs_fuse.create(POOL, image, size=256 << 20, options=("-o", f"ashift={ashift}"))
    fill(files, random.Random(ashift))
    zfs_fuse.export(POOL)

    tool.open(image, POOL)
    work(tool, random.Random(ashift))
    tool.run("sync")
    tool.put(b"/last", b"words")
    tree = tool.tree()
    tool.export()
    assert "No leaks" in zfs_fuse.run("zdb", "-e", "-p", image.parent, "-bcc", POOL)

    mounted = zfs_fuse.import_pool(POOL, image.parent) / f"{zfs_fuse.folder}/mount-{POOL}".lstrip("/")
    assert host_tree(mounted) == tree
    info = (mounted / "new").stat()
    assert (info.st_uid, info.st_gid, int(info.st_mtime)) == (5, 6, 10**9)
    (mounted / "new" / "moved" / "deep").write_bytes(b"by zfs-fuse")
    for number in range(0, 2000, 3):
        (mounted / "new" / str(number)).unlink()
    fill(mounted / "new" / "moved", random.Random(2))
    zfs_fuse.run("zpool", "scrub", POOL)
    while "in progress" in (status := zfs_fuse.run("zpool", "status", POOL)):
        pass
    assert "errors: No known data errors" in status
    tree = host_tree(mounted)
    zfs_fuse.export(POOL)
    assert "No leaks" in zfs_fuse.run("zdb", "-e", "-p", image.parent, "-bcc", POOL)
    tool.open(image, POOL)
    assert tool.tree() == tree


def test_a_hundred_thousand_names(tool: ZfsTool, image: Path, zdb_or_none: Callable[..., None]) -> None:
    """Among so many some have the same hash."""
    count = 100000
    tool.format(image, "lab")
    tool.open(image, "lab")
    tool.run("make", "/many", "40755")
    tool.run("many", "/many", "name ", 0, count)
    tool.export()
    zdb_or_none(image.parent)
    tool.open(image, "lab")
    assert tool.stat(b"/many").size == count + 2
    names = {entry.name for entry in tool.ls(b"/many")}
    assert names == {b"name %d" % number for number in range(count)}
    for number in range(0, count, 997):
        assert tool.stat(b"/many/name %d" % number).links == 1
    for number in range(count):
        if number % 50:
            tool.insist("rm", f"/many/name {number}")
    tool.export()
    zdb_or_none(image.parent)
    tool.open(image, "lab")
    assert {entry.name for entry in tool.ls(b"/many")} == {b"name %d" % n for n in range(0, count, 50)}


@pytest.fixture
def zdb_or_none(request: pytest.FixtureRequest) -> Callable[..., None]:
    """OpenZFS's judgement where it can be had."""

    def check(folder: Path, name: str = "lab") -> None:
        if os.environ.get("OSVLAB_ZDB"):
            assert "No leaks" in request.getfixturevalue("zdb")("-e", "-p", folder, "-bcc", name)

    return check


def put_many(tool: ZfsTool, data: bytes, count: int) -> None:
    for number in range(count):
        tool.put(b"/file %d" % number, data)


def test_a_full_pool_says_so_and_can_be_emptied(
    tool: ZfsTool, image: Path, zdb_or_none: Callable[..., None]
) -> None:
    tool.format(image, "lab")
    tool.open(image, "lab")
    for again in range(3):
        data = random.Random(again).randbytes(3 << 20)
        with pytest.raises(OSError, match="No space"):
            put_many(tool, data, 100)
        with pytest.raises(OSError, match="No space"):
            tool.run("many", "/", "empty ", 0, 100000)
        tool.run("sync")
        assert tool.get(b"/file 20") == data
        assert len(tool.ls(b"/")) > 30
        for entry in tool.ls(b"/"):
            tool.run("rm", b"/" + entry.name)
        tool.run("sync")
    tool.put(b"/last", b"words")
    tool.export()
    zdb_or_none(image.parent)
    tool.open(image, "lab")
    assert tool.get(b"/last") == b"words"


def test_a_file_in_use_goes_at_the_next_start(tool: ZfsTool, image: Path) -> None:
    tool.format(image, "lab")
    tool.open(image, "lab")
    before = tool.run("space")[0].split()
    tool.put(b"/removed", bytes(range(256)) * 4000)
    tool.put(b"/replaced", bytes(range(256)) * 4000)
    tool.run("make", "/new", "100644")
    objects = [tool.stat(path).object for path in (b"/removed", b"/replaced")]
    tool.run("rm", "/removed", 1)
    tool.run("rename", "/new", "/replaced", 1)
    tool.run("sync")
    tool.run("abandon")
    tool.open(image, "lab")
    with pytest.raises(OSError, match="No such file"):
        tool.run("forget", objects[0])
    tool.run("rm", "/replaced")
    tool.run("sync")
    after = tool.run("space")[0].split()
    assert after[3] == before[3]
    assert int(after[1]) < int(before[1]) + 300000


def test_datasets_in_datasets(tool: ZfsTool, image: Path, zdb_or_none: Callable[..., None]) -> None:
    tool.format(image, "lab")
    tool.open(image, "lab")
    tool.run("create-dataset", "lab/one")
    tool.run("create-dataset", "lab/one/two")
    with pytest.raises(OSError, match="File exists"):
        tool.run("create-dataset", "lab/one")
    for name in ("lab/one/two", "lab/one", "lab"):
        tool.run("dataset", name)
        tool.put(b"/file", name.encode() * 50000)
    tool.export()
    zdb_or_none(image.parent)
    for name in ("lab", "lab/one", "lab/one/two"):
        tool.open(image, name)
        assert tool.get(b"/file") == name.encode() * 50000
        tool.export()


@pytest.mark.parametrize("target", [[], [b"t" * 1000]])
def test_what_is_forgotten_without_memory_leaves_the_delete_queue(
    tool: ZfsTool, image: Path, target: list[bytes]
) -> None:
    """Its number is another file's soon, which must not be destroyed at the next start.

    A long target lies in a block of its own.
    """
    tool.format(image, "lab")
    tool.open(image, "lab")
    tool.put(b"/other", b"words" * 40000)
    for every in range(1, 20):
        tool.run("make", b"/removed", "120777" if target else "100644", *target)
        if not target:
            tool.put(b"/removed", b"words")
        number = tool.stat(b"/removed").object
        tool.run("rm", "/removed", 1)
        tool.run("sync")
        tool.run("cache", 1)
        tool.get(b"/other")  # and nothing else is in memory
        tool.run("memory", every)
        forgotten = False
        with contextlib.suppress(OSError):
            tool.run("forget", number)
            forgotten = True
        tool.run("memory", 0)
        if not forgotten:
            tool.run("forget", number)
    tool.put(b"/kept", b"words")
    tool.run("sync")
    tool.run("abandon")
    tool.open(image, "lab")
    assert tool.get(b"/kept") == b"words"
    tool.export()
    zfs.check(image)
