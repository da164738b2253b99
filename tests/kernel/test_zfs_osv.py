"""A real OSv on a pool of ours as its root: it reads what we wrote, writes, and we go on.

It takes part when OSVLAB_OSV_ZFS_KERNEL names its kernel, one that has ZFS in it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition
from tests.kernel.programs import compile_program
from tests.kernel.test_zfs_files import fill, zdb_or_none
from tests.kernel.zfs_tool import ZfsTool, host_tree

KERNEL = os.environ.get("OSVLAB_OSV_ZFS_KERNEL")
START, SIZE = 2 << 20, 256 << 20

__all__ = ["zdb_or_none"]

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not KERNEL, reason="OSVLAB_OSV_ZFS_KERNEL names no OSv kernel with ZFS"),
]


def run_osv(partition: Path, folder: Path, command: str) -> str:
    """Run a program of the pool in OSv, which mounts the second partition of its disk."""
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.write(disk.make_boot_sector(None, 0, [Partition(2, disk.TYPE_LINUX, START, SIZE)]))
        file.seek(START)
        with partition.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-display", "none"]
    argv += ["-nodefaults", "-no-reboot", "-kernel", str(KERNEL), "-serial", "stdio"]
    argv += ["-append", f"--rootfs=zfs --power-off-on-abort {command}"]
    argv += ["-drive", f"if=none,id=d,file={image},format=raw", "-device", "virtio-blk-pci,drive=d"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=280)
    with image.open("rb") as file, partition.open("wb") as target:
        file.seek(START)
        shutil.copyfileobj(file, target, 1 << 20)
    return ended.stdout


@pytest.mark.parametrize(("ashift", "compression"), [(9, 15), (12, 2)])
def test_osv_lives_on_it(
    zfs_program: Path,
    tmp_path: Path,
    zdb_or_none: Callable[..., None],
    ashift: int,
    compression: int,
) -> None:
    tool_folder, tree, pool = tmp_path / "tool", tmp_path / "tree", tmp_path / "pool"
    for folder in (tool_folder, tree, pool):
        folder.mkdir()
    partition = pool / "partition"
    with partition.open("wb") as file:
        file.truncate(SIZE)
    fill(tree, random.Random(ashift))
    tool = ZfsTool(zfs_program, tool_folder)
    tool.format(partition, "osv", ashift, compression)
    tool.open(partition, "osv")
    tool.load(tree, b"/tree")
    for name in ("dev", "proc", "sys", "tmp", "etc"):
        tool.run("make", f"/{name}", "40755")
    tool.put(b"/etc/fstab", b"")
    change = compile_program("zfs/change", tmp_path / "change.so", "-shared", "-fPIC")
    tool.put(b"/change.so", change.read_bytes())
    tool.export()

    assert run_osv(partition, tmp_path, "/change.so /tree").endswith("changed\n")
    zdb_or_none(pool, "osv")
    subprocess.run([compile_program("zfs/change", tmp_path / "change"), tree], check=True)
    tool.open(partition, "osv")
    assert tool.tree(b"/tree") == host_tree(tree)

    tool.load(tree, b"/again")
    for path, entry in reversed(list(tool.walk(b"/tree"))):
        tool.run("rm", path)
        assert entry.object
    tool.export()
    zdb_or_none(pool, "osv")
    tool.open(partition, "osv", read_only=True)
    assert tool.tree(b"/again") == host_tree(tree)
    tool.run("abandon")
    tool.close()
