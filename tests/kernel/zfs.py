"""Building the ZFS module for the host, and working on labels of pools as bytes."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.zfs import open_zfs
from tests.kernel import host

MODULE = "modules/zfs"
LABEL = 256 << 10
PARTS = {
    "zfs_tool": ["host/zfs_tool", "host/zfs_tool_files"],
    "pool_blind": ["fuzz/pool_fuzz", "fuzz/damaged_pool", "fuzz/steps", "fuzz/blind"],
}
CONFIG, CONFIG_SIZE = 16 << 10, 112 << 10
RING = 128 << 10


def library(folder: Path) -> Path:
    """Compile the module, but for its glue to the kernel, into an archive, once."""
    archive = folder / "zfs.a"
    if archive.exists():
        return archive
    flags = ["-std=gnu11", "-g", "-O1", "-D_GNU_SOURCE", "-iquote", MODULE, *host.SANITIZERS]
    flags += ["-Wall", "-Wextra", "-Werror", "-Wno-sign-compare"]
    found = (path for path in (host.KERNEL / MODULE).glob("*.c") if not path.name.startswith("guest_"))

    def compiled(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        subprocess.run(["gcc", *flags, "-c", source, "-o", target], cwd=host.KERNEL, check=True)
        return target

    with ThreadPoolExecutor(2) as workers:
        objects = list(workers.map(compiled, found))
    subprocess.run(["ar", "rcs", folder / "new.a", *objects], check=True)
    return (folder / "new.a").rename(archive)


def build(folder: Path, test: str, *flags: str) -> Path:
    """Build a test program and the module into a folder; what is there already is taken."""
    archive, output = library(folder), folder / test
    if output.exists():
        return output
    parts = ["host/zfs_shim", *PARTS.get(test, [f"host/{test}"])]
    sources = [f"tests/{name}.c" for name in parts]
    return host.build(output, [*sources, str(archive)], ["-iquote", MODULE, "-iquote", "tests/host", *flags])


def check(image: Path, cut: bool = False) -> None:
    """Let the reader in Python check all blocks, all space, all files; OpenZFS's zdb, too, where it is.

    A power cut may leave two labels torn.
    """
    with open_zfs([ByteRange(image, 0, image.stat().st_size)]) as files:
        report = files.check()
        name = files.pool.name
    torn = [problem for problem in report.problems if re.search(r"label \d at .* checksum", str(problem))]
    assert len(torn) <= 2 * cut, str(report)
    assert len(report.problems) == len(torn), str(report)
    zdb = os.environ.get("OSVLAB_ZDB")
    if zdb:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "disk").symlink_to(image.absolute())
            argv = [zdb, "-e", "-p", folder, "-bcc", name]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "No leaks" in done.stdout


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


def slot_shift(image: Path) -> int:
    """Log2 of the bytes that an uberblock takes."""
    with image.open("rb") as file:
        region = file.read(CONFIG + 4096)
    at = region.index(b"ashift\0\0") + 8  # then type and count
    return max(10, struct.unpack_from(">Q", region, at + 8)[0])


def overwrite(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def uberblocks(image: Path) -> list[tuple[int, int]]:
    """(txg, offset in the label) of all uberblocks of the first label, newest first."""
    shift = slot_shift(image)
    with image.open("rb") as file:
        file.seek(RING)
        ring = file.read(128 << 10)
    found = []
    for at in range(0, len(ring), 1 << shift):
        magic, _, txg = struct.unpack_from("<3Q", ring, at)
        if magic == 0xBAB10C:
            found.append((txg, RING + at))
    return sorted(found, reverse=True)
