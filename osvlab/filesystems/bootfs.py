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
from typing import Any, BinaryIO

from dissect.cstruct import cstruct

from osvlab.filesystems.base import (
    ByteRange,
    DamagedError,
    Entry,
    Filesystem,
    Kind,
    Source,
    show,
)
from osvlab.filesystems.output import Output
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

__all__ = ["BootfsReader", "bootfs_size", "write_bootfs"]

c_bootfs = cstruct(endian="<").load("""
struct bootfs_record {
    uint64  size;
    uint64  offset;         /* from the start of the archive */
    int8    type;           /* 0: file or directory, 1: symbolic link */
    char    name[111];      /* NUL-terminated; a directory's ends with '/' */
};
""")

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
    """
    records = list(_records(tree))
    return (len(records) + 1) * RECORD + sum(_stored_size(node) for _, node in records)


def write_bootfs(
    tree: Directory, stream: BinaryIO, *, progress: Callable[[int, int], object] | None = None
) -> int:
    """Write a tree as bootfs and return its size in bytes.

    Parameters
    ----------
    tree
        What to write; entries are sorted by name.
    stream
        A binary stream, written from front to back.
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
    output = Output(stream)
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


class BootfsReader(Filesystem):
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
        self._offsets: dict[int, int] = {}
        self._children: dict[bytes, dict[bytes, Entry]] = {b"/": {}}
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
        parts = [part for part in name.split(b"/") if part]
        if not nul or not parts or b".." in parts or b"." in parts:
            raise self._damaged(index, f"has the impossible name {name!r}")
        size = int(record.size)
        if size and record.offset + size > self._source.length:
            raise self._damaged(
                index,
                f"({show(name)}) ends at byte {record.offset + size} of {self._source.length}: "
                "the archive is truncated",
            )
        self.size = max(self.size, record.offset + size if size else 0)
        if record.type == TYPE_SYMLINK:
            kind, size = Kind.SYMLINK, size - 1
        elif record.type == TYPE_FILE:
            kind = Kind.DIRECTORY if name.endswith(b"/") else Kind.FILE
        else:
            raise self._damaged(index, f"({show(name)}) has the unknown type {record.type}")
        if (kind is Kind.DIRECTORY and size) or size < 0 or (kind is Kind.SYMLINK and size > MAX_PATH):
            raise self._damaged(index, f"({show(name)}) is a {kind} of {record.size} bytes")
        parent = b"/"
        for part in parts[:-1]:
            parent = self._place(
                Entry(parent, Kind.DIRECTORY, 0, -1).child_path(part), Kind.DIRECTORY, 0, -1, index
            )
        self._place(parent.rstrip(b"/") + b"/" + parts[-1], kind, size, index, index)
        self._offsets[index] = int(record.offset)

    def _place(self, path: bytes, kind: Kind, size: int, number: int, index: int) -> bytes:
        parent, _, name = path.rpartition(b"/")
        siblings = self._children[parent or b"/"]
        found = siblings.get(name)
        if found is not None and (found.kind is not Kind.DIRECTORY or kind is not Kind.DIRECTORY):
            raise self._damaged(index, f"repeats the path {show(path)}")
        if found is None or number >= 0:
            siblings[name] = Entry(path, kind, size, number)
        if kind is Kind.DIRECTORY:
            self._children.setdefault(path, {})
        return path

    @property
    def root(self) -> Entry:
        """The root directory, which has no record."""
        return Entry(b"/", Kind.DIRECTORY, len(self._children[b"/"]), -1)

    def list(self, directory: Entry) -> list[Entry]:
        """Return the entries of a directory in the order in which they are stored."""
        self._expect(directory, Kind.DIRECTORY)
        return [
            Entry(e.path, e.kind, len(self._children[e.path]), e.number) if e.kind is Kind.DIRECTORY else e
            for e in self._children[directory.path].values()
        ]

    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes from `offset`, all up to its end when no `length` is given."""
        self._expect(file, Kind.FILE)
        left = max(0, file.size - offset)
        return self._source.read_at(
            self._offsets[file.number] + offset, left if length is None else min(length, left)
        )

    def target(self, link: Entry) -> bytes:
        """Return where a symbolic link points."""
        self._expect(link, Kind.SYMLINK)
        return self._source.read_at(self._offsets[link.number], link.size)

    def _damaged(self, index: int, problem: str) -> DamagedError:
        return DamagedError(self.format, f"record {index}", self._source.offset + index * RECORD, problem)
