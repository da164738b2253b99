"""Bounded reads of a file, a part of one, or bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError, open_bytes

__all__ = ["ByteRange", "Source", "data_runs"]


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
        self._closed = False
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
        """Return up to `length` bytes from `position`; fewer only where the range ends.

        Raises
        ------
        OsvlabError
            The range was closed: that is no damage.
        """
        if self._closed:
            raise OsvlabError(
                "the image was closed, so nothing more can be read of it",
                hint="Read inside of its `with`, or open it again.",
            )
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

    def data_runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield which bytes from `start` to `end` have to be read: all others are in holes, and zero.

        What the host cannot tell, and what is not there any more, counts as data, so that reading tells.

        Examples
        --------
        >>> list(ByteRange(b"0123456789").data_runs(2, 20))
        [(2, 10)]
        """
        end = min(end, self.length)
        if start >= end:
            return
        if self._fd < 0 or os.fstat(self._fd).st_size < self.offset + end:
            yield start, end
            return
        try:
            for first, last in data_runs(self._fd, self.offset + end, self.offset + start):
                start = last - self.offset
                yield first - self.offset, start
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            yield start, end

    def stat(self) -> os.stat_result | None:
        """Return what the host knows of the file; None for bytes."""
        return os.fstat(self._fd) if self._fd >= 0 else None

    def fileno(self) -> int:
        """Return the descriptor of the file; -1 for bytes."""
        return self._fd

    def close(self) -> None:
        """Close the file. Reading afterwards is an error."""
        fd, self._fd, self._closed = self._fd, -1, True
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        # Images are values: a notebook keeps them without a `with`, so the file goes with the value.
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def data_runs(fd: int, end: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where an open file has data between two bytes (first, and one behind the last), not holes.

    Raises
    ------
    OSError
        The file cannot tell.
    """
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: only a hole is left
                raise
            return
        if start >= end:
            return
        first, start = start, min(os.lseek(fd, start, os.SEEK_HOLE), end)
        yield first, start


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
