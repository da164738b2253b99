"""A filesystem on a writable disk: what was written is there after the next mount, or the next boot.

Everything is tried twice: with ZFS, on pools that the host has written, judged by the host's reader and
by OpenZFS's zdb where OSVLAB_ZDB names it; and with something simple in ZFS's place behind its glue, so
that what goes wrong can be told to be the kernel's or ZFS's.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

import osvlab
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Directory
from osvlab.filesystems.zfs import ZfsDataset, open_zfs, write_zfs
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.kernel_build import built_module
from osvlab.kernels import Kernel
from osvlab.vm.machine import Disk, DiskAccess, Machine
from osvlab.vm.vm import VM
from tests.filesystems.zfs.zfs_fuse import ZfsFuse
from tests.kernel.core_modules import FAKE, compile_module, partitioned
from tests.kernel.programs import compile_program

pytestmark = pytest.mark.qemu

MOUNT = "/busybox mount -t zfs /dev/vblk1 /data"


class Kind(StrEnum):
    FAKE = "fake"
    ZFS = "zfs"


@pytest.fixture(scope="module", params=Kind)
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


@pytest.fixture(scope="module")
def module(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if kind is Kind.ZFS:
        return built_module("zfs")
    return compile_module(FAKE, tmp_path_factory.mktemp("fake") / "zfs.so")


@pytest.fixture(scope="module")
def tree(module: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree") / "tree"
    (tree / "usr" / "lib" / "fs").mkdir(parents=True)
    (tree / "data").mkdir()
    shutil.copy("/bin/busybox", tree)
    shutil.copy(module, tree / "usr" / "lib" / "fs")
    compile_program("disk/disk", tree / "disk")
    compile_program("disk/room", tree / "room")
    compile_program("files/names", tree / "names")
    return tree


@pytest.fixture(scope="module")
def image(tree: Path) -> Image:
    return build(tree, command="/busybox true", output=tree.parent / "image")


@pytest.fixture(scope="module")
def empty(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with an empty pool and two datasets in it."""
    path = tmp_path_factory.mktemp("pool") / "disk"
    with path.open("w+b") as stream:
        if kind is Kind.ZFS:
            names = ("", "zfs", "data")
            write_zfs(
                {name: ZfsDataset(Directory({})) for name in names}, stream, free=100 << 20, sparse=True
            )
        else:
            stream.truncate(64 << 20)
    return path


@pytest.fixture
def disk(kind: Kind, empty: Path, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    shutil.copyfile(empty, path)
    yield path
    if kind is Kind.ZFS:
        judge(path, tmp_path / "judged")


def judge(disk: Path, folder: Path) -> None:
    """Check a pool that a guest has written to: every block, all space, links and parents."""
    with open_zfs([ByteRange(disk)]) as files:
        assert files.check().ok, str(files.check())
    program = os.environ.get("OSVLAB_ZDB")
    if program:
        folder.mkdir(exist_ok=True)
        (folder / "pool").unlink(missing_ok=True)
        (folder / "pool").symlink_to(disk)
        argv = [program, "-e", "-p", str(folder), "-bcc", "osv"]
        ended = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "No leaks" in ended.stdout, ended.stdout


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
    for what in ("write", "check", "append", "scatter"):
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
def test_files_larger_than_memory_are_written_and_read(
    what: str, kind: Kind, image: Image, disk: Path
) -> None:
    size = 80 if kind is Kind.ZFS else 12  # the other one keeps all in memory
    text = console(image, disk, f"{MOUNT}; /disk {what} /data {size}", memory=40)
    assert text.endswith(f"{what}: ok\n")


def test_names_are_made_that_need_more_than_all_memory(kind: Kind, image: Image, disk: Path) -> None:
    if kind is not Kind.ZFS:
        pytest.skip("the other one keeps all in memory")
    assert "many: ok" in console(image, disk, f"{MOUNT}; /disk many /data 8000", memory=20)


def test_a_disk_that_is_full_says_so_and_takes_more_when_there_is_room(image: Image, disk: Path) -> None:
    assert "full: ok" in console(image, disk, f"{MOUNT}; /disk full /data", memory=256)


def test_what_is_removed_from_a_full_disk_is_room_for_any_name(kind: Kind, image: Image, disk: Path) -> None:
    """Also while it is being written back."""
    if kind is not Kind.ZFS:
        pytest.skip("the other one frees at once")
    with disk.open("w+b") as stream:
        write_zfs({"": ZfsDataset(Directory({}))}, stream, size=64 << 20, compression=None)
    assert "room: ok" in console(image, disk, f"{MOUNT}; /room /data", memory=128)


def test_who_appends_overwrites_nobody(image: Image, disk: Path) -> None:
    assert "append: ok" in console(image, disk, f"{MOUNT}; /disk append /data", memory=128)


def test_bytes_far_apart_are_written_or_refused(kind: Kind, image: Image, disk: Path) -> None:
    """Each takes a record, of which the page cache holds only a page."""
    if kind is not Kind.ZFS:
        pytest.skip("the other one has no records")
    with disk.open("w+b") as stream:
        write_zfs({"": ZfsDataset(Directory({}))}, stream, size=64 << 20, compression=None)
    assert "scatter: ok" in console(image, disk, f"{MOUNT}; /disk scatter /data", memory=256)


def test_a_hole_is_punched_into_one_that_is_larger_than_any_disk(
    kind: Kind, image: Image, disk: Path
) -> None:
    if kind is not Kind.ZFS:
        pytest.skip("the other one keeps all in memory")
    text = console(image, disk, f"{MOUNT}; /disk write /data; /disk punch /data; /disk check /data")
    assert text == "write: ok\npunch: ok\ncheck: ok\n"


def test_after_a_power_cut_what_was_synced_is_there(image: Image, disk: Path) -> None:
    with started(image, disk, f"{MOUNT}; /disk end /data") as vm:
        vm.wait_for("now")
        vm.stop()
    text = console(image, disk, f"{MOUNT}; /disk kept /data; /busybox ls /data; /names /data")
    assert text in ("kept: ok\nkept\nnames: ok\n", "kept: ok\nkept\nlost\nnames: ok\n")


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.soak) for n in range(2, 40))])
def test_power_cuts_at_any_moment_lose_nothing_that_was_synced(
    seed: int, kind: Kind, image: Image, disk: Path, tmp_path: Path
) -> None:
    dice, last = random.Random(seed), -1
    for _ in range(3):
        with started(image, disk, f"{MOUNT}; /disk churn /data {last + 1}") as vm:
            vm.wait_for(f"kept {last + dice.randrange(1, 30)}\n")
            deadline = time.monotonic() + dice.random() * 0.05
            while time.monotonic() < deadline:  # anywhere between two lines
                pass
            vm.stop()
            last = int(re.findall(r"kept (\d+)\n", vm.console.text)[-1])
        if kind is Kind.ZFS:
            judge(disk, tmp_path / "cut")
        assert console(image, disk, f"{MOUNT}; /disk churned /data {last}") == "churned: ok\n"


