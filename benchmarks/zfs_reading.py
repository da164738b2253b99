"""How fast ZFS is read in Python, with every checksum verified, and in how much memory."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Bound, Measured, measures, median_seconds
from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Content, Directory, HostFile
from osvlab.filesystems.zfs import open_zfs
from osvlab.filesystems.zfs.writer.write import write_zfs

BYTES, ENTRIES, LARGE = 200_000_000, 100_000, 5 << 30
# By what is measured: how the pool is written, and how much faster than GRUB it has to be read.
POOLS: dict[str, tuple[dict[str, Any], Bound]] = {
    "SHA-256": ({"compression": None, "checksum": "sha256"}, Bound(1, 4, more_is_better=True)),
    "fletcher4 and lz4": (
        {"compression": "lz4", "checksum": "fletcher4"},
        Bound(0.5, 1, more_is_better=True),
    ),
}
# A Python of its own, so that the peak is that of reading.
PEAK = """
import re, sys
from osvlab.filesystems.zfs import open_zfs
with open_zfs([sys.argv[1]]) as files:
    size = sum(map(len, files.read_pieces(files.find("large"))))
print(size, int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024)
"""


def make_file(path: Path) -> None:
    """Write 200 MB that compress to about two thirds: text and noise in turns."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randint(2, 9)) for _ in range(500)]
    pieces = [b" ".join(chance.choices(words, k=20_000))[:100_000] for _ in range(20)]
    pieces += [chance.randbytes(100_000) for _ in range(10)]
    with open(path, "wb") as file:
        for _ in range(BYTES // 100_000):
            file.write(chance.choice(pieces))


@measures("zfs-reading")
def zfs_reading() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Read a file, list a directory, and read what is too large for memory."""
    if shutil.which("grub-fstest") is None:
        raise OsvlabError("grub-fstest is not there to compare with", hint="apt install grub-common")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        make_file(folder / "file")
        tree = Directory({b"file": HostFile.at(folder / "file")})
        for what, (options, bound) in POOLS.items():
            yield against_grub(folder, tree, what, options, bound)
        yield listing(folder / "many.img")
        yield memory(folder)


def against_grub(
    folder: Path, tree: Directory, what: str, options: dict[str, Any], bound: Bound
) -> tuple[str, str, Bound, Measured]:
    """Copy a file out of a pool, and have GRUB do the same."""
    image, copy, expected = folder / "pool.img", folder / "copy", (folder / "file").read_bytes()
    with open(image, "w+b", buffering=0) as stream:
        write_zfs(tree, stream, sparse=True, **options)

    def ours() -> None:
        with open_zfs([image]) as files, open(copy, "wb") as out:
            out.writelines(files.read_pieces(files.find("file")))

    def grub() -> None:
        subprocess.run(["grub-fstest", image, "cp", "(loop0)/@/file", copy], check=True, capture_output=True)

    for work in (ours, grub):
        work()
        if copy.read_bytes() != expected:
            raise OsvlabError(f"a file came back wrong from {image}")
    seconds, baseline = median_seconds(ours, grub, times=5)
    image.unlink()
    raw = {"osvlab, seconds": seconds, "grub-fstest cp, seconds": baseline}
    title = f"200 MB file read from ZFS, verified ({what}), against grub-fstest cp"
    return title, "x faster", bound, Measured(baseline / seconds, raw)


def listing(image: Path) -> tuple[str, str, Bound, Measured]:
    """List a directory with a hundred thousand files."""
    tree = Directory({b"file-%06d" % number: Content(b"") for number in range(ENTRIES)})
    with open(image, "w+b", buffering=0) as stream:
        write_zfs(tree, stream, sparse=True)

    def work() -> float:
        with open_zfs([image]) as files:
            began = time.perf_counter()
            entries = files.list(files.root)
            taken = time.perf_counter() - began
        if len(entries) != ENTRIES:
            raise OsvlabError(f"{len(entries)} of {ENTRIES} entries were listed")
        return taken

    (seconds,) = median_seconds(work, times=5)
    return "100,000 entries of a ZFS directory listed", "s", Bound(2, 0.5), Measured(seconds)


def memory(folder: Path) -> tuple[str, str, Bound, Measured]:
    """Read a file of 5 GB, most of it holes, in a process of its own."""
    chance = random.Random(2)
    with open(folder / "large", "wb") as file:
        for place in range(0, LARGE, 64 << 20):
            file.seek(place)
            file.write(chance.randbytes(1 << 20))
        file.truncate(LARGE)
    image = folder / "large.img"
    with open(image, "w+b", buffering=0) as stream:
        write_zfs(Directory({b"large": HostFile.at(folder / "large")}), stream, sparse=True)
    words = [sys.executable, "-c", PEAK, str(image)]
    size, peak = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    if size != LARGE:
        raise OsvlabError(f"{size} of {LARGE} bytes were read")
    return "peak memory of reading a 5 GB file from ZFS", "MB", Bound(100, 60), Measured(peak / 1e6)
