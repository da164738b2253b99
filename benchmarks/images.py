"""How fast a big tree becomes an image, and in how much memory."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bound, Measured, measures, median_seconds
from osvlab.demo import compile_example

FILES, BYTES = 10_000, 200_000_000

# A Python of its own, so that the peak is the build's; ru_maxrss is in KiB on Linux.
BUILD = """
import resource, sys, time, osvlab
began = time.perf_counter()
osvlab.build(sys.argv[1], command="/hello", output=sys.argv[2])
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
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


@measures("images")
def images() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare a build with `cp -a` of the same tree, both into the same folder, all of it in memory.

    On a disk its journal would decide: there `cp -a` takes up to ten times as long.
    """
    peaks: list[int] = []
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 4 * BYTES
    with tempfile.TemporaryDirectory(dir=shared if roomy else None) as name:
        tree, image, copy = make_tree(Path(name, "tree")), Path(name, "big.img"), Path(name, "copy")

        def build() -> float:
            image.unlink(missing_ok=True)
            said = subprocess.run(
                [sys.executable, "-c", BUILD, str(tree), str(image)],
                capture_output=True, text=True, check=True,
            ).stdout.split()  # fmt: skip
            peaks.append(int(said[1]))
            return float(said[0])

        def duplicate() -> float:
            shutil.rmtree(copy, ignore_errors=True)
            (seconds,) = median_seconds(
                lambda: subprocess.run(["cp", "-a", str(tree), str(copy)], check=True), times=1
            )
            return seconds

        built, copied = median_seconds(build, duplicate, times=5)
    raw = {"in memory": roomy, "build, seconds": built, "cp -a, seconds": copied}
    yield "ROFS image from 10,000 files, 200 MB / cp -a", "x", Bound(1.5, 1.1), Measured(built / copied, raw)
    yield "peak memory of that build", "MB", Bound(150, 80), Measured(max(peaks) / 1e6)
