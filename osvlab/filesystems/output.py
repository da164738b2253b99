"""Where filesystems are written to: few large writes, and file contents copied inside the host kernel."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.byte_range import data_runs
from osvlab.filesystems.tree import HostFile

__all__ = [
    "ChangedFileError",
    "Output",
    "UnreadableFileError",
    "changed_error",
    "copy_range",
    "data_runs",
    "open_source",
    "write_at",
]

_BUFFER = 256 * 1024  # fits the processor's L2 cache; larger was slower
_KERNEL_COPY = 1024 * 1024  # from this size on copy_file_range beats read and write
_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


class ChangedFileError(OsvlabError):
    """A file on the host changed while it was read."""


class UnreadableFileError(OsvlabError, PermissionError):
    """A file on the host cannot be read."""


class Output:
    """Collects small pieces into large writes to a stream and keeps count.

    Parameters
    ----------
    stream
        Any writable binary stream. With an unbuffered file large contents do not
        pass through this process.
    sparse
        The stream is a new file, so what is skipped reads as zeros: holes of
        large source files stay holes.
    """

    def __init__(self, stream: BinaryIO, *, sparse: bool = False) -> None:
        self._stream = stream
        self._fd = stream.fileno() if isinstance(stream, io.FileIO) else None
        self._sparse = sparse and self._fd is not None
        self._buffer = memoryview(bytearray(_BUFFER))
        self._filled = 0
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        self.written += len(data)
        if len(data) > len(self._buffer) - self._filled:
            self.flush()
            if len(data) >= len(self._buffer):
                self._write_out(memoryview(data))
                return
        self._buffer[self._filled : self._filled + len(data)] = data
        self._filled += len(data)

    def zeros(self, count: int) -> None:
        """Append a few zero bytes."""
        self.write(bytes(count))

    def flush(self) -> None:
        """Hand everything collected to the stream."""
        filled, self._filled = self._filled, 0
        if filled:
            self._write_out(self._buffer[:filled])

    def _write_out(self, data: memoryview) -> None:
        while data:  # an unbuffered file may take only a part
            data = data[self._stream.write(data) :]

    def copy(self, file: HostFile) -> None:
        """Append the contents of a file on the host.

        Raises
        ------
        ChangedFileError
            The file is not as long as when the tree was made, or changed while it was read.
        UnreadableFileError
            It cannot be opened.
        """
        fd = open_source(file)
        try:
            before = os.fstat(fd)
            if before.st_size != file.size or not stat.S_ISREG(before.st_mode):
                raise changed_error(file, before.st_size)
            if self._fd is not None and file.size >= _KERNEL_COPY:
                self.flush()
                self._copy_extents(fd, file, sparse=before.st_blocks * 512 < file.size)
            else:
                self._copy_through_buffer(fd, file, file.size)
            after = os.fstat(fd)
            # Files of /proc and /sys say 0 and have content all the same.
            if after.st_size != file.size or (file.size == 0 and os.read(fd, 1)):
                raise changed_error(file, after.st_size)
            if after.st_mtime_ns != before.st_mtime_ns:
                raise changed_error(file, None)
        finally:
            os.close(fd)

    def _copy_through_buffer(self, fd: int, file: HostFile, length: int) -> None:
        while length:
            if self._filled == len(self._buffer):
                self.flush()
            room = self._buffer[self._filled : self._filled + length]
            count = os.readv(fd, [room])
            if count == 0:
                raise changed_error(file, os.fstat(fd).st_size)
            self._filled += count
            self.written += count
            length -= count

    def _copy_extents(self, fd: int, file: HostFile, *, sparse: bool) -> None:
        """Copy a large file, leaving its holes out when the output may have holes."""
        if not (sparse and self._sparse):
            self._copy_in_kernel(fd, file, file.size)
            return
        assert self._fd is not None
        position = 0
        for start, end in data_runs(fd, file.size):
            self._leave_hole(start - position)
            os.lseek(fd, start, os.SEEK_SET)
            self._copy_in_kernel(fd, file, end - start)
            position = end
        self._leave_hole(file.size - position)

    def _leave_hole(self, length: int) -> None:
        assert self._fd is not None
        os.lseek(self._fd, length, os.SEEK_CUR)
        self.written += length

    def _copy_in_kernel(self, fd: int, file: HostFile, length: int) -> None:
        assert self._fd is not None
        copied = copy_range(fd, None, self._fd, None, length)
        self.written += copied
        if copied < length:
            self._copy_through_buffer(fd, file, length - copied)
            self.flush()


def write_at(fd: int, data: memoryview, position: int) -> None:
    """Write bytes at a position of an open file, however many the host takes at once."""
    while data:
        count = os.pwrite(fd, data, position)
        data, position = data[count:], position + count


def copy_range(
    source: int, source_offset: int | None, target: int, target_offset: int | None, length: int
) -> int:
    """Copy bytes from one open file to another inside the host kernel, as far as it can.

    Parameters
    ----------
    source, target
        Descriptors.
    source_offset, target_offset
        Where; None: at the file's own position, which moves on.
    length
        How many bytes.

    Returns
    -------
    int
        How many were copied. It may be fewer: some filesystems cannot, some say 0 at the end and some
        before. Reading tells what is true.
    """
    done = 0
    while done < length:
        try:
            count = os.copy_file_range(
                source,
                target,
                length - done,
                None if source_offset is None else source_offset + done,
                None if target_offset is None else target_offset + done,
            )
        except OSError as error:
            if error.errno not in _CANNOT_COPY:
                raise
            break
        if count == 0:
            break
        done += count
    return done


def open_source(file: HostFile) -> int:
    """Open a file of a tree for reading and return its descriptor.

    Raises
    ------
    ChangedFileError
        It is no longer there, or has become something else.
    UnreadableFileError
        It cannot be opened.
    """
    # The entry was a regular file when the tree was made; it must not have become a link or a pipe since.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(file.path, flags)
    except PermissionError as error:
        raise UnreadableFileError(
            f"cannot read {show(file.path)}: {error.strerror}", hint="Make it readable, or leave it out."
        ) from error
    except OSError as error:
        raise ChangedFileError(
            f"cannot open {show(file.path)} any more: {error.strerror}",
            hint="Build it again.",
        ) from error


def changed_error(file: HostFile, now: int | None) -> ChangedFileError:
    """Return the error for a file that has `now` bytes; None: it was written to."""
    how = "was written to" if now is None else f"was {file.size} bytes long and is {now} now"
    if now is not None and now == file.size:
        how = f"says it has {now} bytes and has others"
    return ChangedFileError(
        f"{show(file.path)} changed while it was read: it {how}",
        hint="Stop what writes to it, or leave it out.",
    )
