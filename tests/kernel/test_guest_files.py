"""Files in the guest: the same programs on Linux and on the lab kernel, ROFS, and the terminal."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import struct
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image
from tests.kernel.programs import check_on_linux, compile_program, console_of

NAMES = ["names", "waiting", "epolls"]
BIG = random.Random(7).randbytes(3_000_001)

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("files")
    for name in NAMES:
        compile_program(f"files/{name}", tree / name)
        compile_program(f"files/{name}", tree / f"{name}-static", "-static")
    shutil.copy("/bin/busybox", tree)
    (tree / "big").write_bytes(BIG)
    compile_program("files/fill", tree / "fill")
    many = tree / "many"
    many.mkdir()
    for number in range(500):
        (many / f"entry{number}").write_text(f"{number}\n")
    (many / "link").symlink_to("/big")
    return build(tree, command="/names /tmp", output=tree.parent / "files.img")


@pytest.mark.parametrize("linkage", ["", "-static"])
@pytest.mark.parametrize("name", NAMES)
def test_program_passes_on_linux_and_on_the_lab_kernel(
    name: str, linkage: str, image: Image, tmp_path: Path
) -> None:
    check_on_linux(f"files/{name}", linkage, tmp_path)
    assert f"{name}: ok" in console_of(image, f"/{name}{linkage} /tmp")


@pytest.mark.parametrize("memory", ["16M", "64M"])
def test_what_is_read_from_rofs_is_what_was_put_there(memory: str, image: Image) -> None:
    text = console_of(image, "/busybox sha256sum /big /many/link /many/entry499", memory)
    big = hashlib.sha256(BIG).hexdigest()
    small = hashlib.sha256(b"499\n").hexdigest()
    assert text.split() == [big, "/big", big, "/many/link", small, "/many/entry499"]


def test_directories_list_completely(image: Image) -> None:
    lines = console_of(image, "/busybox ls /many").split()
    assert sorted(lines) == sorted(["link", *(f"entry{number}" for number in range(500))])


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("/busybox mount", r"/dev/vblk0\.1 on / type rofs \(ro\)(.|\n)*none on /tmp type ramfs \(rw\)"),
        ("/busybox cat /proc/self/status", r"Name:\tbusybox\n(.|\n)*Threads:\t1\n"),
        ("/busybox cat /proc/self/maps", r"r-xp .* /busybox\n"),
        ("/busybox free", r"Mem: +\d+ +\d+ +\d+"),
        ("/busybox df /", r"100% /"),
        ("/busybox readlink /proc/self/exe", r"^/busybox\n$"),
        ("/busybox stat -c %s:%b:%F:%a /big", r"^3000001:5860:regular file:555\n$"),
        ("/busybox dd if=/dev/zero of=/tmp/x bs=1000 count=3000; /busybox wc -c /tmp/x", r"3000000 /tmp/x"),
        (
            "/busybox cp -r /many /tmp/copy; /busybox diff -r /many /tmp/copy; /busybox rm -r /tmp/copy",
            r"^$",
        ),
        ("/busybox head -c 5 /dev/vblk0.1; /busybox od -A n -t x4 -N 4 /dev/vblk0.1", r" deadbead"),
    ],
)
def test_busybox_finds_what_it_looks_for(command: str, pattern: str, image: Image) -> None:
    assert re.search(pattern, console_of(image, command))


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("touch /new", "/new: Read-only file system"),
        ("rm -f /big", "'/big': Read-only file system"),
        ("mkdir /tmp/a/b", "'/tmp/a/b': No such file or directory"),
        ("cat /many", "Is a directory"),
        ("cat /big/x", "'/big/x': Not a directory"),
        ("rmdir /tmp", "'/tmp': Device or resource busy"),
    ],
)
def test_errors_have_linux_names(command: str, error: str, image: Image) -> None:
    with osvlab.run(image, command=f"/busybox {command}", timeout=60) as vm:
        assert vm.wait() != osvlab.Exited(0)
        assert error in vm.console.text


DAMAGE = {
    "magic": (0, 0x1234, r"\[rofs\] superblock: the magic number on vblk0\.1 is 1234"),
    "version": (8, 9, r"\[rofs\] superblock: version 9"),
    "area": (24, 1 << 40, r"\[rofs\] superblock: the structure area is blocks 1099511627776"),
    "entries": (40, 1 << 30, r"\[rofs\] directory entry table truncated"),
    "inodes": (56, 1 << 30, r"\[rofs\] inode table out of bounds"),
}


@pytest.mark.parametrize("field", DAMAGE)
def test_damaged_superblock_is_named(field: str, image: Image, tmp_path: Path) -> None:
    offset, value, message = DAMAGE[field]
    damaged = tmp_path / "damaged.img"
    shutil.copy(image.path, damaged)
    with damaged.open("r+b") as stream:
        stream.seek(0x1BE + 16 + 8)  # where the second partition begins
        start = struct.unpack("<I", stream.read(4))[0] * 512
        stream.seek(start + offset)
        stream.write(struct.pack("<Q", value))
    with osvlab.run(damaged, command="/names /tmp", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(127), vm.console.text
        assert re.search(message, vm.console.text), vm.console.text


def test_ramfs_root_comes_from_the_partition(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree)
    (tree / "d" / "file").write_text("in memory\n")
    ramfs = build(tree, command="/busybox true", fs="ramfs", output=tmp_path / "ramfs.img")
    text = console_of(ramfs, "/busybox cp /d/file /copy; /busybox cat /copy; /busybox mount")
    assert text.startswith("in memory\nnone on / type ramfs (rw)")


def test_files_that_do_not_fit_into_memory_end_the_boot(tmp_path: Path) -> None:
    """It is told how much they need, and that is enough."""
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy("/bin/busybox", tree)
    for name in ("x", "y"):
        (tree / name).write_bytes(bytes(20 << 20))
    ramfs = build(tree, command="/busybox wc -c /x /y", fs="ramfs", output=tmp_path / "ramfs.img")
    with osvlab.run(ramfs, memory="32M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(126), vm.console.text
        assert "Cmdline" not in vm.console.text
        said = re.search(
            r"bootfs: no memory for /?([xy]): .* \(osvlab run --memory=(\d+M)\)", vm.console.text
        )
        assert said, vm.console.text
    assert console_of(ramfs, "/busybox wc -c /x /y", said[2]).endswith(f"{40 << 20} total\n")


def test_a_root_that_is_not_pivoted_to_lies_aside(image: Image) -> None:
    assert console_of(image, "--nopivot /rofs/busybox ls /").split() == ["dev", "rofs"]
    assert "/dev/console" in console_of(image, "--nopivot /rofs/busybox ls /dev/console")


def test_without_mounting_there_is_only_bootfs(image: Image) -> None:
    with osvlab.run(image, command="--nomount /busybox ls /", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(127)
        assert "/busybox: No such file or directory" in vm.console.text


def test_full_ramfs_leaves_the_guest_alive(image: Image) -> None:
    command = "/busybox dd if=/dev/zero of=/tmp/x bs=1M; /busybox rm /tmp/x; /busybox df /tmp"
    text = console_of(image, command, "16M")
    assert "No space left on device" in text
    assert re.search(r" 0% /tmp", text)


def test_a_filesystem_full_of_names_leaves_memory_for_programs(image: Image) -> None:
    text = console_of(image, "/fill /tmp; /busybox rm -r /tmp/full; /busybox df /tmp", "16M")
    assert re.search(r"fill: \d+ names\n(.|\n)* 0% /tmp", text), text


def test_what_could_not_be_reserved_is_not_kept(image: Image) -> None:
    command = "/busybox fallocate -l 1000000000000 /tmp/x; /busybox df /tmp; /busybox stat -c %b:%s /tmp/x"
    with osvlab.run(image, command=command, timeout=60) as vm:
        vm.wait()
        text = vm.console.text
    assert "No space left on device" in text
    assert re.search(r" 0% /tmp\n0:0\n", text), text


def test_terminal_edits_lines(image: Image) -> None:
    with osvlab.run(image, command="/busybox head -n 2", timeout=60) as vm:
        vm.wait_for("Cmdline: ")
        vm.write("helpx\x7f\x7flo\r")
        vm.wait_for("lo\nhello\n")  # else that is printed into the echo of the second line
        vm.write("wrong\x15right\r")
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert vm.console.text.endswith("right\nright\n")


def test_control_d_ends_the_input(image: Image) -> None:
    with osvlab.run(image, command="/busybox wc -c", timeout=60) as vm:
        vm.wait_for("Cmdline: ")
        vm.write("four\r\x04")
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert vm.console.text.endswith("\n5\n")


def test_control_c_ends_the_application(image: Image) -> None:
    with osvlab.run(image, command="/busybox cat", timeout=60) as vm:
        vm.wait_for("Cmdline: ")
        vm.write("ready\r")
        vm.wait_for("ready\nready\n")
        vm.write("\x03")
        assert vm.wait() == osvlab.Exited(130), vm.console.text
