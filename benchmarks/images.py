"""How fast a big tree becomes an image, and in how much memory."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bound, Measured, measures, median_seconds
from osvlab.demo import compile_example
from osvlab.errors import OsvlabError

FILES, BYTES = 10_000, 200_000_000
# What to call it, the folder, and how often to measure there.
Place = tuple[str, Path, int]
IN_MEMORY: Place = ("in memory", Path("/dev/shm"), 7)
ON_DISK: Place = ("on disk", Path("/var/tmp"), 5)

# A Python of its own, so that the peak is the build's. VmHWM is of this program alone, where ru_maxrss
# would also count what the process was before it became one.
BUILD = """
import re, sys, time, osvlab
began = time.perf_counter()
osvlab.build(sys.argv[1], command="/hello", output=sys.argv[2], fs=sys.argv[3])
taken = time.perf_counter() - began
print(taken, int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024)
"""


def make_tree(folder: Path) -> Path:
    """Fill a folder with 10,000 files of 200 MB in 100 folders; sizes vary, contents repeat nowhere."""
    source = random.Random(1)
    for number in range(FILES):
        path = folder / f"{number % 100:02}" / f"file{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 2 * BYTES // FILES * (number % 101) // 100
        path.write_bytes(source.randbytes(size))
    compile_example("hello", folder / "hello")
    return folder


def compare(folder: Path, times: int, fs: str) -> tuple[float, float, int]:
    """Build an image of a big tree and copy the tree, in turns, in one folder, neither with fsync.

    Parameters
    ----------
    folder
        Where all of it is.
    times
        How often.
    fs
        The image's filesystem.

    Returns
    -------
    tuple of float, float and int
        Seconds of the build, seconds of ``cp -a``, and the build's peak memory in bytes.
    """
    tree, image, copy = make_tree(folder / "tree"), folder / "big.img", folder / "copy"
    peaks: list[int] = []

    def build() -> float:
        image.unlink(missing_ok=True)
        words = [sys.executable, "-c", BUILD, str(tree), str(image), fs]
        seconds, peak = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        peaks.append(int(peak))
        return float(seconds)

    def duplicate() -> float:
        shutil.rmtree(copy, ignore_errors=True)
        began = time.perf_counter()
        subprocess.run(["cp", "-a", str(tree), str(copy)], check=True)
        return time.perf_counter() - began

    built, copied = median_seconds(build, duplicate, times=times)
    return built, copied, max(peaks)


@measures("images")
def images() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare a build with `cp -a` of the same tree, in memory and on disk.

    In memory nothing but the work counts. On a disk its journal decides: there `cp -a` can take ten
    times as long.
    """
    yield from compared("rofs", "ROFS", Bound(1.5, 1.1), Bound(150, 80), (IN_MEMORY, ON_DISK))


def compared(
    fs: str, title: str, time_bound: Bound, memory_bound: Bound, places: tuple[Place, ...]
) -> Iterator[tuple[str, str, Bound, Measured]]:
    """Yield rows that compare builds with `cp -a`, and one of the memory that they take."""
    peaks = []
    for place, folder, times in places:
        # Room for the tree, its copy, and an image that is replaced only when the new one is whole.
        if not folder.is_dir() or shutil.disk_usage(folder).free < 4 * BYTES:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as name:
            built, copied, peak = compare(Path(name), times, fs)
        peaks.append(peak)
        raw = {"build, seconds": built, "cp -a, seconds": copied}
        what = f"{title} image from 10,000 files, 200 MB, {place} / cp -a"
        yield what, "x", time_bound, Measured(built / copied, raw)
    if not peaks:
        folders = " or in ".join(str(folder) for _, folder, _ in places)
        raise OsvlabError(f"no room for a tree of 200 MB in {folders}")
    yield f"peak memory of the {title} build", "MB", memory_bound, Measured(max(peaks) / 1e6)
