"""Any image by its magic numbers, from the outside in."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import osvlab.filesystems
from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, DamagedError, Kind
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.cpio import write_cpio
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.recognise import Content as Known
from osvlab.filesystems.recognise import UnknownContentError, content_of
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory
from tests.filesystems.packing import elf, loader, lzloader, vmlinuz

MIB = 1 << 20


def written(write: object, name: bytes = b"hello") -> bytes:
    stream = io.BytesIO()
    write(Directory({name: Content(b"hi from " + name)}), stream)  # type: ignore[operator]
    return stream.getvalue()


ROFS, BOOTFS, CPIO = written(write_rofs), written(write_bootfs), written(write_cpio)


def disk_of(parts: dict[int, bytes], command_line: str = "") -> bytes:
    """Return a disk with partitions by slot, two mebibytes each."""
    places = {slot: (2 + 2 * index) * MIB for index, slot in enumerate(parts)}
    table = [Partition(slot, 0x83, places[slot], -(-len(data) // 512) * 512) for slot, data in parts.items()]
    image = bytearray((2 + 2 * len(parts)) * MIB)
    image[:512] = disk.make_boot_sector(None, 0, table)
    image[512 : 513 + len(command_line)] = disk.encode_command_line(command_line)
    for slot, data in parts.items():
        image[places[slot] : places[slot] + len(data)] = data
    return bytes(image)


def names(image: bytes | Path, **chosen: int) -> tuple[str, list[bytes]]:
    with osvlab.filesystems.open(image, **chosen) as fs:  # type: ignore[arg-type]
        return fs.format, [entry.name for entry in fs.list(fs.root)]


@pytest.mark.parametrize(
    ("image", "format"),
    [
        (ROFS, "ROFS"),
        (BOOTFS, "bootfs"),
        (CPIO, "cpio"),
        (disk_of({2: ROFS}), "ROFS"),
        (disk_of({2: BOOTFS}), "bootfs"),
        (disk_of({2: CPIO}), "cpio"),
        (disk_of({1: ROFS}), "ROFS"),
        (disk_of({4: BOOTFS}), "bootfs"),
        (elf(b"code" * 100 + BOOTFS), "bootfs"),
        (lzloader(elf(b"code" * 100 + BOOTFS)), "bootfs"),
        (vmlinuz(elf(b"code" * 100 + BOOTFS)), "bootfs"),
        (loader(elf(b"code" * 100 + BOOTFS), "/x"), "bootfs"),
    ],
)
def test_any_image_is_opened_by_what_is_in_it(image: bytes, format: str, tmp_path: Path) -> None:
    assert names(image) == (format, [b"hello"])
    (tmp_path / "x").write_bytes(image)
    assert names(tmp_path / "x") == (format, [b"hello"])
    assert all(report.ok for report in osvlab.filesystems.check(tmp_path / "x"))
    top = osvlab.filesystems.explain(tmp_path / "x")
    assert b"hi from hello" in [found.raw for _, found in top.walk(depth=8)]


def test_the_root_of_a_disk_is_the_second_partition() -> None:
    parts = {1: written(write_bootfs, b"early"), 2: ROFS, 3: written(write_rofs, b"third")}
    image = disk_of(parts)
    assert names(image) == ("ROFS", [b"hello"])
    assert names(image, partition=1) == ("bootfs", [b"early"])
    assert names(image, partition=3) == ("ROFS", [b"third"])
    with pytest.raises(OsvlabError, match=r"no partition in slot 4; used are: 1, 2, 3"):
        names(image, partition=4)


def test_a_disk_whose_root_is_not_clear_asks() -> None:
    image = disk_of({1: BOOTFS, 3: ROFS})
    with pytest.raises(OsvlabError, match=r"slots 1, 3, and none in slot 2") as caught:
        names(image)
    assert "--partition 1" in str(caught.value.hint)
    assert names(image, partition=3) == ("ROFS", [b"hello"])


def test_a_disk_of_osv_whose_files_are_in_the_kernel() -> None:
    """For `--rootfs=ramfs` OSv's build makes a partition of no bytes."""
    image = loader(elf(b"code" * 99 + BOOTFS), "--rootfs=ramfs /x", [Partition(2, 0x83, 2 * MIB, 0)])
    assert names(image.ljust(2 * MIB, b"\0")) == ("bootfs", [b"hello"])


