"""How big the kernel and the smallest image are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import osvlab
from benchmarks.boot import hello_image
from benchmarks.harness import Bound, Measured, measures

MIB = 1 << 20


@measures("sizes")
def sizes() -> Iterator[tuple[str, str, Bound | None, Measured]]:
    """Weigh the kernel that boots, and the blocks that an image with hello takes on disk."""
    kernel = osvlab.Kernel.lab()
    yield "lab kernel, stripped", "MiB", Bound(1.0, 0.6), Measured(kernel.size / MIB)
    with tempfile.TemporaryDirectory() as name:
        status = hello_image(Path(name)).path.stat()
    allocated = status.st_blocks * 512
    yield "image with hello on ROFS, on disk", "MiB", Bound(1.5, 0.8), Measured(allocated / MIB)
    # OSv's layout puts the file system on a boundary of 2 MiB; what lies before it is mostly a hole.
    yield "its length, holes included", "MiB", None, Measured(status.st_size / MIB)
