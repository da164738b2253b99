"""Modules of the core that tests compile, and disks for guests to mount."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition
from tests.kernel.host import KERNEL
from tests.kernel.programs import GUEST

# The glue of ZFS to the kernel, with something that stands in for ZFS.
FAKE = [*sorted((KERNEL / "modules" / "zfs").glob("guest_*.c")), GUEST / "seam" / "fake_zfs.c"]


def flags(target: str) -> list[str]:
    argv = ["make", "-s", "-C", str(KERNEL), "--no-print-directory", target]
    return shlex.split(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def compile_module(sources: Iterable[Path], output: Path, *more: str) -> Path:
    """Compile a module as the Makefile does the kernel's own."""
    options = [*flags("core-module-flags"), "-Imodules/zfs", *more]
    objects = []
    for source in sources:
        objects.append(output.with_name(f"{source.stem}.o"))
        argv = ["gcc", *options, "-c", str(source), "-o", str(objects[-1])]
        subprocess.run(argv, cwd=KERNEL, check=True)
    subprocess.run(["ld", *flags("core-module-link"), "-o", output, *objects], check=True)
    for built in objects:
        built.unlink()
        built.with_suffix(".d").unlink()
    return output


def partitioned(path: Path, first: bytes, second: bytes) -> Path:
    """Write a disk with two partitions, of one MiB or as large as what is in them."""
    start, partitions = 1 << 20, []
    with path.open("wb") as stream:
        for slot, data in ((1, first), (2, second)):
            size = max(1 << 20, -(-len(data) // 512) * 512)
            partitions.append(Partition(slot, disk.TYPE_LINUX, start, size))
            stream.seek(start)
            stream.write(data)
            start += -(-size // (1 << 20)) * (1 << 20)
        stream.truncate(start)
        stream.seek(0)
        stream.write(disk.make_boot_sector(None, 0, partitions))
    return path
