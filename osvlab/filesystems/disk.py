r"""The disk that OSv and the lab kernel boot from: what lies in front of the filesystem.

=================  ==========================================================
byte               what
=================  ==========================================================
0                  boot sector: 16-bit code, partition table, 55 AA
0x200 .. 0x7FFF    command line, ended by a NUL (the boot sector loads 31.5 KiB)
0x10000            kernel (sector 128), contiguous
2 MiB boundary     partition 2: the root filesystem, `/dev/vblk0.1` in the guest
=================  ==========================================================

Source of the format: OSv, `arch/x64/boot16.S`, `scripts/imgedit.py` and
`fs/devfs/device.cc`. Partition entries carry a cylinder/head/sector address that
OSv packs in a way of its own (cylinder << 6 | sector in 16 bits) and needs to be
not zero; `chs` says how.

>>> root = Partition(2, TYPE_LINUX, 1 << 20, 1 << 20)
>>> sector = make_boot_sector(None, 0, [root])
>>> image = (sector + encode_command_line("--rootfs=rofs /hello")).ljust(2 << 20, b"\0")
>>> source = ByteRange(image)
>>> read_partitions(source) == list(partitions_in(source)) == [root]
True
>>> require_on_disk(root, source)
>>> has_command_line([root]), read_command_line(source)
(True, '--rootfs=rofs /hello')
>>> read_boot_sector(source).kernel_chunks
0
>>> longer = with_partition(sector, Partition(2, TYPE_LINUX, 1 << 20, 3 << 20))
>>> require_on_disk(read_partitions(ByteRange(longer.ljust(4 << 20, b"\0")))[0], source)
Traceback (most recent call last):
...
osvlab.filesystems.base.DamagedError: damaged disk: ...
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.declarations import declare

__all__ = [
    "CommandLineError",
    "Partition",
    "decode_command_line",
    "encode_command_line",
    "has_command_line",
    "make_boot_sector",
    "partitions_in",
    "read_boot_sector",
    "read_command_line",
    "read_partitions",
    "require_on_disk",
    "with_partition",
    "write_command_line",
]

SECTOR = 512
COMMAND_LINE = 0x200
COMMAND_LINE_END = 0x8000
KERNEL = 128 * SECTOR
CHUNK = 32 * 1024
ALIGNMENT = 2 * 1024 * 1024
TYPE_LINUX = 0x83
ROOT_SLOT = 2

C_DISK = declare("""
struct partition_entry {
    uint8   bootable;                   /* 0x80: the active one of a PC; OSv does not look */
    uint8   first_head;                 /* head of the first sector */
    uint16  first_cylinder_sector;      /* OSv: cylinder << 6 | sector, sectors count from 1 */
    uint8   type;                       /* 0: unused, 0x83: Linux, which OSv uses for everything */
    uint8   last_head;                  /* head of the last sector */
    uint16  last_cylinder_sector;       /* packed as the first */
    uint32  first_sector;               /* this one counts: sectors of 512 bytes from the start */
    uint32  sectors;                    /* how many */
};

