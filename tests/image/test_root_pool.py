"""Pools in which a kernel would not find its root: said before it boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.tree import Content, Directory
from osvlab.filesystems.zfs import ZfsDataset, write_zfs
from osvlab.image.image import Image
from osvlab.image.root_pool import refuse_other_pool
from osvlab.kernels import Kernel
from osvlab.vm.machine import MachineError
from osvlab.vm.run import run

START = 1 << 20
FILES = Directory({b"hello": Content(b"hi", 0o755)})
EMPTY = Directory({b"zfs": Directory()})


@pytest.fixture
def old_stub(osv_stub: Path) -> Kernel:
    """OSv as it was up to 0.57, when it mounted osv/zfs."""
    path = osv_stub.with_name("old.elf")
    path.write_bytes(osv_stub.read_bytes() + b"\0osv/zfs\0")
    return Kernel.open(path)


def image(folder: Path, name: str, **datasets: Directory) -> Image:
    """Write a disk with a pool, and the files of its datasets; that of the root is called `root`."""
    path = folder / "x.img"
    with path.open("wb") as file:
        file.seek(START)
        found = {"" if below == "root" else below: ZfsDataset(tree) for below, tree in datasets.items()}
        size = write_zfs(found, file, name=name)
        file.seek(0)
        file.write(disk.make_boot_sector(None, 0, [Partition(2, disk.TYPE_LINUX, START, size)]))
        file.write(b"--rootfs=zfs /hello\0")
    return Image(path)


def test_a_pool_of_another_name_is_told_before_osv_boots(osv_stub: Path, tmp_path: Path) -> None:
    tank = image(tmp_path, "tank", root=FILES)
    with pytest.raises(
        MachineError, match=r"x.img has .* a pool called tank, and osv.elf .* called osv"
    ) as told:
        run(tank, kernel=osv_stub)
    assert "osvlab cp x.img:/ files; osvlab build files --fs zfs" in str(told.value.hint)
    for options in ("--nomount", "--rootfs=ramfs", "--rootfs=zfs --rootfs=rofs"):
        refuse_other_pool(tank, Kernel.open(osv_stub), f"{options} /hello")


def test_files_where_another_version_of_osv_looks_are_told(
    osv_stub: Path, old_stub: Kernel, tmp_path: Path
) -> None:
    new = Kernel.open(osv_stub)
    for tree, below, refused in (
        (EMPTY, FILES, (new, "osv/zfs, and osv.elf, of another version of OSv, mounts osv")),
        (FILES, Directory(), (old_stub, "osv, and old.elf, of another version of OSv, mounts osv/zfs")),
        (FILES, FILES, None),
    ):
        written = image(tmp_path, "osv", root=tree, zfs=below)
        for kernel in (new, old_stub):
            if refused is not None and kernel is refused[0]:
                with pytest.raises(MachineError, match=rf"in the dataset {refused[1]}\n"):
                    refuse_other_pool(written, kernel, "/hello")
            else:
                refuse_other_pool(written, kernel, "/hello")


def test_the_lab_kernel_takes_any_pool(kernel: Kernel, tmp_path: Path) -> None:
    refuse_other_pool(image(tmp_path, "tank", root=FILES), kernel, "--rootfs=zfs /hello")


def test_damage_is_left_to_the_kernel(osv_stub: Path, tmp_path: Path) -> None:
    written = image(tmp_path, "tank", root=FILES)
    with written.path.open("r+b") as file:
        file.seek(START + (256 << 10))
        file.write(bytes(written.size - START - (1 << 20)))
    refuse_other_pool(Image(written.path), Kernel.open(osv_stub), "/hello")
