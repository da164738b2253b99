"""bootfs, the archive that OSv unpacks into its first ramfs.

A bootfs is an array of 128-byte records, ended by a record of zeros, and then the
contents packed back to back. A directory is a record of size 0 whose name ends
with a slash; the contents of a symbolic link are its target and a NUL. Names are
at most 110 bytes, whole paths.

Source of the format: OSv, `scripts/mkbootfs.py` and `unpack_bootfs` in
`fs/vfs/main.cc`. OSv's tool cuts longer names without a word; here they are
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

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
from osvlab.filesystems.declarations import declare
from osvlab.filesystems.findings import Findings, overlaps, read_once
from osvlab.filesystems.index import IndexedFilesystem, PathError, parts_of
from osvlab.filesystems.output import Output
from osvlab.filesystems.structure import Pointer, Structure, stored_bytes
from osvlab.filesystems.tree import (
    MAX_PATH,
    Content,
    Directory,
    HostFile,
    Node,
    Symlink,
    TreeError,
    check_name,
    check_target,
)

__all__ = ["BootfsReader", "bootfs_size", "looks_like_bootfs", "write_bootfs"]

C_BOOTFS = declare("""
struct bootfs_record {
    uint64  size;           /* bytes of contents; of a link: its target and a NUL */
    uint64  offset;         /* of the contents, in bytes from the start of the archive */
    int8    type;           /* 0: file or directory, 1: symbolic link */
    char    name[111];      /* NUL-terminated; a directory's ends with '/' */
};
""")
c_bootfs = C_BOOTFS.types

RECORD = 128
MAX_RECORD_NAME = 110
TYPE_FILE = 0
TYPE_SYMLINK = 1


def _stored_size(node: Node) -> int:
    match node:
        case Directory():
            return 0
        case Symlink(target):
            return len(target) + 1
        case HostFile() | Content():
            return node.size


def _records(tree: Directory) -> Iterator[tuple[bytes, Node]]:
    """Yield names as bootfs stores them, without leading slash, parents first."""
    for path, node in tree.walk():
        name = path[1:]
        if not name:
            continue  # the root needs no record
        check_name(name.rpartition(b"/")[2], path)
        if isinstance(node, Symlink):
            check_target(node.target, path)
        if isinstance(node, Directory):
            name += b"/"
        if len(name) > MAX_RECORD_NAME:
            raise TreeError(
                f"path too long for bootfs ({len(name)} bytes, at most {MAX_RECORD_NAME}): {show(path)}",
                hint='Build with fs="rofs", or put the file less deep.',
            )
        yield name, node


def bootfs_size(tree: Directory) -> int:
    """Return the size in bytes of the bootfs that holds a tree.

    Raises
    ------
    TreeError
        A path is longer than 110 bytes, or a name is unusable.

    Examples
    --------
    >>> from osvlab.filesystems.tree import Content
    >>> bootfs_size(Directory({b"hello": Content(b"hi there")}))
    264
    """
    records = list(_records(tree))
    return (len(records) + 1) * RECORD + sum(_stored_size(node) for _, node in records)


def write_bootfs(
    tree: Directory,
    stream: BinaryIO,
    *,
    sparse: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Write a tree as bootfs and return its size in bytes.

    Parameters
    ----------
    tree
        What to write; entries are sorted by name.
    stream
        A binary stream, written from front to back.
    sparse
        The stream is a new file, so what is skipped reads as zeros: holes of large files stay holes. Its
        end may then have to be set.
    progress
        Called with the bytes of content written so far and in all, after each file.

    Raises
    ------
    TreeError
        A path is longer than 110 bytes, or a name is unusable; nothing was written.
    ChangedFileError
        A file changed since the tree was made, or while it was read.
    OSError
        The stream cannot be written: the disk is full.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_bootfs(Directory({b"hello": Content(b"hi")}), stream)
    258
    """
    records = list(_records(tree))
    output = Output(stream, sparse=sparse)
    start = offset = (len(records) + 1) * RECORD
    for name, node in records:
        size = _stored_size(node)
        kind = TYPE_SYMLINK if isinstance(node, Symlink) else TYPE_FILE
        record = c_bootfs.bootfs_record(size=size, offset=offset, type=kind, name=name.ljust(111, b"\0"))
        output.write(record.dumps())
        offset += size
    output.zeros(RECORD)
    for _, node in records:
        match node:
            case HostFile():
                output.copy(node)
            case Content(data):
                output.write(data)
            case Symlink(target):
                output.write(target + b"\0")
            case Directory():
                continue
        if progress is not None:
            progress(output.written - start, offset - start)
    output.flush()
    return offset


