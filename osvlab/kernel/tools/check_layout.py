"""Refuse a kernel that does not lie flat: file offset x must be at physical 0x200000 + x."""

from __future__ import annotations

import struct
import sys

PHYSICAL_BASE = 0x200000
PT_LOAD = 1


def misplaced_segments(elf: bytes) -> list[str]:
    """Describe every PT_LOAD whose physical address does not follow from its file offset."""
    offset, size, count = (*struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54))
    wrong = []
    for i in range(count):
        kind, _flags, file_offset, _virtual, physical = struct.unpack_from("<IIQQQ", elf, offset + i * size)
        if kind == PT_LOAD and physical != PHYSICAL_BASE + file_offset:
            wrong.append(f"segment {i}: offset {file_offset:#x} at physical {physical:#x}")
    return wrong


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as f:
        problems = misplaced_segments(f.read())
    for problem in problems:
        print(f"{sys.argv[1]}: {problem}", file=sys.stderr)
    sys.exit(bool(problems))