struct boot_sector {
    uint8   jump[16];                   /* the first instruction, which jumps over what follows */
    uint16  kernel_chunks;              /* 32 KiB pieces to load from sector 128 */
    uint8   code[422];                  /* 16-bit code and its data */
    uint8   signature[6];               /* OSv: "VSO" */
    struct partition_entry partitions[4];
    uint16  magic;                      /* 0xaa55, which is 43605: this is a boot sector */
};
""")
c_disk = C_DISK.types
MAGIC = 0xAA55
assert len(c_disk.boot_sector) == SECTOR


class CommandLineError(OsvlabError, ValueError):
    """A command line cannot be stored on a disk."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A used entry of the partition table.

    Attributes
    ----------
    slot
        1 to 4. The guest counts from 0: slot 2 is `/dev/vblk0.1`.
    type
        The MBR type byte.
    offset, size
        Bytes from the start of the disk, and length in bytes.
    """

    slot: int
    type: int
    offset: int
    size: int


def chs(sector: int) -> tuple[int, int]:
    """Return head and packed cylinder/sector of a sector, as OSv's `imgedit.py` computes them.

    The geometry is 255 heads of 63 sectors. What lies beyond cylinder 1023 gets
    the largest address, because the guest only looks whether there is one.

    Examples
    --------
    >>> [hex(part) for part in chs(8192)]  # from a real image
    ['0x82', '0x3']
    """
    cylinder, rest = divmod(sector, 255 * 63)
    head, index = divmod(rest, 63)
    if cylinder > 1023:
        cylinder, head, index = 1023, 254, 62
    return head, cylinder << 6 | (index + 1)


def align(position: int) -> int:
    """Return the 2 MiB boundary at or after a position."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def make_boot_sector(code: bytes | None, kernel_size: int, partitions: list[Partition]) -> bytes:
    """Return a boot sector that loads a kernel of `kernel_size` bytes.

    Parameters
    ----------
    code
        The 512 bytes of a boot sector to complete, or None for a disk that a
        kernel from elsewhere uses: nothing on it is executed.
    kernel_size
        Bytes of kernel at sector 128.
    partitions
        What the partition table shall say; other slots are emptied.

    Raises
    ------
    OsvlabError
        A partition or the kernel is larger than the fields can say.

    Examples
    --------
    >>> sector = make_boot_sector(None, 0, [Partition(2, TYPE_LINUX, 4 << 20, 3379 * 512)])
    >>> sector[0x1CE:0x1DE].hex(" ")
    '00 82 03 00 83 b7 2b 00 00 20 00 00 33 0d 00 00'
    """
    sector = c_disk.boot_sector(code if code is not None else bytes(SECTOR))
    chunks = -(-kernel_size // CHUNK)
    if chunks > 0xFFFF:
        raise OsvlabError(
            f"the kernel is too large to boot from disk: {kernel_size} bytes",
            hint="Strip its symbols.",
        )
    sector.magic = MAGIC
    if code is not None:
        sector.kernel_chunks = chunks
    table = [c_disk.partition_entry() for _ in range(4)]
    for partition in partitions:
        table[partition.slot - 1] = _partition_entry(partition)
    sector.partitions = table
    return bytes(sector.dumps())


def with_partition(sector: bytes, partition: Partition) -> bytes:
    """Return a boot sector with one slot of its partition table changed.

    Raises
    ------
    OsvlabError
        The partition is larger than the fields can say.
    """
    changed = c_disk.boot_sector(sector)
    table = list(changed.partitions)
    table[partition.slot - 1] = _partition_entry(partition)
    changed.partitions = table
    return bytes(changed.dumps())


def _partition_entry(partition: Partition) -> Any:
    first, count = partition.offset // SECTOR, -(-partition.size // SECTOR)
    if first + count > 0xFFFFFFFF:
        raise OsvlabError(
            f"a disk of this kind ends at 2 TiB; slot {partition.slot} would lie beyond",
            hint="Use less.",
        )
    first_head, first_packed = chs(first)
    last_head, last_packed = chs(first + count)  # OSv writes the sector after the last one
    return c_disk.partition_entry(
        first_head=first_head,
        first_cylinder_sector=first_packed,
        type=partition.type,
        last_head=last_head,
        last_cylinder_sector=last_packed,
        first_sector=first,
        sectors=count,
    )


def read_boot_sector(disk: ByteRange) -> Any:
    """Return the boot sector of a disk, as the structure `boot_sector` declared above.

    Raises
    ------
    DamagedError
        There is none: the disk is too short, or the bytes 55 AA are missing.
    """
    head = disk.read_at(0, SECTOR)
    if len(head) < SECTOR:
        raise DamagedError("disk", "boot sector", disk.offset, f"is cut off after {len(head)} bytes")
    sector = c_disk.boot_sector(head)
    if sector.magic != MAGIC:
        raise DamagedError(
            "disk", "boot sector", disk.offset, "does not end with 55 AA: this is no bootable disk"
        )
    return sector


def read_partitions(disk: ByteRange) -> list[Partition]:
    """Return the used entries of the partition table, checked against the size of the disk.

    Raises
    ------
    DamagedError
        There is no boot sector, or a partition does not fit the disk.
    """
    found = list(partitions_in(disk))
    for partition in found:
        require_on_disk(partition, disk)
    return found


def partitions_in(disk: ByteRange) -> Iterator[Partition]:
    """Yield the used entries of the partition table as they are."""
    for index, entry in enumerate(read_boot_sector(disk).partitions):
        if entry.type == 0 or entry.first_cylinder_sector & 0x3F == 0:
            continue  # the guest ignores these too
        yield Partition(index + 1, entry.type, entry.first_sector * SECTOR, entry.sectors * SECTOR)


def require_on_disk(partition: Partition, disk: ByteRange) -> None:
    """Raise `DamagedError` unless a partition fits the disk."""
    end = partition.offset + partition.size
    if end > disk.length:
        raise DamagedError(
            "disk",
            f"partition table slot {partition.slot}",
            disk.offset + slot_offset(partition.slot),
            f"ends at byte {end} and the disk at {disk.length}: the image is truncated",
        )


def slot_offset(slot: int) -> int:
    """Return the byte of the disk at which a slot of the partition table begins."""
    return 0x1BE + 16 * (slot - 1)


def encode_command_line(text: str) -> bytes:
    r"""Return the bytes of a command line as they are stored, with the NUL.

    Raises
    ------
    CommandLineError
        It has a NUL, or does not fit the 31.5 KiB that the boot sector loads.

    Examples
    --------
    >>> encode_command_line("--rootfs=rofs /hello")
    b'--rootfs=rofs /hello\x00'
    """
    # Bytes that are not UTF-8 came in as surrogates, from file names; they go out as they came.
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise CommandLineError(f"a command line cannot have a NUL byte: {text[:60]!r}", hint="Take it out.")
    room = COMMAND_LINE_END - COMMAND_LINE - 1
    if len(data) > room:
        raise CommandLineError(
            f"the command line is {len(data)} bytes long, there is room for {room}",
            hint="Put it into a file of the image, and make the command: runscript /file",
        )
    return data + b"\0"


def decode_command_line(data: bytes) -> str:
    r"""Return the text up to the first NUL.

    Examples
    --------
    >>> decode_command_line(b"--verbose /hello\0\0\0")
    '--verbose /hello'
    """
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def has_command_line(partitions: Iterable[Partition]) -> bool:
    """Whether there is room for one: OSv's disks without a kernel start their partition at sector 1."""
    return all(partition.offset >= COMMAND_LINE_END for partition in partitions)


def read_command_line(disk: ByteRange) -> str:
    """Return the command line on a disk: kernel options, then the application's command.

    Raises
    ------
    DamagedError
        It has no end within the 31.5 KiB that the boot sector loads.
    """
    window = disk.read_at(COMMAND_LINE, COMMAND_LINE_END - COMMAND_LINE)
    if b"\0" not in window:
        raise DamagedError("disk", "command line", disk.offset + COMMAND_LINE, "has no end")
    return decode_command_line(window)


def write_command_line(disk: str | os.PathLike[str] | BinaryIO, text: str) -> None:
    """Replace the command line on a disk in place.

    The whole window is written at once, so that nothing of a longer old command
    stays behind the end of the new one.

    Raises
    ------
    CommandLineError
        It does not fit; the disk is as it was.
    OsvlabError
        The disk cannot be written to, or is none.

    Examples
    --------
    >>> import io
    >>> disk = io.BytesIO(make_boot_sector(None, 0, []) + bytes(0x8000))
    >>> write_command_line(disk, "/hello again")
    >>> read_command_line(ByteRange(disk.getvalue()))
    '/hello again'
    """
    window = encode_command_line(text).ljust(COMMAND_LINE_END - COMMAND_LINE, b"\0")
    if isinstance(disk, str | os.PathLike):
        _write_command_line_of(disk, window)
        return
    disk.seek(COMMAND_LINE)
    disk.write(window)


def _write_command_line_of(path: str | os.PathLike[str], window: bytes) -> None:
    source = ByteRange(path)
    try:
        partitions = read_partitions(source)
        size = source.length
    finally:
        source.close()
    if size < COMMAND_LINE_END:
        raise DamagedError("disk", "command line", COMMAND_LINE, "has no room: the image is truncated")
    if not has_command_line(partitions):
        raise OsvlabError(
            f"{os.fspath(path)} has no room for a command line: its partition starts in the way",
            hint="Give the command when it is run.",
        )
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OsvlabError(
            f"cannot write to {os.fspath(path)}: {error.strerror}", hint="Check its permissions."
        ) from error
    try:
        os.pwrite(fd, window, COMMAND_LINE)
        os.fsync(fd)
    finally:
        os.close(fd)
