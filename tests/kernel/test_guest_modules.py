"""Modules of the core: filesystems that come as ELF files and are loaded before anything is mounted."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import osvlab
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.host import read_tree
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.kernels import Kernel
from osvlab.vm.machine import Disk, DiskAccess, Machine, MachineKind
from osvlab.vm.vm import VM
from tests.kernel.core_modules import compile_module, partitioned
from tests.kernel.programs import GUEST, console_of

SEAM = GUEST / "seam" / "seam.c"

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def seam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_module([SEAM], tmp_path_factory.mktemp("module") / "seam.so")


def make_image(folder: Path, *modules: Path) -> Image:
    tree = folder / "tree"
    (tree / "usr" / "lib" / "fs").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree)
    for module in modules:
        shutil.copy(module, tree / "usr" / "lib" / "fs")
    return build(tree, command="/busybox true", output=folder / "image")


@pytest.fixture(scope="module")
def image(seam: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return make_image(tmp_path_factory.mktemp("image"), seam)


MOUNT = "/busybox mkdir /tmp/m; /busybox mount -t seam"


def test_a_module_brings_a_filesystem(image: Image) -> None:
    text = console_of(image, f"{MOUNT} here /tmp/m; /busybox cat /tmp/m/hello; /busybox ls /tmp/m")
    assert text == "hello from here\nhello\n"


def test_what_can_be_mounted_is_listed(image: Image) -> None:
    lines = console_of(image, "/busybox cat /proc/filesystems").splitlines()
    assert lines == [
        "nodev\tramfs",
        "nodev\tdevfs",
        "nodev\tprocfs",
        "nodev\tsysfs",
        "\trofs",
        "nodev\tseam",
    ]


def test_it_can_be_mounted_and_unmounted_often(image: Image) -> None:
    again = "/busybox mount -t seam one /tmp/m; /busybox umount /tmp/m; "
    last = "/busybox mount -t seam two /tmp/m; /busybox cat /tmp/m/hello"
    text = console_of(image, f"/busybox mkdir /tmp/m; {again * 20}{last}")
    assert text == "hello from two\n"


def test_fstab_and_the_command_line_mount_it(seam: Path, tmp_path: Path) -> None:
    (tmp_path / "tree" / "etc").mkdir(parents=True)
    (tmp_path / "tree" / "etc" / "fstab").write_text("none /tmp ramfs\nfirst /tmp/a seam\n")
    image = make_image(tmp_path, seam)
    text = console_of(image, "--mount-fs=seam,second,/tmp/b /busybox cat /tmp/a/hello /tmp/b/hello")
    assert text == "hello from first\nhello from second\n"


def test_large_memory_goes_to_a_disk_and_back(image: Image, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    line = image.kernel.command_line(f"{MOUNT} vblk1 /tmp/m; /busybox cat /tmp/m/hello", rootfs="rofs")
    machine = Machine(
        disks=(Disk(image.path), Disk(disk, DiskAccess.WRITE)), kernel=image.kernel.path, command_line=line
    )
    with VM(machine, timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert "hello from vblk1" in vm.console.text
    data = disk.read_bytes()
    assert data[512 + 8 : 512 + 16] == (0x9E3779B97F4A7C15).to_bytes(8, "little")


def test_a_crash_in_a_module_names_its_function(image: Image) -> None:
    with osvlab.run(image, command=f"{MOUNT} crash /tmp/m", timeout=60) as vm:
        ended = vm.wait()
        assert isinstance(ended, osvlab.Crashed), vm.console.text
        assert "touch_nothing" in vm.console.text
        assert "/usr/lib/fs/seam.so" in vm.console.text
        for caller in ("seam_mount", "sys_mount"):
            assert caller in vm.console.text, vm.console.text


@pytest.mark.parametrize(
    ("define", "message"),
    [
        ("-DLAYOUT=1", "module seam was made for another kernel than this one"),
        ("-DNEEDS", "/usr/lib/fs/seam.so: missing symbol nobody_has_this"),
    ],
)
def test_a_module_that_does_not_fit_is_refused(define: str, message: str, tmp_path: Path) -> None:
    module = compile_module([SEAM], tmp_path / "seam.so", define)
    image = make_image(tmp_path, module)
    with osvlab.run(image, command="/busybox cat /proc/filesystems", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert message in vm.console.text
        assert "seam\n" not in vm.console.text


def test_other_libraries_are_left_alone(seam: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.so").write_bytes(seam.read_bytes()[:3000])
    library = tmp_path / "libsolaris.so"
    source = "int unknown(void); int zfs_init(void) { return unknown(); }"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-nostdlib", "-xc", "-", "-o", library],
        input=source,
        text=True,
        check=True,
    )
    image = make_image(tmp_path, library, tmp_path / "cut.so", seam)
    with osvlab.run(image, command="/busybox cat /proc/filesystems", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert "libsolaris" not in vm.console.text
        assert "executable too short /usr/lib/fs/cut.so" in vm.console.text
        assert "seam\n" in vm.console.text


# --- Archives that come along with the kernel or in the first partition


def bootfs(folder: Path, *modules: Path) -> bytes:
    tree = folder / "first"
    (tree / "usr" / "lib" / "fs").mkdir(parents=True)
    for module in modules:
        shutil.copy(module, tree / "usr" / "lib" / "fs")
    shutil.copy("/bin/busybox", tree)
    stream = io.BytesIO()
    write_bootfs(read_tree(tree), stream)
    return stream.getvalue()


def booted(machine: Machine, status: int = 0) -> str:
    with VM(machine, timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(status), vm.console.text
        return vm.console.text


READ = "/busybox mkdir /m; /busybox mount -t seam it /m; /busybox cat /m/hello"
FREE = "/busybox mkdir /proc; /busybox mount -t procfs none /proc; /busybox free -m"


@pytest.mark.parametrize("kind", MachineKind)
def test_an_archive_beside_the_kernel_is_the_first_root(
    kind: MachineKind, seam: Path, tmp_path: Path
) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bootfs(tmp_path, seam) + bytes(8 << 20))
    line = f"--nomount {READ}; {FREE}"
    machine = Machine(kind=kind, kernel=Kernel.lab().path, initrd=initrd, command_line=line)
    text = booted(machine)
    assert "hello from it\n" in text
    # What the archive took is free again: the kernel counts all but its first megabytes.
    assert int(re.findall(r"Mem: +(\d+)", text)[0]) >= 59, text


def test_an_archive_beside_the_kernel_that_is_too_large_ends_the_boot(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "large").write_bytes(bytes(13 << 20))
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bootfs(tmp_path))
    line = "--nomount /busybox wc -c /large"
    small = Machine(kernel=Kernel.lab().path, initrd=initrd, command_line=line, memory=32 << 20)
    needed = re.search(r"bootfs: no memory for /?large: .*--memory=(\d+)M\)", booted(small, 126))
    assert needed
    assert f"{13 << 20} /large" in booted(replace(small, memory=int(needed[1]) << 20))


def test_an_archive_in_the_first_partition_is_unpacked(seam: Path, tmp_path: Path) -> None:
    path = partitioned(tmp_path / "disk", bootfs(tmp_path, seam), bytes(512))
    machine = Machine(kernel=Kernel.lab().path, disks=(Disk(path),), command_line=READ)
    assert "hello from it\n" in booted(machine)


def test_an_archive_that_is_damaged_is_told_and_the_boot_goes_on(seam: Path, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bootfs(tmp_path, seam)[:-1000])
    machine = Machine(kernel=Kernel.lab().path, initrd=initrd, command_line="--nomount /nothing")
    text = booted(machine, 127)
    assert re.search(r"bootfs: record \d \(.*\): the data lies outside of the archive", text), text


def test_a_root_without_its_module_is_told(tmp_path: Path) -> None:
    path = partitioned(tmp_path / "disk", bootfs(tmp_path), bytes(512))
    line = "--rootfs=zfs /busybox ls /"
    text = booted(Machine(kernel=Kernel.lab().path, disks=(Disk(path),), command_line=line))
    assert "Could not mount zfs root filesystem: No such device" in text


def test_a_module_that_is_to_be_there_and_is_not_ends_the_boot(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bootfs(tmp_path))
    line = "--nomount --preload-zfs-library /busybox ls"
    text = booted(Machine(kernel=Kernel.lab().path, initrd=initrd, command_line=line), 126)
    assert "Failed to preload ZFS library. Powering off." in text