def test_an_empty_bootfs_is_one_where_the_command_line_says_so() -> None:
    empty = io.BytesIO()
    write_bootfs(Directory(), empty)
    assert names(disk_of({2: empty.getvalue()}, "--rootfs=ramfs /x")) == ("bootfs", [])
    with pytest.raises(UnknownContentError, match=r"partition 2 of .*begins with zeros"):
        names(disk_of({2: empty.getvalue()}, "/x"))


def test_a_root_whose_magic_is_damaged_is_damaged_not_unknown() -> None:
    with pytest.raises(DamagedError, match=r"superblock .*has magic"):
        names(disk_of({2: b"\xff" + ROFS[1:]}, "--rootfs=rofs /x"))
    with pytest.raises(DamagedError, match=r"record 0"):
        names(disk_of({2: b"\xff" * 128 + BOOTFS[128:]}, "--rootfs=ramfs /x"))


@pytest.mark.parametrize(
    ("image", "message", "hint"),
    [
        (b"", "is empty", "Build it again"),
        (bytes(4096), "begins with zeros", "right file"),
        (b"hello, world\n", r"no ROFS \(magic deadbead\), bootfs record, cpio header", "right file"),
        (gzip.compress(CPIO, mtime=0), "compressed with gzip", "gunzip"),
        (b"PK\3\4" + bytes(100), "a zip archive", "unzip"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive", "tar -xf"),
        (bytes(0x438) + b"\x53\xef" + bytes(100), "ext4", "debugfs"),
        (bytes(510) + b"\x55\xaa" + bytes(512), "nothing that the lab reads", "right file"),
        (bytes(512) + b"EFI PART" + bytes(600), "a disk with a GPT", "MBR"),
        (elf(b"code"), "no files are linked into", "osvlab explain"),
        (disk_of({2: b"nothing"}), "partition 2 of the image is nothing that the lab reads", "right file"),
        (disk_of({2: disk_of({2: ROFS})[:512]}), "partition 2 of the image is nothing", "right file"),
    ],
)
def test_what_is_unknown_says_what_it_is_or_what_was_looked_for(
    image: bytes, message: str, hint: str
) -> None:
    with pytest.raises(OsvlabError, match=message) as caught:
        osvlab.filesystems.open(image)
    assert hint in str(caught.value.hint)


def test_a_partition_of_what_has_none_and_a_dataset_of_what_is_no_pool() -> None:
    with pytest.raises(OsvlabError, match=r"no disk with partitions but ROFS"):
        osvlab.filesystems.open(ROFS, partition=2)
    with pytest.raises(OsvlabError, match=r"no ZFS pool but ROFS, which has no datasets"):
        osvlab.filesystems.open(ROFS, dataset="osv/zfs")
    with pytest.raises(UnknownContentError):
        osvlab.filesystems.open([b"one", b"two"])


@pytest.mark.parametrize("label", [0, 1, 2, 3])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_vdev_is_known_by_one_uberblock_in_one_label(label: int, order: str) -> None:
    size = 8 * MIB + 1000
    start = [0, 256 * 1024, size // 262144 * 262144 - 512 * 1024, size // 262144 * 262144 - 256 * 1024][
        label
    ]
    image = bytearray(size)
    at = start + 128 * 1024 + 7 * 1024
    image[at : at + 8] = (0x00BAB10C).to_bytes(8, order)  # type: ignore[arg-type]
    assert content_of(ByteRange(bytes(image))) is Known.ZFS
    assert content_of(ByteRange(bytes(size))) is None


def test_a_disk_whose_last_partition_is_a_vdev_is_a_disk() -> None:
    """The labels at the end of the partition are at the end of the disk, too."""
    image = bytearray(disk_of({2: bytes(2 * MIB)}))
    at = len(image) - 256 * 1024 + 128 * 1024
    image[at : at + 8] = (0x00BAB10C).to_bytes(8, "little")
    assert content_of(ByteRange(bytes(image))) is Known.DISK


def test_sfdisk_sees_the_same_partitions(tmp_path: Path) -> None:
    image = disk_of({1: BOOTFS, 2: ROFS, 4: CPIO})
    (tmp_path / "disk").write_bytes(image)
    sfdisk = shutil.which("sfdisk", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "sfdisk"
    said = subprocess.run(
        [sfdisk, "--dump", tmp_path / "disk"], capture_output=True, text=True, check=True
    ).stdout
    seen = {}
    for line in said.splitlines():
        if line.startswith(f"{tmp_path}/disk"):
            name, _, rest = line.partition(" : ")
            fields = dict(part.strip().split("=") for part in rest.split(",") if "=" in part)
            seen[int(name[-1])] = (int(fields["start"]) * 512, int(fields["size"]) * 512)
    found = disk.read_partitions(ByteRange(image))
    assert seen == {partition.slot: (partition.offset, partition.size) for partition in found}


def test_a_disk_is_explained_from_its_boot_sector_to_a_byte() -> None:
    image = loader(elf(b"code" * 99 + BOOTFS), "--rootfs=rofs /hello", [Partition(2, 0x83, 2 * MIB, 4096)])
    image = image.ljust(2 * MIB, b"\0") + ROFS.ljust(4096, b"\0")
    top = osvlab.filesystems.explain(image)
    assert (top["magic"], top["kernel_chunks"]) == (0xAA55, 1)
    assert [pointer.name for pointer in top.pointers] == ["command line", "kernel", "partition 2"]
    assert (top / "command line")["text"] == "--rootfs=rofs /hello"
    assert (top / "partition 2")["first_sector"] * 512 == 2 * MIB
    found = top / "partition 2" / "filesystem" / "root directory" / "hello" / "inode" / "contents"
    assert image[found.offset : found.offset + found.length] == b"hi from hello"
    inside = top / "kernel" / "unpacked" / "bootfs" / "record 0" / "contents"
    assert inside.raw == b"hi from hello"


def test_a_check_of_a_disk_reports_every_layer() -> None:
    image = bytearray(disk_of({1: BOOTFS, 2: ROFS}, "--rootfs=rofs /x"))
    assert [str(report) for report in osvlab.filesystems.check(bytes(image))] == [
        "disk: 2 partitions: no problem",
        "bootfs: 1 records, 269 bytes: no problem",
        "ROFS: 2 inodes, 1 entries, 512 bytes: no problem",
    ]
    image[2 * MIB + 16] = 7  # bootfs: a type that there is not
    image[4 * MIB] ^= 1  # ROFS: magic
    image[512:0x8000] = b"x" * (0x8000 - 512)
    first, second, third = osvlab.filesystems.check(bytes(image))
    assert "command line at byte 0x200 has no end" in str(first)
    assert not second.ok
    assert not third.ok


def test_partitions_that_overlap_or_lie_beyond_the_disk_are_told() -> None:
    table = [Partition(1, 0x83, 2 * MIB, 2 * MIB), Partition(2, 0x83, 3 * MIB, 8 * MIB)]
    image = bytearray(6 * MIB)
    image[:512] = disk.make_boot_sector(None, 0, table)
    report = osvlab.filesystems.check(bytes(image))[0]
    assert "slot 2 at byte 0x1ce ends at byte" in str(report)
    image += bytes(6 * MIB)
    report = osvlab.filesystems.check(bytes(image))[0]
    assert "partition 2 at byte 0x300000 begins inside partition 1" in str(report)


WHOLE = loader(elf(b"code" * 99 + BOOTFS), "--rootfs=rofs /hello", [Partition(2, 0x83, 2 * MIB, 4096)])
WHOLE = WHOLE.ljust(2 * MIB, b"\0") + ROFS.ljust(4096, b"\0")
PLACES = st.one_of(
    st.integers(0x1BE, 0x1FF),
    st.integers(0, 0x210),
    st.integers(disk.KERNEL, disk.KERNEL + 100),
    st.integers(2 * MIB, len(WHOLE) - 1),
)


@given(st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=5), st.data())
@settings(deadline=5000, max_examples=60)
def test_random_damage_to_a_disk_is_told_or_harmless(
    changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    image = bytearray(WHOLE)
    for place, value in changes:
        image[place] = value
    cut = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    damaged = bytes(image[:cut])
    with contextlib.suppress(OsvlabError):
        for report in osvlab.filesystems.check(damaged):
            assert str(report)
    with contextlib.suppress(OsvlabError):
        for _, found in osvlab.filesystems.explain(damaged).walk(depth=5):
            assert str(found)
    with contextlib.suppress(OsvlabError), osvlab.filesystems.open(damaged) as fs:
        for entry in fs.walk():
            if entry.kind is Kind.FILE:
                assert len(fs.read(entry)) == entry.size
