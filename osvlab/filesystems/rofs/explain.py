"""The structures of a ROFS, from the superblock down to a file's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from osvlab.filesystems.base import Kind, show
from osvlab.filesystems.rofs.format import BLOCK, C_ROFS, ENTRY_HEAD, INODE, LINK_HEAD, ROOT, Mode
from osvlab.filesystems.structure import Field, Pointer, Structure, stored_bytes

if TYPE_CHECKING:
    from osvlab.filesystems.rofs.reader import RofsReader

__all__ = ["inode", "superblock"]


def superblock(reader: RofsReader) -> Structure:
    """Return block 0."""
    pointers = [
        Pointer("root directory", partial(inode, reader, ROOT)),
        Pointer("directory entries", partial(_entries, reader)),
        Pointer("symlinks", partial(_links, reader)),
        Pointer("inodes", partial(_inodes, reader)),
    ]
    return Structure.at(
        C_ROFS,
        "rofs_superblock",
        reader._source,
        0,
        pointers,
        name="superblock",
        about="It says where the three tables are: directory entries, targets of links, inodes.",
    )


def _table(
    reader: RofsReader, name: str, start: int, end: int, pointers: Iterator[Pointer], about: str
) -> Structure:
    data = reader._structure[start:end]
    offset = reader._source.offset + reader._structure_start + start
    return Structure(name, offset, len(data), data, pointers=lambda: pointers, about=about)


def _entries(reader: RofsReader) -> Structure:
    count = len(reader._entries)
    pointers = (Pointer(f"entry {index}", partial(_entry, reader, index)) for index in range(count))
    about = "Entries of all directories; those of one directory stand together."
    return _table(reader, "directory entries", 0, reader._links_start, pointers, about)


def _links(reader: RofsReader) -> Structure:
    count = len(reader._links)
    pointers = (Pointer(f"symlink {index}", partial(_link, reader, index)) for index in range(count))
    about = "Targets of symbolic links."
    return _table(reader, "symlinks", reader._links_start, reader._inodes, pointers, about)


def _inodes(reader: RofsReader) -> Structure:
    count = reader.superblock.inodes_count
    pointers = (
        Pointer(f"inode {number}", partial(inode, reader, number)) for number in range(ROOT, count + 1)
    )
    end = reader._inodes + count * INODE.size
    about = "Inodes by their number, from 1; the root directory is the first."
    return _table(reader, "inodes", reader._inodes, end, pointers, about)


def inode(reader: RofsReader, number: int) -> Structure:
    """Return an inode, which points to what it consists of: contents, entries or target."""

    def pointers() -> Iterator[Pointer]:
        entry = reader._entry(b"/", number)  # raises for what cannot be right
        _, _, first, count = reader._inode(number)
        match entry.kind:
            case Kind.DIRECTORY:
                for index in range(first, first + count):
                    name = reader._record(reader._entries[index], ENTRY_HEAD.size)
                    yield Pointer(show(name), partial(_entry, reader, index))
            case Kind.SYMLINK:
                yield Pointer("target", partial(_link, reader, first))
            case _ if count:
                where = first * BLOCK
                yield Pointer("contents", partial(stored_bytes, "contents", reader._source, where, count))

    return Structure.at(
        C_ROFS,
        "rofs_inode",
        reader._source,
        reader._structure_start + reader._inodes + (number - ROOT) * INODE.size,
        pointers,
        name=f"inode {number}",
        shown={"mode": _mode},
    )


def _mode(value: int) -> str:
    known = {int(mode): mode.name.lower() for mode in Mode}
    return f"{value:#x} ({known.get(value & 0xF000, 'unknown')})"


def _entry(reader: RofsReader, index: int) -> Structure:
    def pointers() -> Iterator[Pointer]:
        number, _ = reader._directory_entry(index)
        yield Pointer("inode", partial(inode, reader, number))

    start = reader._entries[index]
    number, length = ENTRY_HEAD.unpack_from(reader._structure, start)
    name = reader._record(start, ENTRY_HEAD.size)
    meanings = C_ROFS.meanings["rofs_directory_entry"]
    fields = [
        Field("inode_no", 0, 8, number, meanings["inode_no"]),
        Field("name_length", 8, 2, length, meanings["name_length"]),
        Field("name", ENTRY_HEAD.size, length, show(name), "not ended by a NUL"),
    ]
    return _record(reader, f"directory entry {index}", start, ENTRY_HEAD.size + length, fields, pointers())


def _link(reader: RofsReader, index: int) -> Structure:
    start = reader._links[index]
    target = reader._record(start, LINK_HEAD.size)
    fields = [
        Field("length", 0, 2, len(target), C_ROFS.meanings["rofs_symlink"]["length"]),
        Field("target", LINK_HEAD.size, len(target), show(target), "where the link leads"),
    ]
    return _record(reader, f"symlink {index}", start, LINK_HEAD.size + len(target), fields, iter(()))


def _record(
    reader: RofsReader, name: str, start: int, length: int, fields: list[Field], pointers: Iterator[Pointer]
) -> Structure:
    offset = reader._source.offset + reader._structure_start + start
    data = reader._structure[start : start + length]
    return Structure(name, offset, length, data, fields, lambda: pointers)
