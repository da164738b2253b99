"""Pools of the writer, and what their judges are asked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Directory
from osvlab.filesystems.zfs.writer.write import Trees, write_zfs

# Each option at least once, and those together that go together. The first is the default.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "plain": {"compression": None},
    "gzip": {"compression": "gzip-1", "ashift": 12},
    "lz4-12": {"compression": "lz4", "ashift": 12},
    "fletcher4": {"compression": None, "checksum": "fletcher4"},
    "v23": {"compat": "v23", "compression": "gzip"},
    "v23-12": {"compat": "v23", "compression": None, "ashift": 12},
    "v23-fletcher4": {"compat": "v23", "compression": None, "checksum": "fletcher4"},
}
OLD = {name: options for name, options in VARIANTS.items() if options.get("compat") == "v23"}


def write_pool(trees: Trees | Path, image: Path, **options: Any) -> Path:
    """Write a pool into a new file."""
    if isinstance(trees, Path):
        trees = read_tree(trees)
    with open(image, "w+b", buffering=0) as stream:
        size = write_zfs(trees, stream, sparse=True, **options)
    assert image.stat().st_size == size
    return image


def bytes_of(trees: Trees, **options: Any) -> bytes:
    """The bytes of a small pool."""
    stream = io.BytesIO()
    write_zfs(trees, stream, free=0, **options)
    return stream.getvalue()


def nested(depth: int) -> Directory:
    """A directory in a directory, and so on."""
    top = here = Directory()
    for _ in range(depth):
        here.children[b"d"] = below = Directory()
        here = below
    return top
