"""A filesystem on a writable disk: what was written is there after the next mount, or the next boot."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import osvlab
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.host import read_tree
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.kernels import Kernel
from osvlab.vm.machine import Disk, DiskAccess, Machine
from osvlab.vm.vm import VM
from tests.kernel.core_modules import FAKE, compile_module, partitioned
from tests.kernel.programs import compile_program

pytestmark = pytest.mark.qemu

MOUNT = "/busybox mount -t zfs /dev/vblk1 /data"


@pytest.fixture(scope="module")
def zfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_module(FAKE, tmp_path_factory.mktemp("zfs") / "zfs.so")


@pytest.fixture(scope="module")
def tree(zfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree") / "tree"
    (tree / "usr" / "lib" / "fs").mkdir(parents=True)
    (tree / "data").mkdir()
    shutil.copy("/bin/busybox", tree)
    shutil.copy(zfs, tree / "usr" / "lib" / "fs")
    compile_program("disk/disk", tree / "disk")
    compile_program("files/names", tree / "names")
    return tree


@pytest.fixture(scope="module")
def image(tree: Path) -> Image:
    return build(tree, command="/busybox true", output=tree.parent / "image")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 64 << 20)
    return path


@contextlib.contextmanager
def started(image: Image, disk: Path, command: str, memory: int = 64) -> Iterator[VM]:
    assert image.kernel is not None
    machine = Machine(
        disks=(Disk(image.path), Disk(disk, DiskAccess.WRITE)),
        kernel=image.kernel.path,
        command_line=image.kernel.command_line(command, rootfs="rofs"),
        memory=memory << 20,
    )
    with VM(machine, timeout=100) as vm:
        yield vm


def console(image: Image, disk: Path, command: str, memory: int = 64, status: int = 0) -> str:
    with started(image, disk, command, memory) as vm:
        assert vm.wait() == osvlab.Exited(status), vm.console.text
        return vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]


def test_the_program_passes_on_linux(tree: Path, tmp_path: Path) -> None:
    for what in ("write", "check"):
        subprocess.run([tree / "disk", what, tmp_path], check=True, timeout=60)


def test_names_behave_as_on_linux(image: Image, disk: Path) -> None:
    assert "names: ok" in console(image, disk, f"{MOUNT}; /names /data")


def test_what_was_written_is_there_after_the_next_mount_and_boot(image: Image, disk: Path) -> None:
    again = f"/busybox umount /data; {MOUNT}; /disk check /data"
    text = console(image, disk, f"{MOUNT}; /disk write /data; /disk check /data; {again}")
    assert text == "write: ok\ncheck: ok\ncheck: ok\n"
    assert console(image, disk, f"{MOUNT}; /disk check /data") == "check: ok\n"


def test_programs_run_from_it(image: Image, disk: Path) -> None:
    text = console(image, disk, f"{MOUNT}; /busybox cp /names /data/; /data/names /data; /data/names /tmp")
    assert text == "names: ok\nnames: ok\n"


@pytest.mark.parametrize("what", ["big", "map"])
def test_files_larger_than_memory_are_written_and_read(what: str, image: Image, disk: Path) -> None:
    os.truncate(disk, 128 << 20)
    assert console(image, disk, f"{MOUNT}; /disk {what} /data 12", memory=40).endswith(f"{what}: ok\n")


def test_a_disk_that_is_full_says_so_and_takes_more_when_there_is_room(image: Image, disk: Path) -> None:
    assert "full: ok" in console(image, disk, f"{MOUNT}; /disk full /data", memory=256)


def test_after_a_power_cut_what_was_synced_is_there(image: Image, disk: Path) -> None:
    with started(image, disk, f"{MOUNT}; /disk end /data") as vm:
        vm.wait_for("now")
        vm.stop()
    text = console(image, disk, f"{MOUNT}; /disk kept /data; /busybox ls /data; /names /data")
    assert text in ("kept: ok\nkept\nnames: ok\n", "kept: ok\nkept\nlost\nnames: ok\n")


def test_a_disk_that_fails_is_told_once_and_only_read_from_then_on(image: Image, disk: Path) -> None:
    text = console(image, disk, f"{MOUNT}; /disk fail /data")
    assert text.endswith("fail: ok\n")
    assert text.count("writing to vblk1 failed, error = 5: pool osv is read-only from now on") == 1
    assert "before\n" in console(image, disk, f"{MOUNT}; /busybox ls /data")


def test_what_is_in_use_stays_mounted(image: Image, disk: Path) -> None:
    assert "busy: ok" in console(image, disk, f"{MOUNT}; /disk busy /data")


def test_datasets_of_a_pool_are_mounted_by_name(image: Image, disk: Path) -> None:
    make = "/busybox mkdir /data/zfs; /busybox mount -t zfs osv/zfs /data/zfs"
    write = (
        "/busybox cp /names /data/zfs/in; /busybox mount; /busybox umount /data/zfs; /busybox ls /data/zfs"
    )
    text = console(image, disk, f"{MOUNT}; {make}; {write}")
    assert "osv on /data type zfs (rw)\nosv/zfs on /data/zfs type zfs (rw)\n" in text
    assert "in\n" not in text
    # Nothing is in the pool's root but that directory: then all is in the dataset below it.
    text = console(image, disk, f"{MOUNT}; /busybox ls /data; /busybox mount")
    assert text.startswith("[zfs] osv/zfs holds the files, and is mounted instead of osv\nin\n")
    assert "osv/zfs on /data type zfs" in text
    again = "/busybox mount -t zfs osv/zfs /tmp; /busybox mount -t zfs osv/none /tmp"
    with started(image, disk, f"{MOUNT}; {again}") as vm:
        assert vm.wait() != osvlab.Exited(0)
        assert "mounting osv/zfs on /tmp failed: Device or resource busy" in vm.console.text
        assert "mounting osv/none on /tmp failed: No such file or directory" in vm.console.text


def test_a_disk_that_can_only_be_read_is_mounted_so(image: Image, disk: Path) -> None:
    console(image, disk, f"{MOUNT}; /disk write /data")
    before = disk.read_bytes()
    assert image.kernel is not None
    line = image.kernel.command_line(f"{MOUNT}; /disk check /data; /busybox touch /data/x", rootfs="rofs")
    machine = Machine(disks=(Disk(image.path), Disk(disk)), kernel=image.kernel.path, command_line=line)
    with VM(machine, timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(1), vm.console.text
        assert "check: ok" in vm.console.text
        assert "/data/x: Read-only file system" in vm.console.text
    assert disk.read_bytes() == before


def test_it_is_the_root_when_its_module_comes_with_the_kernel(zfs: Path, tree: Path, tmp_path: Path) -> None:
    """The first root has the module and the programs; from them the pool becomes one with programs."""
    stream = io.BytesIO()
    write_bootfs(read_tree(tree), stream)
    path = partitioned(tmp_path / "disk", stream.getvalue(), bytes(32 << 20))

    def run(line: str) -> str:
        machine = Machine(disks=(Disk(path, DiskAccess.WRITE),), kernel=Kernel.lab().path, command_line=line)
        with VM(machine, timeout=60) as vm:
            assert vm.wait() == osvlab.Exited(0), vm.console.text
            return vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]

    make = (
        "/busybox mkdir /zfs; /busybox mount -t zfs /dev/vblk0.1 /zfs; /busybox mkdir -p /zfs/proc /zfs/etc"
    )
    run(f"--nomount {make}; /busybox cp /busybox /disk /zfs/; /busybox ls -l /zfs")
    text = run("--rootfs=zfs /busybox ls /; /disk write /; /busybox mount")
    assert {"busybox", "dev", "disk", "etc", "proc"} <= set(text.split())
    assert "write: ok\nosv on / type zfs (rw)\nnone on /dev type devfs (rw)\n" in text
    assert "ramfs" not in text
    assert run("/disk check /") == "check: ok\n"  # a root that is not told is found
    assert run("--rootfs=zfs --nopivot /zfs/disk check /zfs") == "check: ok\n"
