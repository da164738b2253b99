"""Files of a filesystem as paths, in the manner of `pathlib`."""

from __future__ import annotations

import fnmatch
import html
import io
import os
from collections.abc import Iterator
from typing import IO, Any

from osvlab.filesystems.base import Entry, Extent, Filesystem, GuestPathError, Kind, show
from osvlab.filesystems.file import GuestFile
from osvlab.filesystems.structure import Structure
from osvlab.paths import format_size

__all__ = ["GuestPath"]

_SHOWN = 40
_BUFFER = 1 << 17  # bytes: a block of ZFS


class GuestPath:
    """A path inside an image.

    Nothing is read before it is asked for, and a path that does not exist is an
    error only then. Paths that are not UTF-8 are texts with surrogates, as
    everywhere in Python (`os.fsdecode`).

    Examples
    --------
    >>> from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> import io
    >>> stream = io.BytesIO()
    >>> _ = write_bootfs(Directory({b"etc": Directory({b"hosts": Content(b"127.0.0.1")})}), stream)
    >>> files = GuestPath(BootfsReader(stream.getvalue()))
    >>> (files / "etc/hosts").read_text()
    '127.0.0.1'
    >>> list(files.iterdir())
    [GuestPath('/etc')]
    """

    def __init__(self, reader: Filesystem, path: bytes = b"/") -> None:
        self._reader = reader
        self._path = path

    def __truediv__(self, name: str | bytes) -> GuestPath:
        tail = os.fsencode(name)
        joined = tail if tail.startswith(b"/") else self._path.rstrip(b"/") + b"/" + tail
        return GuestPath(self._reader, joined)

    def __str__(self) -> str:
        return show(self._path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GuestPath) and other._reader is self._reader and other._path == self._path

    def __hash__(self) -> int:
        return hash(self._path)

    @property
    def path(self) -> str:
        """The path as the guest sees it.

        There is no `os.fspath` of it on purpose: ``open(image.files / "etc/hosts")`` would open the host's.
        """
        return os.fsdecode(self._path)

    @property
    def name(self) -> str:
        """The last component."""
        return os.fsdecode(self._path.rstrip(b"/").rpartition(b"/")[2])

    @property
    def suffix(self) -> str:
        """What follows the last dot of the name, and the dot; empty if there is none."""
        return os.path.splitext(self.name)[1]

    @property
    def parent(self) -> GuestPath:
        """The directory it is in."""
        return GuestPath(self._reader, self._path.rstrip(b"/").rpartition(b"/")[0] or b"/")

    def entry(self, *, follow: bool = True) -> Entry:
        """Return kind, size and inode number.

        Raises
        ------
        GuestPathNotFoundError
            It is not there.
        """
        return self._reader.find(self._path, follow=follow)

    def exists(self) -> bool:
        """Whether it is there, behind links."""
        return self._kind() is not None

    def is_dir(self) -> bool:
        """Whether it is a directory, or a link to one."""
        return self._kind() is Kind.DIRECTORY

    def is_file(self) -> bool:
        """Whether it is a file, or a link to one."""
        return self._kind() is Kind.FILE

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._kind(follow=False) is Kind.SYMLINK

    def _kind(self, *, follow: bool = True) -> Kind | None:
        try:
            return self.entry(follow=follow).kind
        except OSError:  # not there, or its parent is no directory; damage is another kind of error
            return None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.entry().size

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what `os.stat` says of files of the host.

        Formats that store no permissions and no times (ROFS, bootfs) give what their kernels report:
        0555, and the year 1970.
        """
        entry = self.entry(follow=follow_symlinks)
        permissions = 0o555 if entry.permissions is None else entry.permissions
        seconds, rest = divmod(entry.modified or 0, 10**9)
        fields = (
            *(entry.kind.type_bits | permissions, entry.number, 0, entry.links, entry.owner, entry.group),
            *(entry.size, seconds, seconds, seconds),
            *(float(seconds), seconds + rest / 1e9, float(seconds)),
            *(seconds * 10**9, seconds * 10**9 + rest, seconds * 10**9),
        )
        return os.stat_result(fields)

    def open(self, mode: str = "r", encoding: str = "utf-8", errors: str = "strict") -> IO[Any]:
        """Open a file to be read piece by piece, as text (``r``) or as bytes (``rb``).

        Examples
        --------
        >>> import csv, io
        >>> from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
        >>> from osvlab.filesystems.tree import Content, Directory
        >>> stream = io.BytesIO()
        >>> _ = write_bootfs(Directory({b"table.csv": Content(b"a,b")}), stream)
        >>> with (BootfsReader(stream.getvalue()) / "table.csv").open() as file:
        ...     list(csv.reader(file))
        [['a', 'b']]
        """
        if mode not in ("r", "rt", "rb"):
            raise GuestPathError(
                f"{self} cannot be opened to be written ({mode!r}): images are read here",
                hint="Use osvlab cp to copy in.",
            )
        data = io.BufferedReader(GuestFile(self._reader, self.entry()), _BUFFER)
        return data if mode == "rb" else io.TextIOWrapper(data, encoding, errors)

    def read_bytes(self) -> bytes:
        """Return the whole contents of a file."""
        return self._reader.read(self.entry())

    def read_pieces(self, size: int = 1 << 20) -> Iterator[bytes]:
        """Yield the contents of a file in pieces of at most `size` bytes."""
        yield from self._reader.read_pieces(self.entry(), size)

    def data_pieces(self, size: int = 1 << 20) -> Iterator[tuple[int, bytes]]:
        """Yield the data of a file, and where it is, in pieces of at most `size` bytes, all but holes."""
        yield from self._reader.data_pieces(self.entry(), size)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the whole contents of a file as text."""
        return self.read_bytes().decode(encoding, errors)

    def extents(self) -> Iterator[Extent]:
        """Yield where a file's bytes lie on the disk, in order and without gaps.

        Examples
        --------
        >>> from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
        >>> from osvlab.filesystems.tree import Content, Directory
        >>> import io
        >>> stream = io.BytesIO()
        >>> _ = write_bootfs(Directory({b"hosts": Content(b"127.0.0.1")}), stream)
        >>> list((BootfsReader(stream.getvalue()) / "hosts").extents())
        [Extent(start=0, length=9, offset=256, stored=9, about='')]
        """
        return self._reader.extents(self.entry())

    def explain(self) -> Structure:
        """Return the structure on disk that describes it: its inode, its record."""
        return self._reader.explain_entry(self.entry(follow=False))

    def readlink(self) -> str:
        """Return where a symbolic link points."""
        return os.fsdecode(self._reader.target(self.entry(follow=False)))

    def iterdir(self) -> Iterator[GuestPath]:
        """Yield what is in a directory."""
        for entry in self._reader.list(self.entry()):
            yield GuestPath(self._reader, entry.path)

    def glob(self, pattern: str) -> Iterator[GuestPath]:
        """Yield what is below this directory and matches a pattern, such as ``usr/**/*.so``.

        ``*``, ``?`` and ``[...]`` match within one name, ``**`` any number of directories. Links to
        directories are not gone into. Names with a leading dot are matched like all others.
        """
        parts = [os.fsencode(part) for part in pattern.split("/") if part]
        if not parts:
            raise ValueError("a pattern cannot be empty")
        found: dict[bytes, None] = {}
        for entry in self._matching(self.entry(), parts):
            found.setdefault(entry.path)
        for path in found:
            yield GuestPath(self._reader, path)

    def _matching(self, directory: Entry, parts: list[bytes]) -> Iterator[Entry]:
        if directory.kind is not Kind.DIRECTORY:
            return
        first, rest = parts[0], parts[1:]
        if first == b"**":
            for entry in self._reader.walk(directory):
                if entry.kind is Kind.DIRECTORY:
                    yield from self._matching(entry, rest) if rest else (entry,)
            return
        for child in self._reader.list(directory):
            if fnmatch.fnmatchcase(child.name, first):
                yield from self._matching(child, rest) if rest else (child,)

    def walk(self) -> Iterator[tuple[GuestPath, Entry]]:
        """Yield this path and everything below it, with what it is."""
        for entry in self._reader.walk(self.entry()):
            yield GuestPath(self._reader, entry.path), entry

    def tree(self, limit: int = _SHOWN) -> str:
        """Return the first `limit` entries below this path, one a line."""
        return "\n".join(self._lines(limit))

    def _lines(self, limit: int) -> Iterator[str]:
        entry = self.entry()
        count = 0
        for found in self._reader.walk(entry):
            count += 1
            if count > limit + 1:
                continue  # only counted
            yield self._line(found)
        if count > limit + 1:
            yield f"... and {count - limit - 1} more"

    def _line(self, entry: Entry) -> str:
        match entry.kind:
            case Kind.DIRECTORY:
                return show(entry.path).rstrip("/") + "/"
            case Kind.SYMLINK:
                return f"{show(entry.path)} -> {show(self._reader.target(entry))}"
            case Kind.FILE:
                return f"{show(entry.path)}  {format_size(entry.size)}"
            case _:
                return f"{show(entry.path)}  ({entry.kind})"

    def __repr__(self) -> str:
        return f"GuestPath({os.fsdecode(self._path)!r})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show a directory as its tree, anything else as its path."""
        text = self.tree() if self.is_dir() else repr(self)
        return {"text/plain": text, "text/html": f'<pre class="osvlab-files">{html.escape(text)}</pre>'}
