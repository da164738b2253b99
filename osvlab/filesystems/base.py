"""The face of every filesystem that is read: damage, entries, lookup, extents, checks.

>>> import io
>>> from osvlab.filesystems.rofs import RofsReader, write_rofs
>>> from osvlab.filesystems.tree import Content, Directory
>>> stream = io.BytesIO()
>>> _ = write_rofs(Directory({b"etc": Directory({b"hosts": Content(b"127.0.0.1")})}), stream)
>>> fs: Filesystem = RofsReader(ByteRange(stream.getvalue()))
>>> entry: Entry = fs.find("/etc/hosts")
>>> entry.kind is Kind.FILE, entry.size, fs.read(entry)
(True, 9, b'127.0.0.1')
>>> list(fs.extents(entry))
[Extent(start=0, length=9, offset=512, stored=9, about='')]
>>> report: CheckReport = fs.check()
>>> print(report)
ROFS: 3 inodes, 2 entries, 512 bytes: no problem
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self

from osvlab.errors import OsvlabError
from osvlab.filesystems.byte_range import ByteRange, Source

if TYPE_CHECKING:
    from osvlab.filesystems.path import GuestPath
    from osvlab.filesystems.structure import Structure

__all__ = [
    "ByteRange",
    "CheckReport",
    "DamagedError",
    "Entry",
    "Extent",
    "Filesystem",
    "GuestPathError",
    "GuestPathNotFoundError",
    "Kind",
    "Source",
    "show",
]

# What Linux and OSv allow before they say ELOOP.
MAX_SYMLINKS = 40

LOOK = "See what is there: print(image.files.tree()), or osvlab tree IMAGE."


def show(path: bytes) -> str:
    r"""Write a path of bytes for people; bytes that are not UTF-8 appear as `\xNN`.

    Examples
    --------
    >>> print(show("/é".encode()), show(b"/caf\xe9"))
    /é /caf\xe9
    """
    return path.decode("utf-8", "backslashreplace")


class DamagedError(OsvlabError, ValueError):
    """A structure on disk says something that cannot be.

    Attributes
    ----------
    structure
        Which one, such as ``"inode 7"``.
    offset
        Where it is, in bytes from the start of the file that was opened.
    """

    def __init__(self, filesystem: str, structure: str, offset: int, problem: str) -> None:
        super().__init__(
            f"damaged {filesystem}: {structure} at byte {offset:#x} {problem}",
            hint="Build the image again, or copy it again from where it came.",
        )
        self.structure = structure
        self.offset = offset


class GuestPathError(OsvlabError, OSError):
    """A path inside a guest's filesystem cannot be used the way it was asked for."""


class GuestPathNotFoundError(GuestPathError, FileNotFoundError):
    """A path is not there in a guest's filesystem."""


