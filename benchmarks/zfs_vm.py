"""How much faster the host fills a ZFS image than an empty VM does; and the lab kernel's VM than OSv's.

OSv takes part when OSVLAB_OSV_ZFS_BUILDER names its builder, `zfs_builder-stripped.elf`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Bound, Measured, measures, median_seconds
from benchmarks.images import make_tree

# A Python of its own for each build, as `osvlab build` is one.
BUILD = """
import sys, time, osvlab
began = time.perf_counter()
osvlab.build(sys.argv[1], "/hello", "zfs", output=sys.argv[2], via=sys.argv[3], builder=sys.argv[4] or None)
print(time.perf_counter() - began)
"""
TIMES = 3


def build(tree: Path, image: Path, via: str, builder: str = "") -> float:
    """Build an image that was not there, and return the seconds that took."""
    image.unlink(missing_ok=True)
    os.sync()  # what was written before, by whomever, is not written on this one's time
    words = [sys.executable, "-c", BUILD, str(tree), str(image), via, builder]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@measures("zfs-vm")
def zfs_vm() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Build the same image by the host, by the lab kernel's VM, and by OSv's where there is one."""
    osv = os.environ.get("OSVLAB_OSV_ZFS_BUILDER", "")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        tree, image = make_tree(Path(name) / "tree"), Path(name) / "big.img"
        ways: dict[str, Callable[[], float]] = {
            "host": partial(build, tree, image, "host"),
            "lab": partial(build, tree, image, "vm"),
        }
        if osv:
            ways["osv"] = partial(build, tree, image, "vm", osv)
        seconds = dict(zip(ways, median_seconds(*ways.values(), times=TIMES), strict=True))
    what = "ZFS image from 10,000 files, 200 MB"
    faster = Bound(5, 20, more_is_better=True)
    yield f"{what}: empty VM of the lab kernel / host", "x", faster, ratio(seconds, "lab", "host")
    if osv:
        yield f"{what}: empty VM of OSv / host", "x", faster, ratio(seconds, "osv", "host")
        title = f"{what}: empty VM of OSv / of the lab kernel"
        yield title, "x", Bound(1, 2, more_is_better=True), ratio(seconds, "osv", "lab")


def ratio(seconds: dict[str, float], above: str, below: str) -> Measured:
    """Divide two durations, and keep both."""
    raw = {f"{name}, seconds": seconds[name] for name in (above, below)}
    return Measured(seconds[above] / seconds[below], raw)
