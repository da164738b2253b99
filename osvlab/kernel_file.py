"""Kernel files: told apart by what is in them, and refused for what they are instead."""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from osvlab.errors import OsvlabError

__all__ = [
    "KERNEL_AT",
    "Boot",
    "KernelError",
    "KernelKind",
    "KernelNotFoundError",
    "dynamic_symbols",
    "loaded_end",
    "osv_zfs_root",
    "recognise",
]


class KernelError(OsvlabError, ValueError):
    """A file that is no kernel this lab can boot, or a kernel that was asked for what it cannot do."""


class KernelNotFoundError(KernelError, FileNotFoundError):
    """There is no such kernel file."""


class KernelKind(StrEnum):
    """Whose kernel it is."""

    LAB = "lab"
    OSV = "osv"


class Boot(StrEnum):
    """How a kernel file is started.

    ``pvh``: an ELF file that QEMU loads itself (``-kernel``), entered through its Xen
    PVH note. ``disk``: the beginning of a disk, boot sector first, for a BIOS.
    """

    PVH = "pvh"
    DISK = "disk"


_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_NOTE, _PVH_ENTRY = 1, 4, 18
KERNEL_AT = 128 * 512
_OSV_LINKED_AT = 0x40200000

GIVE = "Give the lab kernel, or OSv's loader-stripped.elf or loader.img."
AGAIN = "Build it again, or copy it again from where it came."


def recognise(path: Path, file: BinaryIO) -> tuple[KernelKind, Boot, str | None]:
    """Say whose kernel a file is, how it is started, and its version where the file tells.

    Raises KernelError when it is none.
    """
    head = file.read(512)
    if head[:4] == b"\x7fELF":
        return _recognise_elf(path, file, head)
    if head[510:512] == b"\x55\xaa":
        file.seek(KERNEL_AT)
        inner = file.read(20)
        # OSv's lzloader is a 32-bit ELF file, and the boot sector carries OSv's signature.
        if inner[:5] == b"\x7fELF\x01" and head[0x1B8:0x1BB] == b"VSO":
            return KernelKind.OSV, Boot.DISK, None
        raise KernelError(
            f"{path} is a bootable disk, but does not begin with an OSv kernel",
            hint="Give OSv's loader.img, or its loader-stripped.elf.",
        )
    raise KernelError(
        f"{path} is no kernel: neither an ELF file nor a bootable disk",
        hint=GIVE,
    )


def _recognise_elf(path: Path, file: BinaryIO, head: bytes) -> tuple[KernelKind, Boot, str | None]:
    if len(head) < _ELF_HEADER.size or head[4] != 2 or head[5] != 1:
        raise KernelError(f"{path} is no kernel for x86_64: not a 64-bit little-endian ELF file", GIVE)
    fields = _ELF_HEADER.unpack_from(head)
    machine, table, entry_size, count = fields[2], fields[5], fields[9], fields[10]
    if machine != 62:
        raise KernelError(f"{path} is a kernel for another architecture (ELF machine {machine})", GIVE)
    if entry_size != _PROGRAM_HEADER.size or not 0 < count <= 256:
        raise KernelError(f"{path} is no kernel: its ELF program headers are damaged", AGAIN)
    size = os.fstat(file.fileno()).st_size
    if table > size:
        raise KernelError(f"{path} is truncated: its ELF program headers lie behind its end", AGAIN)
    file.seek(table)
    raw = file.read(count * entry_size)
    if len(raw) < count * entry_size:
        raise KernelError(f"{path} is truncated: it ends inside its ELF program headers", AGAIN)
    headers = [_PROGRAM_HEADER.unpack_from(raw, n * entry_size) for n in range(count)]
    if any(
        kind in (_PT_LOAD, _PT_NOTE) and at + length > size for kind, _, at, _, _, length, _, _ in headers
    ):
        raise KernelError(f"{path} is truncated: a segment lies behind its end", AGAIN)
    notes = {}
    for kind, _, offset, _, _, length, _, _ in headers:
        if kind == _PT_NOTE and length <= 1 << 16:
            file.seek(offset)
            notes.update({(owner, number): text for owner, number, text in _notes(file.read(length))})
    if (b"Xen", _PVH_ENTRY) not in notes:
        raise KernelError(
            f"{path} is no kernel that QEMU can start: it has no PVH entry note",
            hint="An application is run as osvlab.run(directory, command), not as a kernel.",
        )
    lab = [text for (owner, _), text in notes.items() if owner == b"osvlab"]
    if lab:
        return KernelKind.LAB, Boot.PVH, lab[0].rstrip(b"\0").decode("utf-8", "replace")
    if any(kind == _PT_LOAD and vaddr == _OSV_LINKED_AT for kind, _, _, vaddr, *_ in headers):
        return KernelKind.OSV, Boot.PVH, _osv_version(path)
    raise KernelError(f"{path} has a PVH entry, but is neither the lab kernel nor OSv", GIVE)


