"""The boot sector, run by QEMU's BIOS with a payload that tells what it was given."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "osvlab" / "kernel"
PAYLOAD = Path(__file__).parent / "guest" / "bootsector_payload.S"
CHUNK = 32768
# SeaBIOS reads the sector by cylinder, head and sector: a disk below one cylinder cannot be booted.
SMALLEST_DISK = 16 * 63 * 512


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=60)


@pytest.fixture(scope="module")
def sector(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("bootsector")
    run("gcc", "-m32", "-c", "-o", folder / "sector.o", KERNEL / "boot" / "bootsector.S")
    run("ld", "-m", "elf_i386", "-Ttext=0x7c00", "-e", "0x7c00", "--oformat=binary",
        "-o", folder / "boot.bin", folder / "sector.o")  # fmt: skip
    return (folder / "boot.bin").read_bytes()


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("payload")
    run("gcc", "-m32", "-c", "-o", folder / "payload.o", PAYLOAD)
    run("objcopy", "-O", "binary", folder / "payload.o", folder / "payload.bin")
    code = bytearray((folder / "payload.bin").read_bytes())
    code += random.Random(1).randbytes(300_001 - len(code))
    struct.pack_into("<I", code, 0xFF8, len(code))
    return bytes(code)


def disk_of(sector: bytes, command_line: bytes, kernel: bytes, chunks: int | None = None) -> bytes:
    first = bytearray(sector)
    struct.pack_into("<H", first, 0x10, -(-len(kernel) // CHUNK) if chunks is None else chunks)
    disk = (bytes(first) + command_line).ljust(65536, b"\0") + kernel
    return disk.ljust(max(SMALLEST_DISK, -(-len(disk) // CHUNK) * CHUNK), b"\0")


def boot(disk: bytes, folder: Path, *, machine: str = "pc", bus: str = "virtio", memory: int = 64) -> str:
    image = folder / "disk.img"
    image.write_bytes(disk)
    done = subprocess.run(
        ["qemu-system-x86_64", "-M", machine, "-accel", "tcg,tb-size=64", "-m", str(memory), "-nodefaults",
         "-no-reboot", "-display", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4",
         "-drive", f"file={image},if={bus},format=raw"],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.stdout


def test_layout_is_osv(sector: bytes) -> None:
    assert len(sector) == 512
    assert sector[0] == 0xEA
    assert sector[0x12:0x1A] == bytes([16, 0, 64, 0, 0, 0, 0, 0x80])
    assert struct.unpack_from("<Q", sector, 0x1A) == (128,)
    assert struct.unpack_from("<HHHQ", sector, 0x24) == (63, 0x7E00, 0, 1)
    assert sector[0x1B8:0x1BE] == b"VSO\0\0\0"
    assert sector[0x1BE:0x1FE] == bytes(64)
    assert sector[0x1FE:] == b"\x55\xaa"


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("machine", "bus", "memory"), [("pc", "virtio", 64), ("pc", "ide", 8), ("q35", "virtio", 3072)]
)
def test_boots_the_kernel(
    sector: bytes, payload: bytes, tmp_path: Path, machine: str, bus: str, memory: int
) -> None:
    command_line = "--verbose /hello wörld".encode()
    disk = disk_of(sector, command_line + b"\0garbage", payload)
    lines = boot(disk, tmp_path, machine=machine, bus=bus, memory=memory).splitlines()

    assert lines[0].split() == ["336ec578", "00000001"]
    assert lines[1].encode() == command_line
    assert int(lines[-1], 16) == sum(payload)
    ram = 0
    for line in lines[2:-1]:
        address_low, address_high, size_low, size_high, kind, reserved = (int(x, 16) for x in line.split())
        assert reserved == 0
        if kind == 1:
            ram += size_high << 32 | size_low
        if address_low == 0x100000 and not address_high:
            assert kind == 1
    assert (memory - 1) << 20 < ram <= memory << 20


@pytest.mark.qemu
def test_longest_command_line(sector: bytes, payload: bytes, tmp_path: Path) -> None:
    window = 63 * 512
    disk = bytearray(disk_of(sector, b"x" * window, payload))
    disk[512 + window : 65536] = b"y" * (65536 - 512 - window)
    lines = boot(bytes(disk), tmp_path).splitlines()
    assert lines[1] == "x" * window


@pytest.mark.qemu
def test_says_that_there_is_no_kernel(sector: bytes, tmp_path: Path) -> None:
    assert boot(disk_of(sector, b"", bytes(CHUNK)), tmp_path) == "boot: no kernel\n"
    assert boot(disk_of(sector, b"", b"", chunks=0), tmp_path) == "boot: no kernel\n"


@pytest.mark.qemu
def test_says_that_the_disk_ends_too_early(sector: bytes, payload: bytes, tmp_path: Path) -> None:
    assert boot(disk_of(sector, b"", payload, chunks=100), tmp_path) == "boot: disk error\n"
