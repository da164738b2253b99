"""What lies in front of a disk's filesystem, as structures that are shown: boot sector, command line, slots.

>>> from osvlab.filesystems.disk import TYPE_LINUX, make_boot_sector
>>> root = Partition(2, TYPE_LINUX, 1 << 20, 1 << 20)
>>> source = ByteRange(make_boot_sector(None, 0, [root]) + encode_command_line("/hello"))
>>> print(explain_boot_sector(source, lambda: [], "of a disk that does not boot by itself"))
boot sector at byte 0x0, 512 bytes
...
>>> print(explain_partition(source, root, []))
partition 2 at byte 0x1ce, 16 bytes
...
>>> print(explain_command_line(source))
command line at byte 0x200, 7 bytes
  0x0  text  /hello  options of the kernel, then the command; ended by a NUL
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.disk import (
    C_DISK,
    COMMAND_LINE,
    SECTOR,
    Partition,
    encode_command_line,
    read_command_line,
    slot_offset,
)
from osvlab.filesystems.structure import Field, Pointer, Structure, fields_of

__all__ = ["explain_boot_sector", "explain_command_line", "explain_partition"]


def explain_boot_sector(
    source: ByteRange, pointers: Callable[[], Iterable[Pointer]], about: str
) -> Structure:
    """Return a disk's boot sector as a structure; the slots of its partition table are read on their own."""

    def fields() -> Iterator[Field]:
        for found in fields_of(C_DISK, "boot_sector", source.read_at(0, SECTOR)):
            if found.name != "partitions":
                value = bytes(found.value) if isinstance(found.value, list) else found.value
                yield Field(found.name, found.offset, found.length, value, found.meaning)

    return Structure(
        "boot sector",
        source.offset,
        SECTOR,
        lambda: source.read_at(0, SECTOR),
        fields,
        pointers,
        about=about,
    )


def explain_command_line(source: ByteRange) -> Structure:
    """Return the command line of a disk as a structure.

    Raises
    ------
    DamagedError
        As of `read_command_line`.
    """
    text = read_command_line(source)
    length = len(encode_command_line(text))
    fields = [Field("text", 0, length, text, "options of the kernel, then the command; ended by a NUL")]
    return Structure(
        "command line",
        source.offset + COMMAND_LINE,
        length,
        lambda: source.read_at(COMMAND_LINE, length),
        fields,
    )


def explain_partition(source: ByteRange, partition: Partition, pointers: Iterable[Pointer]) -> Structure:
    """Return a slot of the partition table as a structure."""
    name = f"partition {partition.slot}"
    about = f"bytes {partition.offset:#x} to {partition.offset + partition.size:#x} of the disk"
    where = slot_offset(partition.slot)
    return Structure.at(C_DISK, "partition_entry", source, where, pointers, name=name, about=about)
