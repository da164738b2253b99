"""Read a cpio archive: its headers when it is opened, data when it is asked for."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import (
    ByteRange,
    CheckReport,
    DamagedError,
    Entry,
    Extent,
    Kind,
    Source,
    show,
)
from osvlab.filesystems.cpio.format import C_CPIO, HEADER, MAGIC, MAGIC_SUMMED, TRAILER, padded
from osvlab.filesystems.findings import Findings
from osvlab.filesystems.index import IndexedFilesystem, PathError, parts_of
from osvlab.filesystems.structure import Field, Pointer, Structure, stored_bytes
from osvlab.filesystems.tree import MAX_PATH

__all__ = ["CpioReader"]

OTHER_FORMATS = {
    b"070707": 'the "odc" format of POSIX',
    b"\xc7\x71": "the old binary format",
    b"\x71\xc7": "the old binary format, byte-swapped",
}


class Header(NamedTuple):
    """The numbers of a header, in order."""

    ino: int
    mode: int
    uid: int
    gid: int
    nlink: int
    mtime: int
    filesize: int
    devmajor: int
    devminor: int
    rdevmajor: int
    rdevminor: int
    namesize: int
    check: int


def _device(header: Header, path: bytes) -> int:
    try:
        return os.makedev(header.rdevmajor, header.rdevminor)
    except OverflowError:
        number = f"{header.rdevmajor}, {header.rdevminor}"
        raise PathError(f"({show(path)}) is the impossible device {number}") from None


@dataclass(frozen=True, slots=True)
class Record:
    """A record and where it lies in the archive."""

    at: int
    summed: bool
    header: Header
    name: bytes

    @property
    def data(self) -> int:
        """Where its data begins."""
        return self.at + padded(HEADER + self.header.namesize)

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.data + padded(self.header.filesize)


class CpioReader(IndexedFilesystem):
    """Reads a cpio archive of the "new" ASCII format, or several one after the other.

    A name that comes again replaces what it named before, as when an archive is unpacked. Names
    lead from the root, with or without a slash. An entry's `number` is the index of the record that
    holds its data, which is the same for all names of a file.

    Raises
    ------
    DamagedError
        A record cannot be right. It names the record and its offset.
    OsvlabError
        It is a cpio archive of another format.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.cpio import write_cpio
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> stream = io.BytesIO()
    >>> _ = write_cpio(Directory({b"hello": Content(b"hi there")}), stream)
    >>> (CpioReader(stream.getvalue()) / "hello").read_text()
    'hi there'
    """

    format = "cpio"

    def __init__(self, source: Source, offset: int = 0, length: int | None = None) -> None:
        self._source = ByteRange(source, offset, length)
        self._refuse_other_formats()
        self._records: list[Record] = []
        super().__init__()
        self.size = 0
        position = 0
        while position < self._source.length and (position == 0 or self._begins(position)):
            position = self._read_archive(position)
            self.size = position
            position = self._behind_zeros(position)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    # --- opening -------------------------------------------------------------------------------------------

    def _refuse_other_formats(self) -> None:
        head = self._source.read_at(0, 6)
        for magic, name in OTHER_FORMATS.items():
            if head.startswith(magic):
                raise OsvlabError(
                    f"this is a cpio archive in {name}; the lab reads the new ASCII format",
                    hint="Write it again: cpio --extract, then cpio --create --format=newc.",
                )
        if not head:
            raise self._damaged(0, 0, "is cut off: there is nothing")

    def _begins(self, position: int) -> bool:
        return self._source.read_at(position, 6) in (MAGIC, MAGIC_SUMMED)

    def _behind_zeros(self, position: int) -> int:
        """Skip the zeros with which archives are padded."""
        while chunk := self._source.read_at(position, 1 << 16):
            rest = chunk.lstrip(b"\0")
            position += len(chunk) - len(rest)
            if rest:
                break
        return position

    def _read_archive(self, position: int) -> int:
        """Read records up to a trailer, and return where that ends."""
        first = len(self._records)
        while True:
            record = self._read_record(len(self._records), position)
            position = record.end
            if record.name == TRAILER:
                break
            self._records.append(record)
        primary = self._primaries(first)
        for index in range(first, len(self._records)):
            try:
                self._place(index, primary)
            except PathError as error:
                at = self._records[index].at
                raise self._damaged(index, at, error.message) from None
        return min(position, self._source.length)

    def _read_record(self, index: int, at: int) -> Record:
        raw = self._source.read_at(at, HEADER)
        if len(raw) < HEADER:
            raise self._damaged(index, at, "is cut off: the end of the archive is missing")
        if raw[:6] not in (MAGIC, MAGIC_SUMMED):
            raise self._damaged(index, at, f"begins with {raw[:6]!r} instead of 070701")
        try:
            numbers = bytes.fromhex(raw[6:].decode("ascii"))
        except ValueError:
            numbers = b""
        if len(numbers) != 52:
            raise self._damaged(index, at, "has a header that is not hexadecimal digits")
        header = Header(*struct.unpack(">13I", numbers))
        if not 2 <= header.namesize <= MAX_PATH + 1:
            raise self._damaged(index, at, f"has a name of {header.namesize} bytes")
        name = self._source.read_at(at + HEADER, header.namesize)
        if len(name) == header.namesize and name[-1:] != b"\0":
            raise self._damaged(index, at, "has a name without its NUL")
        record = Record(at, raw[:6] == MAGIC_SUMMED, header, name[:-1])
        end = record.data + header.filesize
        if end > self._source.length:
            where = f"({show(name[:-1])}) ends at byte {end} of {self._source.length}"
            raise self._damaged(index, at, f"{where}: the archive is truncated")
        return record

    def _primaries(self, first: int) -> dict[tuple[int, int, int], list[int]]:
        """Return the records of each file that has several names, the one with its data first."""
        found: dict[tuple[int, int, int], list[int]] = {}
        for index in range(first, len(self._records)):
            header = self._records[index].header
            if header.nlink > 1 and stat.S_ISREG(header.mode):
                names = found.setdefault((header.devmajor, header.devminor, header.ino), [])
                if header.filesize and names and not self._records[names[0]].header.filesize:
                    names.insert(0, index)
                else:
                    names.append(index)
        return found

    def _place(self, index: int, names: dict[tuple[int, int, int], list[int]]) -> None:
        record = self._records[index]
        header = record.header
        parts = parts_of(record.name)
        path = b"/" + b"/".join(parts)
        same = names.get((header.devmajor, header.devminor, header.ino))
        if same is not None and stat.S_ISREG(header.mode) and header.nlink > 1:
            entry = replace(self._entry(path, same[0]), links=len(same))
        else:
            entry = self._entry(path, index)
        self._index.place(parts, entry, again=True)

    def _entry(self, path: bytes, index: int) -> Entry:
        header = self._records[index].header
        kind = Kind.of_mode(header.mode)
        if kind is None or header.mode > 0xFFFF:
            raise PathError(f"({show(path)}) has the unknown type {header.mode:#o}")
        if kind is Kind.SYMLINK and not 0 < header.filesize <= MAX_PATH:
            raise PathError(f"({show(path)}) is a symlink of {header.filesize} bytes")
        if kind not in (Kind.FILE, Kind.SYMLINK) and header.filesize:
            raise PathError(f"({show(path)}) is a {kind} of {header.filesize} bytes")
        return Entry(
            path,
            kind,
            header.filesize,
            index,
            permissions=stat.S_IMODE(header.mode),
            owner=header.uid,
            group=header.gid,
            modified=header.mtime * 10**9,
            device=_device(header, path) if kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else 0,
        )

    # --- using ---------------------------------------------------------------------------------------------

    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes from `offset`, all up to its end when no `length` is given."""
        self._expect(file, Kind.FILE)
        left = max(0, file.size - offset)
        wanted = left if length is None else min(length, left)
        record = self._records[file.number]
        data = self._source.read_at(record.data + offset, wanted)
        if len(data) < wanted:  # the host's file was cut while it was open
            raise self._damaged(file.number, record.at, f"({show(file.path)}) is cut off")
        if len(data) == file.size and record.summed:
            self._verify(file.number, sum(data))
        return data

    def target(self, link: Entry) -> bytes:
        """Return where a symbolic link points."""
        self._expect(link, Kind.SYMLINK)
        return self._source.read_at(self._records[link.number].data, link.size)

    def extents(self, file: Entry) -> Iterator[Extent]:
        """Yield where a file's bytes lie: all in one place."""
        self._expect(file, Kind.FILE)
        if file.size:
            start = self._source.offset + self._records[file.number].data
            yield Extent(0, file.size, start, file.size)

    # --- checking and explaining ---------------------------------------------------------------------------

    def check(self) -> CheckReport:
        """Read everything and report whatever cannot be right; damage raises nothing."""
        found = Findings(self.format)
        for index, record in enumerate(self._records):
            found.count("records")
            with found.gathering():
                self._check_record(index, record, found)
        rest = self._behind_zeros(self.size)
        if rest < self._source.length:
            where = self._source.offset + rest
            problem = f"holds {self._source.length - rest} bytes that are no cpio archive"
            found.add(DamagedError(self.format, "what follows the end", where, problem))
        return found.report()

    def _check_record(self, index: int, record: Record, found: Findings) -> None:
        total = 0
        for position in range(0, record.header.filesize, 1 << 20):
            left = record.header.filesize - position
            data = self._source.read_at(record.data + position, min(1 << 20, left))
            found.count("bytes", len(data))
            total += sum(data) if record.summed else 0
            if stat.S_ISLNK(record.header.mode) and b"\0" in data:
                raise self._damaged(index, record.at, f"({show(record.name)}) is a link with a NUL in it")
        if record.summed and stat.S_ISREG(record.header.mode):
            self._verify(index, total)

    def _verify(self, index: int, total: int) -> None:
        record = self._records[index]
        if total & 0xFFFFFFFF != record.header.check:
            problem = (
                f"({show(record.name)}) has data whose sum is {total:#x} instead of {record.header.check:#x}"
            )
            raise self._damaged(index, record.at, problem)

    def explain(self) -> Structure:
        """Return the archive, which points to its records, and they to names and data."""

        def pointers() -> Iterator[Pointer]:
            for index in range(len(self._records)):
                yield Pointer(f"record {index}", partial(self._explain_record, index))

        return Structure(
            "cpio archive",
            self._source.offset,
            self.size,
            lambda: self._source.read_at(0, min(self.size, 1 << 16)),
            pointers=pointers,
            about="Records one after the other: a header in hexadecimal digits, a name, data.",
        )

    def explain_entry(self, entry: Entry) -> Structure:
        """Return the record that holds an entry's data; the archive for a directory that has none."""
        return self._explain_record(entry.number) if entry.number >= 0 else self.explain()

    def _explain_record(self, index: int) -> Structure:
        record = self._records[index]
        length = padded(HEADER + record.header.namesize)
        raw = self._source.read_at(record.at, length)
        meanings = C_CPIO.meanings["cpio_header"]
        fields = [Field("magic", 0, 6, raw[:6], meanings["magic"])]
        for place, (name, value) in enumerate(record.header._asdict().items()):
            shown = f"{value:#o}" if name == "mode" else value
            fields.append(Field(name, 6 + 8 * place, 8, shown, meanings[name]))
        name_length = record.header.namesize
        fields.append(Field("name", HEADER, name_length, show(record.name), "path, ended by a NUL"))
        data = partial(stored_bytes, "data", self._source, record.data, record.header.filesize)
        pointers = [Pointer("data", data)] if record.header.filesize else []
        return Structure(f"record {index}", self._source.offset + record.at, length, raw, fields, pointers)

    def _damaged(self, index: int, at: int, problem: str) -> DamagedError:
        return DamagedError(self.format, f"record {index}", self._source.offset + at, problem)