def test_threads_do_everything_at_once(image: Image, disk: Path) -> None:
    again = f"/busybox umount /data; {MOUNT}; /disk loose /data"
    text = console(image, disk, f"{MOUNT}; /disk threads /data 4; {again}", memory=40)
    assert text == "threads: ok\nloose: ok\n"


def test_fstab_and_the_command_line_mount_it(tree: Path, disk: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    (copy / "etc").mkdir()
    (copy / "etc" / "fstab").write_text("none /tmp ramfs\n/dev/vblk1 /data zfs defaults 0 0\n")
    image = build(copy, command="/busybox true", output=tmp_path / "image")
    text = console(image, disk, "--mount-fs=zfs,osv/data,/tmp/more /disk write /data; /busybox mount")
    assert {"osv on /data type zfs (rw)", "osv/data on /tmp/more type zfs (rw)"} <= set(text.splitlines())


def test_a_disk_that_fails_is_told_once_and_only_read_from_then_on(
    kind: Kind, image: Image, disk: Path
) -> None:
    if kind is Kind.ZFS:
        pytest.skip("QEMU's disk does not fail when it is asked to")
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


def test_a_pool_of_another_name_is_told(image: Image, tmp_path: Path, kind: Kind) -> None:
    disk = tmp_path / "other"
    found, wanted = ("tank", "osv") if kind is Kind.ZFS else ("osv", "tank")
    with disk.open("w+b") as stream:
        if kind is Kind.ZFS:
            write_zfs({"": ZfsDataset(Directory({}))}, stream, name=found, sparse=True)
        else:
            stream.truncate(64 << 20)
    by_name = f"/busybox mount -t zfs {wanted}/a /tmp"
    command = f"/busybox mount -t zfs -o {wanted} /dev/vblk1 /data; {by_name}; {MOUNT}; {by_name}"
    with started(image, disk, command) as vm:
        assert vm.wait() != osvlab.Exited(0)
        text = vm.console.text
    missed = f"no pool {wanted} on vblk1: it is called {found}"
    first = f"no pool for {wanted}/a: mount a disk that has it first"
    assert re.findall(r"\[zfs\] (.*)", text) == [missed, first, missed], text


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
        assert re.findall(r"(.*) can only be read: (.*)", vm.console.text) == [
            ("[zfs] pool osv", "so can disk vblk1")
        ]
    assert disk.read_bytes() == before


def test_a_dataset_of_a_pool_that_is_only_read_says_so(image: Image, disk: Path) -> None:
    command = "/busybox mount -o ro -t zfs /dev/vblk1 /data; /busybox mount -t zfs osv/data /tmp; "
    text = console(image, disk, command + "/busybox mount")
    assert re.findall(r"(.*) can only be read", text) == ["[zfs] osv/data"], text
    assert "osv/data on /tmp type zfs (ro)" in text


def test_a_dataset_with_snapshots_is_mounted_for_reading_and_that_is_told_once(
    kind: Kind, image: Image, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind is not Kind.ZFS:
        pytest.skip("the other one has no snapshots")
    zfs_fuse: ZfsFuse = request.getfixturevalue("zfs_fuse")
    disk = tmp_path / "disk"
    (zfs_fuse.create("osv", disk) / "file").write_text("before\n")
    zfs_fuse.run("zfs", "snapshot", "osv@then")
    zfs_fuse.export("osv")
    before = disk.read_bytes()
    more = "/busybox cat /data/file; /busybox mount; /busybox cp /busybox /data/file"
    with started(image, disk, f"{MOUNT}; {more}") as vm:
        assert vm.wait() == osvlab.Exited(1), vm.console.text
        text = vm.console.text
    assert re.findall(r"(.*) can only be read: it has snapshots", text) == ["[zfs] dataset osv"]
    assert "before\n" in text
    assert "osv on /data type zfs (ro)" in text
    assert "/data/file': Read-only file system" in text
    assert disk.read_bytes() == before


def test_it_is_the_root_when_its_module_comes_with_the_kernel(
    tree: Path, empty: Path, tmp_path: Path
) -> None:
    """The first root has the module and the programs; from them the pool becomes one with programs."""
    stream = io.BytesIO()
    write_bootfs(read_tree(tree), stream)
    path = partitioned(tmp_path / "disk", stream.getvalue(), empty.read_bytes())

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
