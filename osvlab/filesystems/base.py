"""What all readers of filesystems share: bounded reads, damage, entries, lookup."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError, open_bytes

__all__ = [
    "ByteRange",
    "DamagedError",
    "Entry",
    "FilesystemReader",
    "GuestPathError",
    "GuestPathNotFoundError",
    "Kind",
    "Source",
    "show",
]

# What Linux and OSv allow before they say ELOOP.
MAX_SYMLINKS = 40

LOOK = "See what is there: print(image.files.tree()), or osvlab inspect --all."


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


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or symbolic link in a filesystem.

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
    """

    path: bytes
    kind: Kind
    size: int
    number: int

    @property
    def name(self) -> bytes:
        """The last component of the path, empty for the root."""
        return self.path.rpartition(b"/")[2]

    def child_path(self, name: bytes) -> bytes:
        """Return the path of an entry of this directory."""
        return self.path.rstrip(b"/") + b"/" + name


class ByteRange:
    """A part of a file or of bytes, read at any position and never beyond its end.

    Parameters
    ----------
    source
        Bytes, the path of a file or block device, or another range, whose open
        file is shared: it is the same file also when its name has gone to another.
    offset
        Where the range starts in it.
    length
        How long it is; up to the end of the source when not given.

    Raises
    ------
    PathNotFoundError
        The file is not there.
    OsvlabError
        The file cannot be opened.
    """

    def __init__(self, source: Source, offset: int = 0, length: int | None = None) -> None:
        self.offset: int
        self.length: int
        self._fd = -1
        self._bytes = b""
        if isinstance(source, bytes):
            self._bytes = source
            total = len(source)
        elif isinstance(source, ByteRange):
            self._bytes = source._bytes
            self._fd = os.dup(source._fd) if source._fd >= 0 else -1
            total = source.offset + source.length
            offset += source.offset
        else:
            self._fd = _open(source)
            total = os.lseek(self._fd, 0, os.SEEK_END)
        self.offset = offset
        available = max(0, total - offset)
        self.length = available if length is None else min(length, available)

    def read_at(self, position: int, length: int) -> bytes:
        """Return up to `length` bytes from `position`; fewer only where the range ends."""
        length = min(length, self.length - position)
        if position < 0 or length <= 0:
            return b""
        start = self.offset + position
        if self._fd < 0:
            return self._bytes[start : start + length]
        found = os.pread(self._fd, length, start)
        while len(found) < length:  # a read is capped at 2 GiB, and a file may have shrunk
            more = os.pread(self._fd, length - len(found), start + len(found))
            if not more:
                break
            found += more
        return found

    def stat(self) -> os.stat_result | None:
        """Return what the host knows of the file; None for bytes."""
        return os.fstat(self._fd) if self._fd >= 0 else None

    def close(self) -> None:
        """Close the file. Reading afterwards gives nothing."""
        fd, self._fd, self.length = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        # Images are values: a notebook keeps them without a `with`, so the file goes with the value.
        if getattr(self, "_fd", -1) >= 0:
            self.close()


Source = bytes | str | os.PathLike[str] | ByteRange


def _open(path: str | os.PathLike[str]) -> int:
    if os.path.isdir(path):
        raise OsvlabError(f"{os.fspath(path)} is a directory, not a file", hint="Name an image file.")
    try:
        return open_bytes(path)
    except FileNotFoundError:
        raise PathNotFoundError(f"no such file: {os.fspath(path)}", hint="Check the path.") from None
    except OSError as error:
        raise OsvlabError(
            f"cannot open {os.fspath(path)}: {error.strerror}", hint="Check path and permissions."
        ) from error


class FilesystemReader(ABC):
    """Reads a filesystem. A format supplies four methods; finding and walking are the same for all."""

    format: ClassVar[str]

    @property
    @abstractmethod
    def root(self) -> Entry:
        """The root directory."""

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
    def close(self) -> None:
        """Let go of the file that is read."""

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
            Path from the root, with or without a leading slash.
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
            entry = next((child for child in self.list(here) if child.name == name), None)
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
        return trail[-1]

    def walk(self, top: Entry | None = None) -> Iterator[Entry]:
        """Yield `top` (the root) and everything below it, a directory before its entries."""
        pending = [top if top is not None else self.root]
        while pending:
            entry = pending.pop()
            yield entry
            if entry.kind is Kind.DIRECTORY:
                pending += reversed(self.list(entry))


def _components(path: bytes) -> list[bytes]:
    """Split a path into its names, the last first, so that the next one is popped."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