def looks_like_bootfs(head: bytes, length: int) -> bool:
    """Say whether the first 128 bytes of something are a bootfs's first record; it has no magic number.

    An empty bootfs is 128 zeros and cannot be told from an empty disk.

    Parameters
    ----------
    head
        Its first bytes.
    length
        How many bytes it has in all.

    Examples
    --------
    >>> looks_like_bootfs(bytes(128), 128)
    False
    """
    if len(head) < RECORD:
        return False
    record = c_bootfs.bootfs_record(head[:RECORD])
    name, nul, rest = bytes(record.name).partition(b"\0")
    plausible = record.type in (TYPE_FILE, TYPE_SYMLINK) and name and nul and not any(rest)
    # Contents begin behind the list, and the first record's contents come first.
    return bool(plausible) and record.offset % RECORD == 0 and 2 * RECORD <= record.offset <= length


class BootfsReader(IndexedFilesystem):
    """Reads a bootfs in a file or in bytes.

    Directories that have no record of their own are there all the same, as
    unpacking makes them. An entry's `number` is the index of its record, or -1.

    Raises
    ------
    DamagedError
        A record cannot be right. It names the record and its offset.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> _ = write_bootfs(Directory({b"etc": Directory({b"motd": Content(b"hi")})}), stream)
    >>> bootfs = BootfsReader(stream.getvalue())
    >>> bootfs.read(bootfs.find("/etc/motd"))
    b'hi'
    """

    format = "bootfs"

    def __init__(self, source: Source, offset: int = 0, length: int | None = None) -> None:
        self._source = ByteRange(source, offset, length)
        self._offsets: list[int] = []
        super().__init__()
        self.size = 0
        index = 0
        while (head := self._source.read_at(index * RECORD, RECORD)) != bytes(RECORD):
            if len(head) < RECORD:
                raise self._damaged(index, "is cut off: the end of the list is missing")
            self._add(index, c_bootfs.bootfs_record(head))
            index += 1
        self.size = max(self.size, (index + 1) * RECORD)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _add(self, index: int, record: Any) -> None:
        name, nul, _ = bytes(record.name).partition(b"\0")
        try:
            parts = parts_of(name) if nul else []
            if not parts:
                raise PathError(f"has the impossible name {name!r}")
            kind, size = self._kind_and_size(record, name, len(parts))
            self._index.place(parts, Entry(b"/" + b"/".join(parts), kind, size, index))
        except PathError as error:
            raise self._damaged(index, error.message) from None
        self._offsets.append(int(record.offset))

    def _kind_and_size(self, record: Any, name: bytes, depth: int) -> tuple[Kind, int]:
        size, end = int(record.size), int(record.offset + record.size)
        if size and end > self._source.length:
            raise PathError(
                f"({show(name)}) ends at byte {end} of {self._source.length}: the archive is truncated"
            )
        self.size = max(self.size, end if size else 0)
        if record.type == TYPE_SYMLINK:
            kind, size = Kind.SYMLINK, size - 1
        elif record.type == TYPE_FILE:
            kind = Kind.DIRECTORY if name.endswith(b"/") else Kind.FILE
        else:
            raise PathError(f"({show(name)}) has the unknown type {record.type}")
        if (kind is Kind.DIRECTORY and size) or size < 0 or (kind is Kind.SYMLINK and size > MAX_PATH):
            raise PathError(f"({show(name)}) is a {kind} of {record.size} bytes")
        return kind, size

    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes from `offset`, all up to its end when no `length` is given."""
        self._expect(file, Kind.FILE)
        left = max(0, file.size - offset)
        wanted = left if length is None else min(length, left)
        data = self._source.read_at(self._offsets[file.number] + offset, wanted)
        if len(data) < wanted:  # the host's file was cut while it was open
            raise self._damaged(file.number, f"({show(file.path)}) is cut off")
        return data

    def target(self, link: Entry) -> bytes:
        """Return where a symbolic link points."""
        self._expect(link, Kind.SYMLINK)
        return self._source.read_at(self._offsets[link.number], link.size)

    def extents(self, file: Entry) -> Iterator[Extent]:
        """Yield where a file's bytes lie: all in one place."""
        self._expect(file, Kind.FILE)
        if file.size:
            start = self._source.offset + self._offsets[file.number]
            yield Extent(0, file.size, start, file.size)

    def data_runs(self, file: Entry) -> Iterator[tuple[int, int]]:
        """Yield where a file has data, and no holes of the host's file."""
        self._expect(file, Kind.FILE)
        start = self._offsets[file.number]
        for first, last in self._source.data_runs(start, start + file.size):
            yield first - start, last - start

    def check(self) -> CheckReport:
        """Read everything and report whatever cannot be right; damage raises nothing."""
        found = Findings(self.format)
        places = [(0, (len(self._offsets) + 1) * RECORD, "the list of records")]
        for entry in self.walk():
            if entry.number < 0:
                continue
            found.count("records")
            start = self._offsets[entry.number]
            stored = entry.size + (entry.kind is Kind.SYMLINK)
            if entry.kind is not Kind.DIRECTORY:
                places.append((start, start + stored, f"record {entry.number} ({show(entry.path)})"))
            with found.gathering():
                if entry.kind is Kind.SYMLINK and self._source.read_at(start, stored)[-1:] != b"\0":
                    raise self._damaged(entry.number, f"({show(entry.path)}) is a link without its NUL")
                if entry.kind is Kind.SYMLINK and b"\0" in self.target(entry):
                    raise self._damaged(entry.number, f"({show(entry.path)}) is a link with a NUL in it")
        for start, one, other in overlaps(places):
            where = self._source.offset + start
            found.add(DamagedError(self.format, one, where, f"begins inside {other}"))
        found.count("bytes", read_once(self._source, [(start, end) for start, end, _ in places]))
        return found.report()

    def explain(self) -> Structure:
        """Return the list of records, which points to each of them, and they to the contents."""

        def pointers() -> Iterator[Pointer]:
            for index in range(len(self._offsets)):
                yield Pointer(f"record {index}", partial(self._record, index))

        length = (len(self._offsets) + 1) * RECORD
        return Structure(
            "bootfs",
            self._source.offset,
            length,
            lambda: self._source.read_at(0, length),
            pointers=pointers,
            about="A list of records of 128 bytes, ended by one of zeros; contents follow back to back.",
        )

    def explain_entry(self, entry: Entry) -> Structure:
        """Return an entry's record; the list itself for a directory that has none."""
        return self._record(entry.number) if entry.number >= 0 else self.explain()

    def _record(self, index: int) -> Structure:
        def contents() -> Iterator[Pointer]:
            if found["size"]:
                what = "target" if found["type"] == TYPE_SYMLINK else "contents"
                start, length = self._offsets[index], found["size"]
                yield Pointer(what, lambda: stored_bytes(what, self._source, start, length))

        found = Structure.at(
            C_BOOTFS, "bootfs_record", self._source, index * RECORD, contents, name=f"record {index}"
        )
        return found

    def _damaged(self, index: int, problem: str) -> DamagedError:
        return DamagedError(self.format, f"record {index}", self._source.offset + index * RECORD, problem)
