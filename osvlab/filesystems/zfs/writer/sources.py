"""Bytes of files on their way into blocks: read, compressed and summed up by threads, in order.

Reading, compressing and hashing let go of Python's lock, so two processors do nearly twice as much.
The results come in the order of the files, whatever thread was first: the same tree gives the same bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from osvlab.filesystems.output import changed_error, open_source
from osvlab.filesystems.tree import Content, HostFile
from osvlab.filesystems.zfs.writer.blocks import Codec, Kept, Sealed
from osvlab.filesystems.zfs.writer.ordered import in_order
from osvlab.filesystems.zfs.writer.plan import MAY_HAVE_HOLES, data_records
from osvlab.filesystems.zfs.writer.reuse import Reuse
from osvlab.filesystems.zfs.writer.space import RECORD
from osvlab.filesystems.zfs.writer.turns import short_turns

__all__ = ["block_size_of", "sealed_records"]

File = HostFile | Content
Record = tuple[int, int, Sealed | Kept]  # which file, which of its records, and that
Batch = Callable[[], list[Record]]

_BATCH = 1 << 20
_STEP = _BATCH // RECORD
_ZEROS = bytes(RECORD)


def block_size_of(size: int) -> int:
    """Return the bytes of a block of a file: one block up to 128 KiB, or records of 128 KiB.

    Examples
    --------
    >>> block_size_of(0), block_size_of(513), block_size_of(131073)
    (512, 1024, 131072)
    """
    return RECORD if size > RECORD else max(512, size + 511 & ~511)


def sealed_records(
    files: Iterable[tuple[int, File]], codec: Codec, reuse: Reuse | None = None
) -> Generator[Record, None, None]:
    """Yield the records of files that are not all zeros, in order.

    Parameters
    ----------
    files
        Each with a number of the caller's.
    codec
        How blocks are compressed and summed up.
    reuse
        What can be taken from an older image.

    Raises
    ------
    ChangedFileError
        A file is not what it was when the tree was made, or changed while it was read.
    UnreadableFileError
        A file cannot be opened.
    """
    with short_turns():
        for records in in_order(_Reader(codec, reuse).batches(files)):
            yield from records


class _Reader:
    def __init__(self, codec: Codec, reuse: Reuse | None) -> None:
        self._codec = codec
        self._reuse = reuse if reuse is not None and reuse.knows_any else None

    def batches(self, files: Iterable[tuple[int, File]]) -> Iterator[Batch]:
        """Divide the work into parts of about a megabyte."""
        small: list[tuple[int, File]] = []
        waiting = 0
        for key, file in files:
            large = isinstance(file, HostFile) and file.size >= MAY_HAVE_HOLES
            if small and (large or waiting >= _BATCH):
                yield partial(self._read_small, small)
                small, waiting = [], 0
            if large:
                assert isinstance(file, HostFile)
                yield from self._large(key, file)
            else:
                small.append((key, file))
                waiting += file.size + 1024
        if small:
            yield partial(self._read_small, small)

    def _read_small(self, files: list[tuple[int, File]]) -> list[Record]:
        found: list[Record] = []
        for key, file in files:
            kept = self._kept(file)
            sealed = self._from_old(key, kept) if kept is not None else None
            if sealed is not None:
                found += sealed
                continue
            data = file.data if isinstance(file, Content) else _read_whole(file)
            size = block_size_of(len(data))
            for start in range(0, len(data), size):
                record = data[start : start + size].ljust(size, b"\0")
                if not _is_zero(record):
                    found.append((key, start // size, self._codec.seal(record)))
        return found

    def _large(self, key: int, file: HostFile) -> Iterator[Batch]:
        kept = self._kept(file)
        if kept is not None:
            for start in range(0, len(kept), _STEP):
                yield partial(self._read_kept, key, file, kept[start : start + _STEP])
            return
        watched = _Watched(file)
        for start, end in watched.runs:
            for first in range(start, end, _STEP):
                yield partial(self._read_part, key, watched, range(first, min(first + _STEP, end)))

    def _read_part(self, key: int, watched: _Watched, records: Iterable[int]) -> list[Record]:
        size = block_size_of(watched.file.size)
        return [
            (key, record, self._codec.seal(data.ljust(size, b"\0")))
            for record, data in watched.read(records)
            if not _is_zero(data)
        ]

    def _read_kept(self, key: int, file: HostFile, kept: list[Kept]) -> list[Record]:
        sealed = self._from_old(key, kept)
        return (
            sealed if sealed is not None else self._read_part(key, _Watched(file), (k.record for k in kept))
        )

    def _kept(self, file: File) -> list[Kept] | None:
        if self._reuse is None or not isinstance(file, HostFile):
            return None
        return self._reuse.find(file)

    def _from_old(self, key: int, kept: list[Kept]) -> list[Record] | None:
        """Return blocks from the old image; None if one is no longer there."""
        assert self._reuse is not None
        if self._reuse.untouched:
            return [(key, block.record, block) for block in kept]
        found: list[Record] = []
        for block in kept:
            sealed = self._reuse.read(block, self._codec)
            if sealed is None:
                return None
            found.append((key, block.record, sealed))
        return found


def _is_zero(data: bytes) -> bool:
    return data[0] == 0 and data == _ZEROS[: len(data)]


def _read_whole(file: HostFile) -> bytes:
    fd = open_source(file)
    try:
        before = os.fstat(fd)
        if before.st_size != file.size or not stat.S_ISREG(before.st_mode):
            raise changed_error(file, before.st_size)
        data = os.read(fd, file.size + 1)
        after = os.fstat(fd)
        # Files of /proc and /sys say 0 and have content all the same.
        if len(data) != file.size:
            raise changed_error(file, after.st_size)
        if after.st_mtime_ns != before.st_mtime_ns:
            raise changed_error(file, None)
        return data
    finally:
        os.close(fd)


# --- files that are read in parts -----------------------------------------------------------------------


class _Watched:
    """A large file that must stay the same from the first part that is read to the last."""

    def __init__(self, file: HostFile) -> None:
        self.file = file
        fd = open_source(file)
        try:
            self._first = self._look(fd)
            self.runs = list(data_records(fd, file.size))
        finally:
            os.close(fd)

    def _look(self, fd: int) -> tuple[int, int]:
        found = os.fstat(fd)
        if found.st_size != self.file.size or not stat.S_ISREG(found.st_mode):
            raise changed_error(self.file, found.st_size)
        return found.st_ino, found.st_mtime_ns

    def read(self, records: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield records of the file with their numbers."""
        fd = open_source(self.file)
        try:
            for record in records:
                wanted = min(RECORD, self.file.size - record * RECORD)
                data = os.pread(fd, wanted, record * RECORD)
                if len(data) != wanted:
                    raise changed_error(self.file, os.fstat(fd).st_size)
                yield record, data
            if self._look(fd) != self._first:
                raise changed_error(self.file, None)
        finally:
            os.close(fd)
