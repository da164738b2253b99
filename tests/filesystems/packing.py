"""A small encoder of FastLZ, and files that wrap a kernel as OSv's build does."""

from __future__ import annotations

import struct

from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition

SEGMENT = 1 << 20


def compress(data: bytes, level: int) -> bytes:
    """Compress as FastLZ does, greedily; at most 32 bytes pass as they are between two matches."""
    out = bytearray()
    literals = bytearray()
    seen: dict[bytes, int] = {}
    farthest = 8192 if level == 1 else 8191 + 65536
    at = 0
    while at < len(data):
        found = seen.get(data[at : at + 3], -1)
        seen[data[at : at + 3]] = at
        distance = at - found
        length = 0
        longest = 264 if level == 1 else 70_000
        if found >= 0 and distance <= farthest and out + literals:
            while at + length < len(data) and length < longest and data[found + length] == data[at + length]:
                length += 1
        if length < (5 if distance > 8191 else 3):
            literals.append(data[at])
            at += 1
            continue
        _flush(out, literals)
        _match(out, length - 2, distance - 1, level)
        at += length
    _flush(out, literals)
    out[0] |= (level - 1) << 5
    return bytes(out)


def _flush(out: bytearray, literals: bytearray) -> None:
    for start in range(0, len(literals), 32):
        run = literals[start : start + 32]
        out.append(len(run) - 1)
        out += run
    literals.clear()


def _match(out: bytearray, length: int, distance: int, level: int) -> None:
    far = level == 2 and distance >= 8191
    high = 31 if far else distance >> 8
    out.append(min(length, 7) << 5 | high)
    if length >= 7:
        rest = length - 7
        while level == 2 and rest >= 255:
            out.append(255)
            rest -= 255
        out.append(rest)
    if far:
        out.append(255)
        out += struct.pack(">H", distance - 8191)
    else:
        out.append(distance & 255)


def pack(kernel: bytes) -> bytes:
    """Return what OSv's `lz` makes of a kernel: segments of 1 MiB, and a table of their sizes."""
    segments, sizes = bytearray(), bytearray()
    count = len(kernel) // SEGMENT + 1
    for start in range(0, count * SEGMENT, SEGMENT):
        piece = kernel[start : start + SEGMENT]
        packed = compress(piece, 1 if len(piece) < 65536 else 2) if piece else b""
        if len(packed) >= len(piece):
            packed = piece
        segments += packed
        sizes += struct.pack("<ii", len(piece), len(packed))
    return struct.pack("<i", 4 + len(segments)) + segments + struct.pack("<i", count) + sizes


def elf(payload: bytes) -> bytes:
    """Return a 64-bit ELF file with one segment, where OSv's kernel is linked to."""
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x32B17C, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    size = 120 + len(payload)
    return head + struct.pack("<IIQQQQQQ", 1, 7, 0, 0x40200000, 0x200000, size, size, 4096) + payload


def lzloader(kernel: bytes) -> bytes:
    """Return a 32-bit ELF file that holds a kernel, packed; its code is missing."""
    code = b"\x7fELF\x01\x01\x01".ljust(52, b"\0") + bytes(range(256)) * 40 + b"odd"
    whole = code + pack(kernel)
    return whole + bytes(-len(whole) % 32768)


def loader(kernel: bytes, command_line: str, partitions: list[Partition] | None = None) -> bytes:
    """Return what OSv calls `loader.img`."""
    packed = lzloader(kernel)
    sector = bytearray(disk.make_boot_sector(bytes(512), len(packed), partitions or []))
    sector[0x1B8:0x1BE] = b"VSO\0\0\0"
    image = bytes(sector) + disk.encode_command_line(command_line)
    return image.ljust(disk.KERNEL, b"\0") + packed


def vmlinuz(kernel: bytes) -> bytes:
    """Return a kernel behind the boot header of Linux."""
    head = bytearray(2048)
    head[0x1F1] = 1
    head[0x1FE:0x206] = b"\x55\xaa\0\0HdrS"
    return bytes(head) + kernel
