"""Disks in the files of hypervisors, made and judged by qemu-img."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

import osvlab.filesystems
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.containers import ContainerError, container_of, convert, measure, unpacked
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory

FORMATS = {
    "qcow2": [],
    "qcow2 of version 2": ["-o", "compat=0.10"],
    "qcow2, compressed": ["-c"],
    "vmdk": [],
    "vmdk, for streams": ["-o", "subformat=streamOptimized"],
    "vdi": [],
    "vdi, fixed": ["-o", "static=on"],
}


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A disk of 64 MB, most of it holes, with a ROFS in its second partition."""
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.seek(4 << 20)
        size = write_rofs(Directory({b"data": Content(os.urandom(300_000)), b"hello": Content(b"hi")}), file)
        file.truncate(64 << 20)
        file.seek(0)
        file.write(disk.make_boot_sector(None, 0, [Partition(2, 0x83, 4 << 20, size)]) + b"/hello\0")
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_what_qemu_img_packed_is_unpacked(raw: Path, format: str, tmp_path: Path) -> None:
    name = format.split()[0].rstrip(",")
    packed = tmp_path / "packed"
    qemu_img("convert", "-f", "raw", "-O", name, *FORMATS[format], raw, packed)
    assert container_of(ByteRange(packed)) == name
    inside = unpacked(ByteRange(packed))
    assert inside.length == 64 << 20
    whole = raw.read_bytes()
    assert inside.read_at(0, 64 << 20) == whole
    found = inside.stat()
    assert found is not None
    assert found.st_blocks * 512 < 8 << 20  # holes stay holes
    assert found.st_nlink == 0  # nothing is left behind
    with osvlab.filesystems.open(packed) as fs:
        assert (fs / "hello").read_bytes() == b"hi"
    with osvlab.filesystems.open(packed.read_bytes()) as fs:
        assert (fs / "hello").read_bytes() == b"hi"


def test_measuring_counts_what_is_there(raw: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "packed")
    assert 300_000 < measure(ByteRange(tmp_path / "packed")) < 8 << 20


def test_what_is_in_no_container_stays_what_it_is(raw: Path) -> None:
    source = ByteRange(raw)
    assert unpacked(source) is source
    with pytest.raises(ContainerError, match=r"no qcow2, vmdk or vdi"):
        measure(source)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host that no image may make us read."""
    path = tmp_path / "secret"
    path.write_bytes(b"secret".ljust(1 << 20, b"!"))
    return path


def refused(path: Path, reason: str) -> None:
    before = sorted(path.parent.iterdir())
    with pytest.raises(ContainerError, match=reason) as caught:
        osvlab.filesystems.open(path)
    assert str(path) in caught.value.message
    assert sorted(path.parent.iterdir()) == before


def test_backing_files_are_refused(tmp_path: Path, secret: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", tmp_path / "a.qcow2")
    refused(tmp_path / "a.qcow2", "leads to a backing file, '.*secret'")


def test_data_files_are_refused(tmp_path: Path, secret: Path) -> None:
    options = f"data_file={secret},data_file_raw=on"
    qemu_img("create", "-f", "qcow2", "-o", options, tmp_path / "a.qcow2", "1M")
    refused(tmp_path / "a.qcow2", "leads to a data file")


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    # Not LUKS: QEMU chooses its iterations by measuring the processor, and on busy hosts it gives up.
    options = ["-o", "encrypt.format=aes,encrypt.key-secret=s", "--object", "secret,id=s,data=abc"]
    qemu_img("create", *options, "-f", "qcow2", tmp_path / "a.qcow2", "1M")
    refused(tmp_path / "a.qcow2", "encrypted")


def test_parents_of_vmdk_are_refused(tmp_path: Path) -> None:
    qemu_img("create", "-f", "vmdk", tmp_path / "parent.vmdk", "1M")
    qemu_img("create", "-f", "vmdk", "-b", tmp_path / "parent.vmdk", "-F", "vmdk", tmp_path / "a.vmdk")
    refused(tmp_path / "a.vmdk", "leads to a parent")


@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_vmdk_files_that_only_describe_others_are_refused(tmp_path: Path, kind: str) -> None:
    qemu_img("create", "-f", "vmdk", "-o", f"subformat={kind}", tmp_path / "a.vmdk", "1M")
    refused(tmp_path / "a.vmdk", "leads to other files")


def test_a_vmdk_whose_header_hides_that_is_refused(tmp_path: Path, secret: Path) -> None:
    """With a capacity of 0 QEMU takes the descriptor inside for the whole truth."""
    qemu_img("create", "-f", "vmdk", tmp_path / "a.vmdk", "1M")
    image = bytearray((tmp_path / "a.vmdk").read_bytes())
    image[12:20] = bytes(8)
    text = f'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 2048 FLAT "{secret}" 0\n'
    image[512:1536] = text.encode().ljust(1024, b"\0")
    (tmp_path / "a.vmdk").write_bytes(image)
    refused(tmp_path / "a.vmdk", "leads to what a descriptor")


def test_differences_of_vdi_are_refused(tmp_path: Path) -> None:
    qemu_img("create", "-f", "vdi", tmp_path / "a.vdi", "1M")
    image = bytearray((tmp_path / "a.vdi").read_bytes())
    image[0x1A8:0x1B8] = b"uuid of a parent"
    (tmp_path / "a.vdi").write_bytes(image)
    refused(tmp_path / "a.vdi", "leads to another disk")


def test_old_and_odd_versions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"QFI\xfb\0\0\0\1" + bytes(600))
    refused(tmp_path / "a", "QCOW version 1")
    (tmp_path / "b").write_bytes(b"COWD" + bytes(600))
    refused(tmp_path / "b", "vmdk file is of a kind")


def test_damage_is_told_with_qemu_imgs_own_words(raw: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "a.qcow2")
    image = bytearray((tmp_path / "a.qcow2").read_bytes())
    struct.pack_into(">I", image, 20, 99)
    (tmp_path / "a.qcow2").write_bytes(image)
    refused(tmp_path / "a.qcow2", "qemu-img cannot measure this qcow2 file: .*luster size")


def test_a_disk_that_no_file_here_can_hold_is_refused(raw: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "a.qcow2")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 << 20, limits[1]))
    try:
        refused(tmp_path / "a.qcow2", "disk has 64 MiB, more than a file can have here")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_with_more_data_than_there_is_room_for_is_refused(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "a.qcow2")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    refused(tmp_path / "a.qcow2", "no room in .* needed, 97.7 KiB free")


def test_without_qemu_img_the_hint_says_what_to_install(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "a.qcow2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContainerError, match=r"no qemu-img") as caught:
        osvlab.filesystems.open(tmp_path / "a.qcow2")
    assert "qemu-utils" in str(caught.value.hint)


def test_a_container_inside_a_disk_is_refused(raw: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "a.qcow2")
    (tmp_path / "shifted").write_bytes(bytes(512) + (tmp_path / "a.qcow2").read_bytes())
    with pytest.raises(ContainerError, match=r"cannot be inside another disk"):
        unpacked(ByteRange(tmp_path / "shifted", 512))


def test_converting_into_a_file_of_ones_own(raw: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "a.qcow2")
    with (tmp_path / "out").open("wb") as file:
        convert(ByteRange(tmp_path / "a.qcow2"), file.fileno())
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()
