"""Read ROFS and trust nothing in it: every index is checked where it is used."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from osvlab.filesystems.base import (
    ByteRange,
    CheckReport,
    DamagedError,
    Entry,
    Extent,
    Filesystem,
    Kind,
    Source,
    show,
)
from osvlab.filesystems.rofs.format import (
    BLOCK,
    C_ROFS,
    ENTRY_HEAD,
    INODE,
    LINK_HEAD,
    MAGIC,
    ROOT,
    VERSION,
    Mode,
)
from osvlab.filesystems.tree import MAX_NAME, MAX_PATH

if TYPE_CHECKING:
    from osvlab.filesystems.structure import Structure

__all__ = ["RofsReader"]

_KINDS: dict[int, Kind] = {Mode.DIRECTORY: Kind.DIRECTORY, Mode.FILE: Kind.FILE, Mode.SYMLINK: Kind.SYMLINK}


class RofsReader(Filesystem):
    """Reads a ROFS in a file or in bytes.

    Opening checks the superblock and finds the records of the three tables. What
    the records say is checked when it is used, so that one damaged file does not
    hide the others; `validate` checks everything at once.

    Parameters
    ----------
    source
        Bytes, the path of an image or partition, or an open range of one.
    offset, length
        Where in it the filesystem lies, in bytes.

    Raises
    ------
    DamagedError
        The superblock or the tables cannot be right. It names structure and offset.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.rofs import write_rofs
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> stream = io.BytesIO()
    >>> _ = write_rofs(Directory({b"hello": Content(b"hi there")}), stream)
    >>> rofs = RofsReader(stream.getvalue())
    >>> [entry.path for entry in rofs.walk()]
    [b'/', b'/hello']
    >>> rofs.read(rofs.find("hello"))
    b'hi there'
    """

    format = "ROFS"

    def __init__(self, source: Source, offset: int = 0, length: int | None = None) -> None:
        self._source = ByteRange(source, offset, length)
        self.superblock = self._read_superblock()
        self._structure_start = self.superblock.structure_info_first_block * BLOCK
        self._structure = self._read_structure()
        self._entries, end = self._index(
            "directory entry", self.superblock.directory_entries_count, 0, ENTRY_HEAD.size, MAX_NAME
        )
        self._links_start = end
        self._links, end = self._index(
            "symlink", self.superblock.symlinks_count, end, LINK_HEAD.size, MAX_PATH
        )
        self._inodes = end
        if end + self.superblock.inodes_count * INODE.size > len(self._structure):
            raise self._damaged("inode table", end, "ends outside the structure area")
        self._root = self._entry(b"/", ROOT)
        if self._root.kind is not Kind.DIRECTORY:
            raise self._damaged("inode 1 (the root)", self._inodes, "is no directory")

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    @property
    def size(self) -> int:
        """Bytes from the superblock to the end of the structure area."""
        sb = self.superblock
        return int(sb.structure_info_first_block + sb.structure_info_blocks_count) * BLOCK

    # --- opening -------------------------------------------------------------------------------------------

    def _read_superblock(self) -> Any:
        head = self._source.read_at(0, len(C_ROFS.types.rofs_superblock))
        if len(head) < len(C_ROFS.types.rofs_superblock):
            raise self._damaged_at("superblock", 0, f"is cut off after {len(head)} bytes")
        sb = C_ROFS.types.rofs_superblock(head)
        expected = {"magic": MAGIC, "version": VERSION, "block_size": BLOCK}
        for name, value in expected.items():
            found = getattr(sb, name)
            if found != value:
                raise self._damaged_at("superblock", 0, f"has {name} {found:#x} instead of {value:#x}")
        first, count = sb.structure_info_first_block, sb.structure_info_blocks_count
        if first == 0 or count == 0:
            raise self._damaged_at("superblock", 0, "puts the structure area nowhere")
        if (first + count) * BLOCK > self._source.length:
            size = (first + count) * BLOCK
            raise self._damaged_at(
                "superblock",
                0,
                f"needs {size} bytes, {self._source.length} are there: the image is truncated",
            )
        return sb

    def _read_structure(self) -> bytes:
        sb = self.superblock
        counts = {
            "directory_entries_count": (sb.directory_entries_count, ENTRY_HEAD.size, MAX_NAME),
            "symlinks_count": (sb.symlinks_count, LINK_HEAD.size, MAX_PATH),
            "inodes_count": (sb.inodes_count, INODE.size, 0),
        }
        area = sb.structure_info_blocks_count * BLOCK
        for name, (count, head, _) in counts.items():
            if count * head > area:
                raise self._damaged_at("superblock", 0, f"has {name} {count}, too many for {area} bytes")
        if sb.inodes_count == 0:
            raise self._damaged_at("superblock", 0, "has no inodes, not even the root")
        # A damaged size must not make us read gigabytes: no table can be larger than its longest names,
        # and none goes on in a hole of the host's file, since no record is all zeros.
        needed = sum(count * (head + longest) for count, head, longest in counts.values())
        start = self._structure_start
        first, end = next(self._source.data_runs(start, start + min(area, needed)), (start, start))
        return self._source.read_at(start, end - start) if first == start else b""

    def _index(self, what: str, count: int, start: int, head: int, longest: int) -> tuple[array[int], int]:
        """Find where each record of a table of variable length starts."""
        table, area = self._structure, len(self._structure)
        starts = array("Q")
        for index in range(count):
            starts.append(start)
            if start + head > area:
                raise self._damaged(f"{what} {index}", start, "starts outside the structure area")
            length = table[start + head - 2] | table[start + head - 1] << 8
            if length == 0 or length > longest:
                raise self._damaged(
                    f"{what} {index}", start, f"has a length of {length} (usable: 1 to {longest})"
                )
            if start + head + length > area:
                raise self._damaged(f"{what} {index}", start, "ends outside the structure area")
            start += head + length
        return starts, start

    # --- using ---------------------------------------------------------------------------------------------

    def _inode(self, number: int) -> tuple[int, int, int, int]:
        mode, stored, data_offset, count = INODE.unpack_from(
            self._structure, self._inodes + (number - ROOT) * INODE.size
        )
        if stored != number:
            raise self._damaged_inode(number, f"says it is number {stored}")
        return mode & 0xFFFFFFFF, stored, data_offset, count

    def _entry(self, path: bytes, number: int) -> Entry:
        mode, _, data_offset, count = self._inode(number)
        kind = _KINDS.get(mode & 0xF000)
        match kind:
            case Kind.DIRECTORY:
                if data_offset + count > len(self._entries):
                    raise self._damaged_inode(
                        number, f"has entries {data_offset} to {data_offset + count} of {len(self._entries)}"
                    )
            case Kind.FILE:
                first = self.superblock.structure_info_first_block
                if count and not (data_offset >= 1 and data_offset * BLOCK + count <= first * BLOCK):
                    raise self._damaged_inode(
                        number, f"has {count} bytes from block {data_offset}, outside blocks 1 to {first}"
                    )
            case Kind.SYMLINK:
                if data_offset >= len(self._links):
                    raise self._damaged_inode(number, f"is symlink {data_offset} of {len(self._links)}")
                count = len(self._record(self._links[data_offset], LINK_HEAD.size))
            case _:
                raise self._damaged_inode(number, f"has the unknown type {mode:#x}")
        return Entry(path, kind, count, number)

    def _record(self, start: int, head: int) -> bytes:
        """Return the name or target whose record starts there; `_index` has checked its length."""
        length = int.from_bytes(self._structure[start + head - 2 : start + head], "little")
        return self._structure[start + head : start + head + length]

    @property
    def root(self) -> Entry:
        """The root directory, inode 1."""
        return self._root

    def list(self, directory: Entry) -> list[Entry]:
        """Return the entries of a directory in the order in which they are stored.

        Raises
        ------
        DamagedError
            An entry or an inode it names cannot be right.
        """
        self._expect(directory, Kind.DIRECTORY)
        _, _, first, count = self._inode(directory.number)
        found = []
        for index in range(first, first + count):
            found.append(self._child(directory, index))
        return found

    def _child(self, directory: Entry, index: int) -> Entry:
        """Return what an entry of a directory names."""
        number, name = self._directory_entry(index)
        return self._entry(directory.child_path(name), number)

    def _directory_entry(self, index: int) -> tuple[int, bytes]:
        start = self._entries[index]
        number = int.from_bytes(self._structure[start : start + 8], "little")
        name = self._record(start, ENTRY_HEAD.size)
        if name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise self._damaged(f"directory entry {index}", start, f"has the impossible name {name!r}")
        if not ROOT < number <= self.superblock.inodes_count:
            what = "the root" if number == ROOT else f"inode {number} of {self.superblock.inodes_count}"
            raise self._damaged(f"directory entry {index} ({show(name)})", start, f"points to {what}")
        return number, name

    def walk(self, top: Entry | None = None) -> Iterator[Entry]:
        """Yield `top` (the root) and everything below it, a directory before its entries.

        Raises
        ------
        DamagedError
            A directory is reached twice, which would never end, or directories share entries.
        """
        seen: set[int] = set()
        left = len(self._entries) + 1
        for entry in super().walk(top):
            left -= 1
            if left < 0:
                raise self._damaged_inode(entry.number, f"shares entries with another ({show(entry.path)})")
            if entry.kind is Kind.DIRECTORY:
                if entry.number in seen:
                    raise self._damaged_inode(
                        entry.number, f"is a directory reached twice ({show(entry.path)})"
                    )
                seen.add(entry.number)
            yield entry

    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes from `offset`, all up to its end when no `length` is given."""
        self._expect(file, Kind.FILE)
        _, _, block, size = self._inode(file.number)
        wanted = max(0, size - offset) if length is None else min(length, max(0, size - offset))
        data = self._source.read_at(block * BLOCK + offset, wanted)
        if len(data) < wanted:
            raise self._damaged_at(f"contents of {show(file.path)}", block * BLOCK, "are cut off")
        return data

    def target(self, link: Entry) -> bytes:
        """Return where a symbolic link points."""
        self._expect(link, Kind.SYMLINK)
        return self._record(self._links[self._inode(link.number)[2]], LINK_HEAD.size)

    def extents(self, file: Entry) -> Iterator[Extent]:
        """Yield where a file's bytes lie: all in one place, from the beginning of a block."""
        self._expect(file, Kind.FILE)
        _, _, block, size = self._inode(file.number)
        if size:
            yield Extent(0, size, self._source.offset + block * BLOCK, size)

    def data_runs(self, file: Entry) -> Iterator[tuple[int, int]]:
        """Yield where a file has data, and no holes of the host's file."""
        self._expect(file, Kind.FILE)
        start = self._inode(file.number)[2] * BLOCK
        for first, last in self._source.data_runs(start, start + file.size):
            yield first - start, last - start

    def check(self) -> CheckReport:
        """Read everything and report whatever cannot be right; damage raises nothing."""
        from osvlab.filesystems.rofs.check import check

        return check(self)

    def explain(self) -> Structure:
        """Return the superblock, which points to the tables, and they to everything else."""
        from osvlab.filesystems.rofs.explain import superblock

        return superblock(self)

    def explain_entry(self, entry: Entry) -> Structure:
        """Return an entry's inode."""
        from osvlab.filesystems.rofs.explain import inode

        return inode(self, entry.number)

    def validate(self) -> None:
        """Check everything: every inode is right and reached, no name is there twice.

        Raises
        ------
        OsvlabError
            The first thing that cannot be right.
        """
        for problem in self.check().problems:
            raise problem

    # --- saying what is wrong ------------------------------------------------------------------------------

    def _damaged_inode(self, number: int, problem: str) -> DamagedError:
        return self._damaged(f"inode {number}", self._inodes + (number - ROOT) * INODE.size, problem)

    def _damaged(self, structure: str, offset: int, problem: str) -> DamagedError:
        """Make the error about something in the structure area."""
        return self._damaged_at(structure, self._structure_start + offset, problem)

    def _damaged_at(self, structure: str, offset: int, problem: str) -> DamagedError:
        return DamagedError(self.format, structure, self._source.offset + offset, problem)
