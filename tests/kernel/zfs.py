"""Building the ZFS module for the host, and working on labels of pools as bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

from tests.kernel import host

MODULE = "modules/zfs"
LABEL = 256 << 10
CONFIG, CONFIG_SIZE = 16 << 10, 112 << 10
RING = 128 << 10


def sources(*names: str) -> list[str]:
    """Some of the module's files, or all of them but its glue to the kernel."""
    if names:
        return [f"{MODULE}/{name}.c" for name in names]
    found = sorted(path.name for path in (host.KERNEL / MODULE).glob("*.c"))
    return [f"{MODULE}/{name}" for name in found if not name.startswith("guest_")]


LOWER = sources(
    *("block", "gang", "checksum", "sha256", "lz4", "lzjb", "zle", "inflate"),
    *("nvlist", "label", "config", "report", "bitmap", "space", "space_map"),
)


def build(output: Path, test: str, files: list[str], *flags: str) -> Path:
    shared = ["tests/host/zfs_shim.c"]
    if test == "zfs_tool":
        shared.append("tests/host/zfs_tool_files.c")
    return host.build(output, [f"tests/host/{test}.c", *files, *shared], ["-iquote", MODULE, *flags])


def label_offsets(image: Path) -> list[int]:
    """Where the four labels of an image are."""
    size = image.stat().st_size // LABEL * LABEL
    return [0, LABEL, size - 2 * LABEL, size - LABEL]


def seal(region: bytes, offset: int) -> bytes:
    """The region with the right embedded checksum for its place."""
    body = region[:-40] + struct.pack("<Q", 0x0210DA7AB10C7A11)
    digest = hashlib.sha256(body + struct.pack("<4Q", offset, 0, 0, 0)).digest()
    return body + struct.pack("<4Q", *struct.unpack(">4Q", digest))


def change_labels(image: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the configuration in all labels, which stay whole."""
    with image.open("r+b") as file:
        for offset in label_offsets(image):
            file.seek(offset + CONFIG)
            region = change(file.read(CONFIG_SIZE))
            file.seek(offset + CONFIG)
            file.write(seal(region, offset + CONFIG))


def config_numbers(image: Path, label: int) -> dict[str, int]:
    """The numbers in the configuration of the label at this offset."""
    with image.open("rb") as file:
        file.seek(label + CONFIG)
        region = file.read(4096)
    found, at = {}, 12
    while size := struct.unpack_from(">I", region, at)[0]:
        (length,) = struct.unpack_from(">I", region, at + 8)
        after = at + 12 + (length + 3) // 4 * 4
        kind, _, value = struct.unpack_from(">IIQ", region, after)
        if kind == 8:
            found[region[at + 12 : at + 12 + length].decode()] = value
        at += size
    return found


def overwrite(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def uberblocks(image: Path, shift: int = 10) -> list[tuple[int, int]]:
    """(txg, offset in the label) of all uberblocks of the first label, newest first."""
    with image.open("rb") as file:
        file.seek(RING)
        ring = file.read(128 << 10)
    found = []
    for at in range(0, len(ring), 1 << shift):
        magic, _, txg = struct.unpack_from("<3Q", ring, at)
        if magic == 0xBAB10C:
            found.append((txg, RING + at))
    return sorted(found, reverse=True)
