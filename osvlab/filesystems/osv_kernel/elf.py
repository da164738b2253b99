"""The parts of a kernel's ELF file that are needed here: its headers, and the bootfs that is linked into it.

Source of the format: System V ABI, "Object Files"; OSv, `bootfs.S` and `arch/x64/loader.ld`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.bootfs import RECORD, BootfsReader, c_bootfs, looks_like_bootfs
from osvlab.filesystems.declarations import declare
from osvlab.filesystems.structure import Pointer, Structure, stored_bytes

__all__ = ["end_of_elf", "find_bootfs", "is_elf", "kernel_elf", "program_headers", "require_whole"]

C_ELF = declare("""
struct elf64_header {
    char    magic[4];           /* 7f 45 4c 46 */
    uint8   class;              /* 2: 64 bits */
    uint8   data;               /* 1: little-endian */
    uint8   ident_version;      /* 1 */
    uint8   padding[9];         /* zeros */
    uint16  type;               /* 2: runs at fixed addresses */
    uint16  machine;            /* 62: x86_64 */
    uint32  version;            /* 1 */
    uint64  entry;              /* address of the first instruction */
    uint64  program_headers;    /* where they are in the file */
    uint64  section_headers;    /* where they are in the file */
    uint32  flags;              /* none on x86_64 */
    uint16  header_size;        /* bytes of this header */
    uint16  program_header_size;    /* bytes of each */
    uint16  program_header_count;   /* how many */
    uint16  section_header_size;    /* bytes of each */
    uint16  section_header_count;   /* how many */
    uint16  section_names;      /* index of the section with the sections' names */
};
struct elf64_program_header {
    uint32  type;               /* 1: load, 2: dynamic, 4: note, 7: thread-local */
    uint32  flags;              /* 1: execute, 2: write, 4: read */
    uint64  offset;             /* where its bytes are in the file */
    uint64  vaddr;              /* virtual address */
    uint64  paddr;              /* physical address */
    uint64  file_size;          /* bytes in the file */
    uint64  memory_size;        /* bytes in memory; what is more is zero */
    uint64  alignment;          /* offset and vaddr agree modulo this */
};
""")
HEADER = 64
PROGRAM_HEADER = 56
PT_LOAD = 1
SEARCHED = 256 << 20

# Size, offset, type and the beginning of the name of a record that can be the first of a bootfs.
_FIRST_RECORD = re.compile(rb"(?s)(?=.{4}\0{4}[\0\x80].{3}\0{4}[\0\1][!-~])")


def is_elf(head: bytes, bits: int = 64) -> bool:
    """Say whether some bytes begin an ELF file for little-endian machines of so many bits."""
    return head[:6] == b"\x7fELF" + bytes((bits // 32, 1))


def _header(source: ByteRange) -> Any:
    raw = source.read_at(0, HEADER)
    if len(raw) < HEADER or not is_elf(raw):
        raise DamagedError("kernel", "ELF header", source.offset, "is cut off, or that of another machine")
    return C_ELF.types.elf64_header(raw)


def program_headers(source: ByteRange) -> list[Any]:
    """Return the program headers of an ELF file.

    Raises
    ------
    DamagedError
        The file ends before them, or they cannot be right.
    """
    header = _header(source)
    count, size = header.program_header_count, header.program_header_size
    table = source.read_at(header.program_headers, count * PROGRAM_HEADER)
    if size != PROGRAM_HEADER or not 0 < count <= 256 or len(table) < count * PROGRAM_HEADER:
        where = source.offset + 32
        raise DamagedError("kernel", "ELF header", where, f"has {count} program headers of {size} bytes")
    kind = C_ELF.types.elf64_program_header
    return [kind(table[n * PROGRAM_HEADER : (n + 1) * PROGRAM_HEADER]) for n in range(count)]


def require_whole(source: ByteRange) -> int:
    """Return how many program headers an ELF file has, once all that they load is there.

    Raises
    ------
    DamagedError
        The file is cut off, or they cannot be right.
    """
    headers = program_headers(source)
    for index, header in enumerate(headers):
        end = int(header.offset + header.file_size)
        if end > source.length:
            where = source.offset + int(_header(source).program_headers) + index * PROGRAM_HEADER
            problem = f"loads bytes up to {end:#x}, and there are {source.length:#x}: the kernel is cut off"
            raise DamagedError("kernel", f"program header {index}", where, problem)
    return len(headers)


def end_of_elf(source: ByteRange) -> int:
    """Return the first byte behind everything that an ELF file's headers speak of.

    Raises
    ------
    DamagedError
        They cannot be right.
    """
    header = _header(source)
    sections = int(header.section_headers + header.section_header_count * header.section_header_size)
    return max(sections, *(int(part.offset + part.file_size) for part in program_headers(source)), HEADER)


def find_bootfs(source: ByteRange) -> BootfsReader | None:
    """Return the bootfs that is linked into a kernel; None when there is none or it is empty.

    A stripped kernel has no symbol for it. It is known by its list: the first record says how many
    there are, one of zeros follows the last, and each one's contents begin where the last one's end.

    Raises
    ------
    DamagedError
        The ELF file's headers cannot be right.
    """
    for header in program_headers(source):
        if header.type != PT_LOAD:
            continue
        data = source.read_at(header.offset, min(header.file_size, SEARCHED))
        for match in _FIRST_RECORD.finditer(data):
            length = _length_of_bootfs(data, match.start())
            if length:
                return BootfsReader(source, header.offset + match.start(), length)
    return None


def _length_of_bootfs(data: bytes, start: int) -> int:
    """Return how long the bootfs is that begins there; 0 if none does."""
    if not looks_like_bootfs(data[start : start + RECORD], len(data) - start):
        return 0
    (end,) = struct.unpack_from("<Q", data, start + 8)
    count = end // RECORD - 1
    if data[start + count * RECORD : start + end] != bytes(RECORD):
        return 0
    for index in range(count):
        record = c_bootfs.bootfs_record(data[start + index * RECORD : start + (index + 1) * RECORD])
        if record.offset != end or record.type not in (0, 1) or not record.name[0]:
            return 0
        end += int(record.size)
    return end if start + end <= len(data) else 0


def kernel_elf(source: ByteRange, within: str = "") -> Structure:
    """Return the header of a kernel's ELF file, which points to its segments and its bootfs."""

    def pointers() -> Iterator[Pointer]:
        table = int(_header(source).program_headers)
        for index in range(len(program_headers(source))):
            where = table + index * PROGRAM_HEADER
            yield Pointer(f"program header {index}", partial(_program_header, source, where, index, within))
        bootfs = find_bootfs(source)
        if bootfs is not None:
            yield Pointer("bootfs", bootfs.explain)

    about = "The kernel itself."
    return Structure.at(
        C_ELF, "elf64_header", source, 0, pointers, name="ELF header", about=about, within=within
    )


def _program_header(source: ByteRange, position: int, index: int, within: str) -> Structure:
    header = C_ELF.types.elf64_program_header(source.read_at(position, PROGRAM_HEADER))
    start, length = int(header.offset), int(header.file_size)
    segment = partial(stored_bytes, "segment", source, start, length, within=within)
    return Structure.at(
        C_ELF,
        "elf64_program_header",
        source,
        position,
        [Pointer("segment", segment)] if header.file_size else [],
        name=f"program header {index}",
        within=within,
    )
