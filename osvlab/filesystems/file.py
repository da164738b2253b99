"""A file in an image as a file object of Python's, for whatever reads those: csv, tarfile, pyelftools."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from osvlab.filesystems.base import Entry, Filesystem

__all__ = ["GuestFile"]


class GuestFile(io.RawIOBase):
    """A file that is read where it lies, piece by piece; `GuestPath.open` buffers it.

    Parameters
    ----------
    reader
        The filesystem.
    entry
        The file.

    Raises
    ------
    GuestPathError
        It is no file.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> stream = io.BytesIO()
    >>> _ = write_bootfs(Directory({b"hosts": Content(b"127.0.0.1")}), stream)
    >>> files = BootfsReader(stream.getvalue())
    >>> with GuestFile(files, files.find("hosts")) as file:
    ...     file.seek(-3, io.SEEK_END), file.read()
    (6, b'0.1')
    """

    def __init__(self, reader: Filesystem, entry: Entry) -> None:
        super().__init__()
        reader.read(entry, 0, 0)  # raises for what is no file
        self._reader, self._entry, self._place = reader, entry, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may be behind the end, and return it."""
        if self.closed:
            raise ValueError("the file is closed")
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._entry.size}
        if whence not in starts:
            raise ValueError(f"not a place to seek from: {whence}")
        if starts[whence] + offset < 0:
            raise ValueError(f"before the beginning of the file: {starts[whence] + offset}")
        self._place = starts[whence] + offset
        return self._place

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer; return how many bytes there were, 0 at the end."""
        if self.closed:
            raise ValueError("the file is closed")
        wanted = memoryview(buffer).cast("B")
        length = max(0, min(len(wanted), self._entry.size - self._place))
        wanted[:length] = self._reader.read(self._entry, self._place, length)
        self._place += length
        return length