class Kind(StrEnum):
    """What an entry of a filesystem is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"
    SOCKET = "socket"

    @property
    def type_bits(self) -> int:
        """The type bits of POSIX `st_mode`."""
        return _TYPE_BITS[self]

    @classmethod
    def of_mode(cls, mode: int) -> Kind | None:
        """Return what an `st_mode` says it is; None for what no POSIX system has."""
        return _KINDS.get(stat.S_IFMT(mode))


_TYPE_BITS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
_KINDS = {bits: kind for kind, bits in _TYPE_BITS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory, symbolic link or special file in a filesystem.

    Attributes
    ----------
    path
        Absolute path in the guest, as bytes; the root is ``b"/"``.
    kind
        What it is.
    size
        Bytes in a file, entries in a directory, bytes of a link's target.
    number
        The inode number, or whatever index the format uses in its place.
    permissions
        The permission bits of `st_mode`; None where the format stores none.
    owner, group
        Numeric user and group.
    links
        How many names it has.
    modified
        Time of the last change of its contents, nanoseconds since 1970; None where none is stored.
    device
        Which device a special file stands for, as in `st_rdev`.
    """

    path: bytes
    kind: Kind
    size: int
    number: int
    permissions: int | None = None
    owner: int = 0
    group: int = 0
    links: int = 1
    modified: int | None = None
    device: int = 0

    @property
    def name(self) -> bytes:
        """The last component of the path, empty for the root."""
        return self.path.rpartition(b"/")[2]

    def child_path(self, name: bytes) -> bytes:
        """Return the path of an entry of this directory."""
        return self.path.rstrip(b"/") + b"/" + name


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of a file's bytes and where they lie.

    Attributes
    ----------
    start
        Byte in the file.
    length
        Bytes of the file that it covers.
    offset
        Byte in the file that was opened where they are stored; None for a hole, and for
        what is kept inside another structure.
    stored
        Bytes they take there: fewer than `length` when compressed, or more when padded.
    about
        What is to be known besides, such as ``lz4``; empty when they are stored as they are.
    """

    start: int
    length: int
    offset: int | None
    stored: int
    about: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check of a whole filesystem found.

    Attributes
    ----------
    format
        Which one it is.
    problems
        Everything that is wrong, each with structure and offset; empty when all is well.
    counts
        What was looked at, by name: ``{"files": 3, "blocks": 40, "bytes": 123456}``.
    unchecked
        What was not looked at, and why; that is no problem.
    """

    format: str
    problems: tuple[OsvlabError, ...]
    counts: dict[str, int]
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        looked = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        count = len(self.problems)
        found = "no problem" if not count else f"{count} problem{'s' if count > 1 else ''}"
        head = f"{self.format}: {looked}: {found}" if looked else f"{self.format}: {found}"
        unchecked = (f"not checked: {what}" for what in self.unchecked)
        return "\n  ".join([head, *(problem.message for problem in self.problems), *unchecked])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show it as it is printed."""
        return {"text/plain": str(self)}


class Filesystem(ABC):
    """A filesystem that is read. Paths are made as with `pathlib`: ``fs / "etc/hosts"``.

    A format supplies `root`, `list`, `read`, `target`, `extents`, `check`, `explain` and `close`;
    finding and walking are the same for all.
    """

    format: ClassVar[str]

    def __repr__(self) -> str:
        return f"<{self.format} filesystem>"

    def __truediv__(self, path: str | bytes) -> GuestPath:
        from osvlab.filesystems.path import GuestPath

        return GuestPath(self) / path

    @property
    @abstractmethod
    def root(self) -> Entry:
        """The root directory."""

    @property
    def warnings(self) -> Sequence[str]:
        """What to know before what is read here is relied on, such as that it may not be the newest."""
        return ()

    @abstractmethod
    def list(self, directory: Entry) -> list[Entry]:
        """Return the entries of a directory in the order in which they are stored."""

    @abstractmethod
    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes from `offset`, all up to its end when no `length` is given."""

    @abstractmethod
    def target(self, link: Entry) -> bytes:
        """Return where a symbolic link points."""

    @abstractmethod
    def extents(self, file: Entry) -> Iterator[Extent]:
        """Yield where a file's bytes lie, in order and without gaps."""

    @abstractmethod
    def check(self) -> CheckReport:
        """Read everything and report whatever cannot be right; damage raises nothing."""

    @abstractmethod
    def explain(self) -> Structure:
        """Return the structure from which everything else is found, with pointers down to files' bytes."""

    @abstractmethod
    def explain_entry(self, entry: Entry) -> Structure:
        """Return the structure that describes one entry: its inode, its record."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file that is read."""

    def lookup(self, directory: Entry, name: bytes) -> Entry | None:
        """Return a directory's entry of a name, or None."""
        return next((child for child in self.list(directory) if child.name == name), None)

    def read_pieces(self, file: Entry, size: int = 1 << 20) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most `size`, so that no large file is held in memory."""
        for offset in range(0, file.size, size):
            yield self.read(file, offset, min(size, file.size - offset))

    def data_runs(self, file: Entry) -> Iterator[tuple[int, int]]:
        """Yield where a file has data (first byte, and one behind the last): elsewhere are holes, zeros.

        Runs may touch each other. A format whose files are stored as they are asks the host for the holes.
        """
        for extent in self.extents(file):
            if extent.offset is not None or extent.stored:
                yield extent.start, extent.start + extent.length

    def data_pieces(self, file: Entry, size: int = 1 << 20) -> Iterator[tuple[int, bytes]]:
        """Yield where it is in a file, and its data, in pieces of at most `size`: all but its holes."""
        for start, end in _joined(self.data_runs(file)):
            if (start, end) == (0, file.size):  # no holes: the format may know a faster way
                for piece in self.read_pieces(file, size):
                    yield start, piece
                    start += len(piece)
                return
            for offset in range(start, end, size):
                yield offset, self.read(file, offset, min(size, end - offset))

    @staticmethod
    def _expect(entry: Entry, kind: Kind) -> None:
        if entry.kind is not kind:
            raise GuestPathError(f"{show(entry.path)} is a {entry.kind}, not a {kind}", LOOK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def find(self, path: str | bytes, *, follow: bool = True) -> Entry:
        """Return the entry at a path, with symbolic links resolved inside this filesystem.

        Parameters
        ----------
        path
            Path from the root, with or without a leading slash. What ends with a slash is a directory.
        follow
            Whether a link in the last place is followed too.

        Raises
        ------
        GuestPathNotFoundError
            There is nothing at that path.
        GuestPathError
            Something on the way is no directory, or links lead in a circle.
        """
        wanted = os.fsencode(path)
        pending = _components(wanted)
        must_be_directory = wanted.endswith((b"/", b"/."))
        follow = follow or must_be_directory
        trail = [self.root]
        links = 0
        while pending:
            name = pending.pop()
            here = trail[-1]
            if here.kind is not Kind.DIRECTORY:
                raise GuestPathError(f"not a directory: {show(here.path)} (in {show(wanted)})", LOOK)
            if name == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            entry = self.lookup(here, name)
            if entry is None:
                raise GuestPathNotFoundError(
                    f"no such file in the image: {show(here.child_path(name))}", LOOK
                )
            if entry.kind is not Kind.SYMLINK or (not pending and not follow):
                trail.append(entry)
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise GuestPathError(f"too many symbolic links: {show(wanted)}", LOOK)
            target = self.target(entry)
            pending += _components(target)
            if target.startswith(b"/"):
                del trail[1:]
        if must_be_directory and trail[-1].kind is not Kind.DIRECTORY:
            raise GuestPathError(f"not a directory: {show(trail[-1].path)} (in {show(wanted)})", LOOK)
        return trail[-1]

    def walk(self, top: Entry | None = None) -> Iterator[Entry]:
        """Yield `top` (the root) and everything below it, a directory before its entries, by their names."""
        pending = [top if top is not None else self.root]
        while pending:
            entry = pending.pop()
            yield entry
            if entry.kind is Kind.DIRECTORY:
                pending += sorted(self.list(entry), key=attrgetter("path"), reverse=True)


def _joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Make one run of those that touch each other."""
    first = last = 0
    for start, end in runs:
        if start != last:
            yield first, last
            first = start
        last = end
    yield first, last


def _components(path: bytes) -> list[bytes]:
    """Split a path into its names, the last first, so that the next one is popped."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
