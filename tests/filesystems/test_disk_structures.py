"""What is shown of a disk says where its bytes are, also of a disk that lies inside a file."""

from __future__ import annotations

import struct

import pytest

from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.disk_structures import explain_boot_sector, explain_command_line, explain_partition

BEFORE = 4096
ROOT = Partition(2, disk.TYPE_LINUX, 4 << 20, 1 << 20)
COMMAND = "/hello reader"


@pytest.fixture
def source() -> ByteRange:
    code = bytes(range(256)) * 2
    image = disk.make_boot_sector(code, 32 * 1024 + 1, [ROOT]) + disk.encode_command_line(COMMAND)
    return ByteRange(bytes(BEFORE) + image.ljust(64 * 1024, b"\0"), BEFORE)


def test_a_boot_sector_without_its_slots_which_are_structures_of_their_own(source: ByteRange) -> None:
    shown = explain_boot_sector(source, list, "about")
    assert (shown.offset, shown.length) == (BEFORE, 512)
    assert shown["kernel_chunks"] == 2
    named = {field.name: field for field in shown.fields}
    assert "partitions" not in named
    assert shown.raw[named["magic"].offset :] == b"\x55\xaa"
    assert named["code"].value == shown.raw[0x12 : 0x12 + 422]


def test_a_slot_says_what_its_bytes_say(source: ByteRange) -> None:
    shown = explain_partition(source, ROOT, [])
    assert (shown.name, shown.offset) == ("partition 2", BEFORE + 0x1CE)
    assert (
        struct.unpack_from("<II", shown.raw, 8) == (shown["first_sector"], shown["sectors"]) == (8192, 2048)
    )
    assert shown.about == "bytes 0x400000 to 0x500000 of the disk"


def test_a_command_line_and_its_end(source: ByteRange) -> None:
    shown = explain_command_line(source)
    assert (shown.offset, shown.raw) == (BEFORE + 0x200, COMMAND.encode() + b"\0")
    assert shown["text"] == COMMAND


def test_a_command_line_without_an_end_is_not_shown() -> None:
    with pytest.raises(DamagedError, match="command line at byte 0x200 has no end"):
        explain_command_line(ByteRange(b"x" * 0x8000))
