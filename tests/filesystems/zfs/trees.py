"""Trees on the host, and whether a filesystem that is read holds the same."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from osvlab.filesystems.base import Filesystem, Kind
from osvlab.filesystems.zfs import reader, zap

SIZES = (0, 1, 511, 512, 513, 4096, 70_000, 131_071, 131_072, 131_073, 300_000, 1_500_000)


def text(chance: random.Random, size: int) -> bytes:
    """Bytes that compress to about a half."""
    words = [chance.randbytes(chance.randint(1, 9)) for _ in range(200)]
    found = b" ".join(chance.choices(words, k=size // 4 + 1))
    return found[:size]


def make_tree(top: Path, *, files: int = 60, seed: int = 1, special: bool = True) -> None:
    """Make a tree with everything a filesystem has to keep; `special`: also owners and devices."""
    chance = random.Random(seed)
    top.mkdir(exist_ok=True)
    for size in SIZES:
        (top / f"text-{size}").write_bytes(text(chance, size))
        (top / f"noise-{size}").write_bytes(chance.randbytes(size))
    for number in range(files):
        folder = top / f"folder-{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"file-{number}").write_bytes(text(chance, chance.randrange(3000)))
    (top / "empty").mkdir()
    deep = top.joinpath("deep", *[f"level-{depth}" for depth in range(20)])
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"found")
    (top / ("n" * 255)).write_bytes(b"a long name")
    (top / "é-ü-雪").write_bytes(b"not ASCII")
    with open(os.fsencode(top) + b"/caf\xe9", "wb") as file:
        file.write(b"not UTF-8")
    for length in (1, 7, 55, 56, 57, 100, 255, 600, 1000, 4000):
        (top / f"link-{length}").symlink_to(("../" * 1400)[-length:])
    os.link(top / "text-513", top / "same as text-513")
    with open(top / "sparse", "wb") as file:
        file.write(b"start")
        file.seek(3_000_000)
        file.write(b"middle")
        file.truncate(9_000_000)
    os.chmod(top / "text-1", 0o4711)
    os.chmod(top / "empty", 0o1777)
    os.utime(top / "text-511", ns=(5, 1_234_567_890_123_456_789))
    if not special:
        return
    os.chown(top / "text-512", 1234, 4321)
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 1027))


@contextmanager
def in_bulk() -> Iterator[None]:
    """Read all directories as large ones are read."""
    with patch.object(reader, "MANY", 0), patch.object(zap, "MANY", 0):
        yield


def assert_same(files: Filesystem, top: Path, *, resolution: int = 1, devices: bool = True) -> int:
    """Compare all that is read with a tree on the host; return how many entries there are.

    `resolution` is that of times, in nanoseconds.
    """
    count = 0
    base = os.fsencode(top)
    seen: set[bytes] = set()
    with in_bulk():
        bulk = list(files.walk())
    assert bulk == list(files.walk())
    for entry in bulk:
        host = base + entry.path
        found = os.lstat(host)
        count += 1
        seen.add(entry.path)
        assert Kind.of_mode(found.st_mode) is entry.kind, entry.path
        if entry.kind is not Kind.SYMLINK:
            assert entry.permissions == stat.S_IMODE(found.st_mode), entry.path
        assert (entry.owner, entry.group) == (found.st_uid, found.st_gid), entry.path
        if entry.kind is not Kind.DIRECTORY:
            assert entry.links == found.st_nlink, entry.path
            assert (entry.modified or 0) // resolution == found.st_mtime_ns // resolution, entry.path
        if entry.kind is Kind.FILE:
            with open(host, "rb") as file:
                expected = file.read()
            assert entry.size == len(expected)
            assert files.read(entry) == expected, entry.path
        elif entry.kind is Kind.SYMLINK:
            assert files.target(entry) == os.readlink(host), entry.path
        elif entry.kind is Kind.DIRECTORY:
            assert entry.size == len(os.listdir(host)), entry.path
        elif devices:
            assert entry.device == found.st_rdev, entry.path
        assert files.find(entry.path, follow=False) == entry
    there = {b"/"} | {
        os.path.join(folder, name).removeprefix(base)
        for folder, folders, names in os.walk(base)
        for name in (*folders, *names)
    }
    assert seen == there
    return count
