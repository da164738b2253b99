"""Bytes of files on their way into blocks: read, compressed and summed up by threads, in order.

Reading, compressing and hashing let go of Python's lock, so two processors do nearly twice as much.
The results come in the order of the files, whatever thread was first: the same tree gives the same bytes.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any

from osvlab.filesystems.output import changed_error, open_source
from osvlab.filesystems.tree import Content, HostFile
from osvlab.filesystems.zfs.writer.blocks import Codec, Sealed
from osvlab.filesystems.zfs.writer.plan import MAY_HAVE_HOLES, data_records
from osvlab.filesystems.zfs.writer.space import RECORD

__all__ = ["block_size_of", "sealed_records"]

File = HostFile | Content
Record = tuple[int, int, Sealed]  # which file, which of its records, and that
Batch = Callable[[], list[Record]]

_BATCH = 1 << 20
_THREADS = min(4, len(os.sched_getaffinity(0)))
_ZEROS = bytes(RECORD)


def block_size_of(size: int) -> int:
    """Return the bytes of a block of a file: one block up to 128 KiB, or records of 128 KiB.

    Examples
    --------
    >>> block_size_of(0), block_size_of(513), block_size_of(131073)
    (512, 1024, 131072)
    """
    return RECORD if size > RECORD else max(512, size + 511 & ~511)


def sealed_records(files: Iterable[tuple[int, File]], codec: Codec) -> Iterator[Record]:
    """Yield the records of files that are not all zeros, in order.

    Parameters
    ----------
    files
        Each with a number of the caller's.
    codec
        How blocks are compressed and summed up.

    Raises
    ------
    ChangedFileError
        A file is not what it was when the tree was made, or changed while it was read.
    UnreadableFileError
        A file cannot be opened.
    """
    for records in _in_order(_batches(files, codec)):
        yield from records


def _batches(files: Iterable[tuple[int, File]], codec: Codec) -> Iterator[Batch]:
    small: list[tuple[int, File]] = []
    waiting = 0
    for key, file in files:
        if isinstance(file, HostFile) and file.size >= MAY_HAVE_HOLES:
            yield from _flushed(small, codec)
            small, waiting = [], 0
            yield from _large(key, file, codec)
            continue
        small.append((key, file))
        waiting += file.size + 1024
        if waiting >= _BATCH:
            yield partial(_read_small, small, codec)
            small, waiting = [], 0
    yield from _flushed(small, codec)


def _flushed(small: list[tuple[int, File]], codec: Codec) -> Iterator[Batch]:
    if small:
        yield partial(_read_small, small, codec)


def _read_small(files: list[tuple[int, File]], codec: Codec) -> list[Record]:
    found = []
    for key, file in files:
        data = file.data if isinstance(file, Content) else _read_whole(file)
        size = block_size_of(len(data))
        for start in range(0, len(data), size):
            record = data[start : start + size].ljust(size, b"\0")
            if not _is_zero(record):
                found.append((key, start // size, codec.seal(record)))
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

    def read(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Yield records of the file with their numbers."""
        fd = open_source(self.file)
        try:
            for record in range(first, last):
                wanted = min(RECORD, self.file.size - record * RECORD)
                data = os.pread(fd, wanted, record * RECORD)
                if len(data) != wanted:
                    raise changed_error(self.file, os.fstat(fd).st_size)
                yield record, data
            if self._look(fd) != self._first:
                raise changed_error(self.file, None)
        finally:
            os.close(fd)


def _large(key: int, file: HostFile, codec: Codec) -> Iterator[Batch]:
    watched = _Watched(file)
    step = _BATCH // RECORD
    for start, end in watched.runs:
        for first in range(start, end, step):
            yield partial(_read_part, key, watched, first, min(first + step, end), codec)


def _read_part(key: int, watched: _Watched, first: int, last: int, codec: Codec) -> list[Record]:
    size = block_size_of(watched.file.size)
    return [
        (key, record, codec.seal(data.ljust(size, b"\0")))
        for record, data in watched.read(first, last)
        if not _is_zero(data)
    ]


# --- threads --------------------------------------------------------------------------------------------


class _Task:
    __slots__ = ("batch", "result")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        # An interrupted wait on a condition or future may leave it locked; this one is safe.
        self.result: SimpleQueue[list[Record] | BaseException] = SimpleQueue()


def _in_order(batches: Iterator[Batch]) -> Iterator[list[Record]]:
    """Yield what the batches return, in their order, while threads work ahead."""
    tasks: SimpleQueue[_Task | None] = SimpleQueue()
    threads = [threading.Thread(target=_work, args=(tasks,), daemon=True) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    ahead: deque[_Task] = deque()
    try:
        more = True
        while more or ahead:
            while more and len(ahead) < 2 * _THREADS + 2:
                batch = next(batches, None)
                more = batch is not None
                if batch is not None:
                    ahead.append(_Task(batch))
                    tasks.put(ahead[-1])
            if ahead:
                found: Any = ahead.popleft().result.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
    finally:
        while not tasks.empty():
            tasks.get()
        for _ in threads:
            tasks.put(None)


def _work(tasks: SimpleQueue[_Task | None]) -> None:
    while (task := tasks.get()) is not None:
        try:
            task.result.put(task.batch())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is waited for
            task.result.put(error)
