from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.disk import Partition


def test_the_fields_of_a_boot_sector() -> None:
    code = bytes(range(256)) * 2
    sector = disk.make_boot_sector(code, 32 * 1024 + 1, [Partition(2, 0x83, 4 << 20, 1 << 20)])
    assert len(sector) == 512
    assert sector[:16] == code[:16]
    assert struct.unpack_from("<H", sector, 0x10) == (2,)
    assert sector[0x12:0x1BE] == code[0x12:0x1BE]
    assert sector[0x1BE:0x1CE] == sector[0x1DE:0x1EE] == sector[0x1EE:0x1FE] == bytes(16)
    assert struct.unpack_from("<II", sector, 0x1CE + 8) == (8192, 2048)
    assert sector[0x1FE:] == b"\x55\xaa"


@given(st.integers(1, 4), st.integers(1, 1 << 30), st.integers(1, 1 << 30))
def test_partitions_come_back(slot: int, first: int, count: int) -> None:
    wanted = Partition(slot, 0x83, first * 512, count * 512)
    sector = disk.make_boot_sector(None, 0, [wanted])
    table = ByteRange(sector)
    table.length = 1 << 50  # as if the disk were there
    assert disk.read_partitions(table) == [wanted]


def test_far_partitions_have_an_address_that_the_guest_accepts() -> None:
    """OSv ignores a slot whose start has no sector bits."""
    for sector in (0, 1, 63, 8192, 1024 * 255 * 63, 1 << 32):
        head, packed = disk.chs(sector)
        assert 1 <= packed & 0x3F <= 63
        assert head <= 254
        assert packed <= 0xFFFF


def test_slots_that_the_guest_ignores_are_no_partitions() -> None:
    sector = bytearray(disk.make_boot_sector(None, 0, [Partition(2, 0x83, 1 << 20, 512)]))
    sector[0x1CE + 2] &= 0xC0
    assert disk.read_partitions(ByteRange(bytes(sector) + bytes(2 << 20))) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "boot sector at byte 0x0 is cut off after 0 bytes"),
        (bytes(511), "cut off after 511 bytes"),
        (bytes(512), "does not end with 55 AA"),
        (
            disk.make_boot_sector(None, 0, [Partition(2, 0x83, 2 << 20, 512)]),
            "slot 2 at byte 0x1ce .*truncated",
        ),
    ],
)
def test_what_is_no_disk_is_named(image: bytes, message: str) -> None:
    with pytest.raises(DamagedError, match=message):
        disk.read_partitions(ByteRange(image))


def test_what_the_fields_cannot_say() -> None:
    with pytest.raises(OsvlabError, match=r"kernel is too large"):
        disk.make_boot_sector(bytes(512), 3 << 30, [])
    with pytest.raises(OsvlabError, match=r"2 TiB; slot 2"):
        disk.make_boot_sector(None, 0, [Partition(2, 0x83, 1 << 41, 512)])


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300))
def test_command_lines_come_back(text: str) -> None:
    assert disk.decode_command_line(disk.encode_command_line(text) + b"rest") == text


def test_command_lines_may_hold_names_that_are_not_utf8() -> None:
    text = b"/caf\xe9".decode("utf-8", "surrogateescape")
    assert disk.encode_command_line(text) == b"/caf\xe9\0"
    assert disk.decode_command_line(b"/caf\xe9\0") == text


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(disk.make_boot_sector(None, 0, []) + b"\xee" * (0x10000 - 512) + b"kernel")
    disk.write_command_line(path, "/first " + "x" * 2000)
    return path


def test_a_command_line_is_replaced_in_place(image: Path) -> None:
    disk.write_command_line(image, "/second")
    data = image.read_bytes()
    assert disk.read_command_line(ByteRange(image)) == "/second"
    assert data[0x200:0x8000] == b"/second".ljust(0x7E00, b"\0")
    assert data[0x8000:0x10000] == b"\xee" * 0x8000
    assert data[0x10000:] == b"kernel"


def test_the_largest_command_line_fits_and_one_more_does_not(image: Path) -> None:
    largest = "x" * (0x7E00 - 1)
    disk.write_command_line(image, largest)
    assert disk.read_command_line(ByteRange(image)) == largest
    before = image.read_bytes()
    with pytest.raises(ValueError, match=r"32256 bytes long, there is room for 32255"):
        disk.write_command_line(image, largest + "y")
    with pytest.raises(ValueError, match=r"NUL"):
        disk.write_command_line(image, "a\0b")
    assert image.read_bytes() == before


def test_a_command_line_without_an_end(image: Path) -> None:
    data = bytearray(image.read_bytes())
    data[0x200:0x8000] = b"x" * 0x7E00
    with pytest.raises(DamagedError, match=r"command line at byte 0x200 has no end"):
        disk.read_command_line(ByteRange(bytes(data)))


def test_only_disks_are_written_to(tmp_path: Path, image: Path) -> None:
    (tmp_path / "text").write_text("precious\n" * 10_000)
    with pytest.raises(DamagedError, match=r"no bootable disk"):
        disk.write_command_line(tmp_path / "text", "/x")
    assert (tmp_path / "text").read_text() == "precious\n" * 10_000
    image.write_bytes(image.read_bytes()[:0x7FFF])
    with pytest.raises(DamagedError, match=r"no room"):
        disk.write_command_line(image, "/x")
    with pytest.raises(FileNotFoundError):
        disk.write_command_line(tmp_path / "absent", "/x")