def _notes(raw: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Walk ELF notes: name size, text size, type, name, text, each padded to 4 bytes."""
    at = 0
    while at + 12 <= len(raw):
        name_size, text_size, number = struct.unpack_from("<III", raw, at)
        name_at = at + 12
        text_at = name_at + (name_size + 3 & ~3)
        at = text_at + (text_size + 3 & ~3)
        if at > len(raw) + 3:
            return  # damaged: what came before stands
        yield raw[name_at : name_at + name_size].rstrip(b"\0"), number, raw[text_at : text_at + text_size]


def _osv_version(path: Path) -> str | None:
    """Find the `git describe` text that OSv's build bakes in and its first console line shows."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        found = re.search(rb"\0(v\d+\.\d+\.\d+(?:-\d+-g[0-9a-f]{7,40})?(?:-dirty)?)\0", whole)
        return found[1].decode() if found else None


def osv_zfs_root(path: Path) -> str | None:
    """Say which dataset an OSv kernel mounts as its root; None when that cannot be told.

    Up to 0.57 that was ``osv/zfs``, and the kernel contains that name; since the commit 0e34e4dc it is
    ``osv``. OSv's builder contains the name anyway: its mkfs makes both.
    """
    from osvlab.filesystems.base import DamagedError
    from osvlab.filesystems.osv_kernel import KernelFile

    try:
        elf = KernelFile(path).elf
    except DamagedError:
        return None
    content = elf.read_at(0, elf.length)
    if b"tools/mkfs.so\0" in content:
        return None
    return "osv/zfs" if b"\0osv/zfs\0" in content else "osv"


def loaded_end(path: Path) -> int:
    """Return the physical address behind the last byte that a loader copies from an ELF kernel."""
    with path.open("rb") as file:
        fields = _ELF_HEADER.unpack(file.read(_ELF_HEADER.size))
        file.seek(fields[5])
        raw = file.read(fields[10] * _PROGRAM_HEADER.size)
    headers = _PROGRAM_HEADER.iter_unpack(raw)
    return max((at + length for kind, _, _, _, at, length, _, _ in headers if kind == _PT_LOAD), default=0)


_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SHT_DYNSYM = 11


def dynamic_symbols(path: Path) -> frozenset[str] | None:
    """Read the names that `.dynsym` defines; None without a usable section table.

    By hand, because OSv exports fifteen thousand and each boot's preflight asks.
    """
    whole = path.read_bytes()
    fields = _ELF_HEADER.unpack_from(whole)
    table, entry_size, count = fields[6], fields[11], fields[12]
    if entry_size != _SECTION_HEADER.size or table + count * entry_size > len(whole):
        return None
    sections = [_SECTION_HEADER.unpack_from(whole, table + n * entry_size) for n in range(count)]
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind == _SHT_DYNSYM and link < count:
            names = whole[sections[link][4] :][: sections[link][5]]
            entries = memoryview(whole)[offset : offset + size]
            entries = entries[: len(entries) - len(entries) % _SYMBOL.size]
            return frozenset(
                names[name : names.find(b"\0", name)].decode("utf-8", "replace")
                for name, info, _, section, _, _ in _SYMBOL.iter_unpack(entries)
                if section and info >> 4 and name < len(names)  # defined, and not local
            )
    return None
