"""OSv's compressed kernel: segments of a mebibyte, each compressed by itself, and the table of their sizes.

It is what OSv's `lz` makes of `loader-stripped.elf` and links into `lzloader.elf`, the small 32-bit program
that unpacks it at boot. Source of the format: OSv, `fastlz/lz.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.declarations import declare
from osvlab.filesystems.osv_kernel.fastlz import LzError, decompress
from osvlab.filesystems.structure import Field, Pointer, Structure

__all__ = ["PackedKernel", "Segment"]

SEGMENT = 1 << 20
LARGEST = 256 << 20
"""Bytes of kernel that are unpacked at most; OSv has 7 million, and 70 million with its symbols."""
SEARCHED = 256 * 1024
"""The code in front of the compressed kernel has 10 KiB."""

C_PACKED = declare("""
struct packed_head {
    int32   table;          /* where the table of sizes is, in bytes from here; the first segment follows */
};
struct packed_size {
    int32   unpacked;       /* bytes of kernel in the segment */
    int32   stored;         /* bytes it takes here; the same number when it is not compressed */
};
""")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a kernel.

    Attributes
    ----------
    start, length
        Which bytes of the kernel.
    position, stored
        Where they lie in what was searched, and how many bytes they take there.
    """

    start: int
    length: int
    position: int
    stored: int


class PackedKernel:
    """A compressed kernel inside a file, found by its table of sizes, which nothing else looks like.

    Parameters
    ----------
    source
        What begins with `lzloader.elf`.

    Raises
    ------
    DamagedError
        There is none, or its table cannot be right.
    """

    def __init__(self, source: ByteRange) -> None:
        self._source = source
        self.position, self._table = self._find()
        self.segments = tuple(self._segments())
        self.size = sum(segment.length for segment in self.segments)

    def _find(self) -> tuple[int, int]:
        known: dict[int, int] = {}  # what is stored before each table: many places may point to the same
        for position, length in self._candidates(self._source.read_at(0, SEARCHED)):
            table = position + length
            if table not in known:
                known[table] = self._stored_before(table)
            if known[table] == length:
                return position, table
        raise DamagedError(
            "kernel",
            "compressed kernel",
            self._source.offset,
            "is not there: no table of segments leads to one",
        )

    def _candidates(self, head: bytes) -> list[tuple[int, int]]:
        """Return all places that may point to a table, and how far; the linker does not align them."""
        found = []
        for start in range(4):
            count = max(0, len(head) - start) // 4
            lengths = struct.unpack(f"<{count}i", head[start : start + 4 * count])
            most = self._source.length - start - 4
            found += [
                (start + 4 * index, length)
                for index, length in enumerate(lengths)
                if 4 < length <= most - 4 * index
            ]
        return sorted(found)

    def _stored_before(self, table: int) -> int:
        """Return how far in front of a table of sizes the head must be; -1 if it is no such table."""
        (count,) = struct.unpack("<i", self._source.read_at(table, 4))
        if not 1 <= count <= LARGEST // SEGMENT:
            return -1
        sizes = self._sizes(table, count)
        if len(sizes) < count or any(unpacked != SEGMENT for unpacked, _ in sizes[:-1]):
            return -1
        return 4 + sum(stored for _, stored in sizes) if all(stored >= 0 for _, stored in sizes) else -1

    def _sizes(self, table: int, count: int) -> list[tuple[int, int]]:
        raw = self._source.read_at(table + 4, 8 * count)
        return list(struct.iter_unpack("<ii", raw[: len(raw) // 8 * 8]))

    def _segments(self) -> Iterator[Segment]:
        (count,) = struct.unpack("<i", self._source.read_at(self._table, 4))
        start, position = 0, self.position + 4
        for index, (unpacked, stored) in enumerate(self._sizes(self._table, count)):
            if not 0 <= unpacked <= SEGMENT or stored > unpacked:
                problem = f"has {stored} bytes for {unpacked} bytes of kernel"
                raise self._damaged(index, self._table + 4 + 8 * index, problem)
            yield Segment(start, unpacked, position, stored)
            start += unpacked
            position += stored

    def unpack(self, index: int) -> bytes:
        """Return one segment of the kernel.

        Raises
        ------
        DamagedError
            Its compressed bytes cannot be right.
        """
        segment = self.segments[index]
        raw = self._source.read_at(segment.position, segment.stored)
        if len(raw) < segment.stored:
            raise self._damaged(index, segment.position, "is cut off")
        if segment.stored == segment.length:
            return raw
        try:
            return decompress(raw, segment.length)
        except LzError as error:
            raise self._damaged(index, segment.position + error.position, str(error)) from None

    def pieces(self) -> Iterator[bytes]:
        """Yield the kernel, one segment after the other."""
        for index in range(len(self.segments)):
            yield self.unpack(index)

    def explain(self) -> Structure:
        """Return the head, which points to the table of sizes, and that to the segments."""
        table = Pointer("table", self._explain_table)
        return Structure.at(
            C_PACKED,
            "packed_head",
            self._source,
            self.position,
            [table],
            name="compressed kernel",
            about="FastLZ, in segments of 1 MiB that are unpacked on their own, the last one first.",
        )

    def _explain_table(self) -> Structure:
        count = len(self.segments)
        fields = [Field("count", 0, 4, count, "segments; the sizes of each follow")]
        for index, segment in enumerate(self.segments):
            at = 4 + 8 * index
            fields.append(Field(f"unpacked[{index}]", at, 4, segment.length, "bytes of kernel"))
            fields.append(Field(f"stored[{index}]", at + 4, 4, segment.stored, "bytes they take"))
        length = 4 + 8 * count
        return Structure(
            "table of sizes",
            self._source.offset + self._table,
            length,
            lambda: self._source.read_at(self._table, length),
            fields,
            [Pointer(f"segment {index}", partial(self._explain_segment, index)) for index in range(count)],
        )

    def _explain_segment(self, index: int) -> Structure:
        segment = self.segments[index]

        def unpacked() -> Structure:
            about = (
                f"bytes {segment.start:#x} to {segment.start + segment.length:#x} of the kernel's ELF file"
            )
            within = f"segment {index}, unpacked"
            return Structure(
                "kernel", 0, segment.length, lambda: self.unpack(index), about=about, within=within
            )

        return Structure(
            f"segment {index}",
            self._source.offset + segment.position,
            segment.stored,
            lambda: self._source.read_at(segment.position, segment.stored),
            pointers=[Pointer("unpacked", unpacked)],
            about="stored as it is" if segment.stored == segment.length else "compressed with FastLZ",
        )

    def _damaged(self, index: int, position: int, problem: str) -> DamagedError:
        return DamagedError("kernel", f"segment {index}", self._source.offset + position, problem)
