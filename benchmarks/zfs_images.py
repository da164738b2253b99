"""How fast a big tree becomes a ZFS image the host's way, and how fast it does so again."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Bound, Measured, measures
from benchmarks.images import ON_DISK, compared, make_tree

# Builds again and again in one Python, as a notebook does. What is asked for on stdin is changed before.
AGAIN = """
import sys, time, osvlab
for line in sys.stdin:
    began = time.perf_counter()
    osvlab.build(sys.argv[1], command="/hello", output=sys.argv[2], fs="zfs")
    print(time.perf_counter() - began, flush=True)
"""
TIMES = 9


@measures("zfs-images")
def zfs_images() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare builds of ZFS images with `cp -a`, and measure builds of what is nearly or wholly the same."""
    yield from compared("zfs", "ZFS", Bound(3, 1.3), Bound(300, 150), (ON_DISK,))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield from again(Path(name))


def again(folder: Path) -> Iterator[tuple[str, str, Bound, Measured]]:
    """Yield rows of building what was built before."""
    tree = make_tree(folder / "tree")
    time.sleep(0.1)  # what changed a moment ago is not believed to be the same
    words = [sys.executable, "-c", AGAIN, str(tree), str(folder / "big.img")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def built(change: Callable[[], object]) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            change()
            print("go", file=process.stdin, flush=True)
            return float(process.stdout.readline())

        def one_file() -> None:
            with open(tree / "42" / "file04242", "ab") as file:
                file.write(os.urandom(100))
            time.sleep(0.1)

        built(lambda: None)  # imports, and the first image
        same = [built(lambda: None) for _ in range(TIMES)]
        one = [built(one_file) for _ in range(TIMES)]
        process.stdin.close()
    for title, bound, seconds in (
        ("ZFS image built again, nothing changed", Bound(0.3, 0.1), same),
        ("ZFS image built again, one file of 10,000 changed", Bound(1.0, 0.4), one),
    ):
        yield title, "s", bound, Measured(statistics.median(seconds), {"seconds": seconds})
