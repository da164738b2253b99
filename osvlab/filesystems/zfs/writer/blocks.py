"""Blocks on their way to the disk: compressed where that pays, summed up, placed, and pointed to."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from osvlab.filesystems.output import copy_range, write_at
from osvlab.filesystems.zfs.checksums import Words, fletcher4, sha256
from osvlab.filesystems.zfs.compression import compressor
from osvlab.filesystems.zfs.format import POINTER, VDEV_DATA, Checksum, Compression, ObjectType
from osvlab.filesystems.zfs.writer.space import Space

__all__ = ["BIRTH", "HOLE", "Blocks", "Codec", "Disk", "Kept", "NoDisk", "Sealed", "Usage"]

BIRTH = 4  # the transaction group in which everything came to be: the first one of a pool
HOLE = bytes(128)
MIN_COMPRESSED = 1024
_BATCH = 1 << 20
_VECTOR = 512  # IOV_MAX is 1024


class Sealed(NamedTuple):
    """A block as it will be stored, not yet placed.

    Attributes
    ----------
    data
        Its bytes: compressed or not, padded to whole sectors.
    lsize
        Bytes as they are read.
    compression
        How `data` is compressed.
    words
        Checksum of `data`.
    """

    data: bytes
    lsize: int
    compression: int
    words: Words


class Kept(NamedTuple):
    """A block of a file in an older image.

    Attributes
    ----------
    record
        Which of its file.
    offset, stored
        Bytes from the start of the image, and how many.
    compression, lsize, words
        As in `Sealed`.
    """

    record: int
    offset: int
    stored: int
    compression: int
    lsize: int
    words: Words


class Codec:
    """How blocks are compressed and summed up. It is without state: threads may share it.

    Parameters
    ----------
    compression
        ``lz4``, ``gzip``, ``gzip-1`` to ``gzip-9``, or None.
    checksum
        ``sha256`` or ``fletcher4``.
    ashift
        log2 of the smallest allocation: compression has to save one.
    """

    def __init__(self, compression: str | None, checksum: str, ashift: int) -> None:
        self.compression = _number_of(compression)
        self.checksum = Checksum.SHA256 if checksum == "sha256" else Checksum.FLETCHER4
        self.sum = sha256 if checksum == "sha256" else fletcher4
        self._compress = None if compression is None else compressor(self.compression)
        self._unit = 1 << ashift

    def seal(self, data: bytes) -> Sealed:
        """Return a block, whose length is a multiple of 512, as it will be stored."""
        size = len(data)
        if self._compress is not None and size >= MIN_COMPRESSED:
            packed = self._compress(data)
            stored = len(packed) + 511 & ~511
            unit = self._unit - 1
            if len(packed) <= size - (size >> 3) and stored + unit & ~unit < size + unit & ~unit:
                packed = packed.ljust(stored, b"\0")
                return Sealed(packed, size, self.compression, self.sum(packed))
        return Sealed(data, size, Compression.OFF, self.sum(data))


def _number_of(compression: str | None) -> Compression:
    if compression is None:
        return Compression.OFF
    if compression == "lz4":
        return Compression.LZ4
    return Compression(Compression.GZIP_1 + int(compression.partition("-")[2] or 6) - 1)


@dataclass(slots=True)
class Usage:
    """What blocks take, as datasets and directories of datasets account for it.

    Attributes
    ----------
    used
        Disk space of all copies, in bytes.
    compressed, uncompressed
        Bytes of the blocks as they are stored, and as they are read.
    """

    used: int = 0
    compressed: int = 0
    uncompressed: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.used + other.used,
            self.compressed + other.compressed,
            self.uncompressed + other.uncompressed,
        )


class Disk:
    """Where a vdev is written to: what follows on each other goes out in large writes.

    Parameters
    ----------
    stream
        A binary stream. An unbuffered file is fastest.
    base
        Where the vdev begins in it: at its position, when not given.
    """

    def __init__(self, stream: BinaryIO, base: int | None = None) -> None:
        self._stream = stream
        self.fd = stream.fileno() if isinstance(stream, io.FileIO) else None
        self.base = stream.tell() if base is None else base
        self._start = self._end = 0
        self._waiting: list[bytes] = []
        # A run of bytes to copy: from a file, whose positions are so much larger, from here, to there.
        self._source, self._shift, self._copy_from, self._copied_to = -1, 0, 0, 0

    def twin(self) -> Disk:
        """Return another one that collects writes of its own to the same place."""
        return Disk(self._stream, self.base)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes at an offset of the vdev, now or later."""
        if offset != self._end or self._end - self._start >= _BATCH or len(self._waiting) >= _VECTOR:
            self._flush_writes()
            self._start = offset
        self._waiting.append(data)
        self._end = offset + len(data)

    def flush(self) -> None:
        """Hand everything that waits to the stream."""
        self._flush_copy()
        self._flush_writes()

    def _flush_writes(self) -> None:
        waiting, self._waiting = self._waiting, []
        at, self._start = self.base + self._start, self._end
        if not waiting:
            return
        if self.fd is None:
            self._stream.seek(at)
            self._stream.write(b"".join(waiting))
            return
        total = sum(map(len, waiting))
        done = os.pwritev(self.fd, waiting, at)
        if done < total:  # a full disk takes a part first, and says so at the next try
            write_at(self.fd, memoryview(b"".join(waiting))[done:], at + done)

    def copy(self, offset: int, source: int, position: int, length: int) -> None:
        """Copy bytes of an open file to an offset of the vdev, now or later.

        Parameters
        ----------
        source, position
            Descriptor of the file, and where in it.
        """
        if (source, position - offset, offset) != (self._source, self._shift, self._copied_to):
            self._flush_copy()
            self._source, self._shift, self._copy_from = source, position - offset, offset
        self._copied_to = offset + length

    def _flush_copy(self) -> None:
        at, end = self._copy_from, self._copied_to
        self._copy_from = end
        if self.fd is not None:
            at += copy_range(self._source, at + self._shift, self.fd, self.base + at, end - at)
        while at < end:
            data = os.pread(self._source, min(end - at, _BATCH), at + self._shift)
            if not data:
                raise OSError(errno.EIO, "the old image became shorter")
            self._stream.seek(self.base + at)
            self._stream.write(data)
            at += len(data)

    def finish(self, size: int) -> None:
        """Flush, and let the stream end where the vdev does, if that is later than it ends now."""
        self.flush()
        end = self._stream.seek(0, io.SEEK_END)
        if end < self.base + size:
            self._stream.truncate(self.base + size)
            if self._stream.seek(0, io.SEEK_END) < self.base + size:  # one in memory does not grow by that
                self._stream.seek(self.base + size - 1)
                self._stream.write(b"\0")
        self._stream.seek(self.base + size)


class NoDisk(Disk):
    """Where writes go that are only tried."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())

    def twin(self) -> NoDisk:
        """Return itself: it keeps nothing."""
        return self

    def write(self, offset: int, data: bytes) -> None:
        """Forget the bytes."""


class Blocks:
    """Places sealed blocks in a pool and says how they are pointed to.

    Parameters
    ----------
    disk
        Where they go.
    space
        What is taken of it.
    codec
        How they are compressed and summed up.
    """

    def __init__(self, disk: Disk, space: Space, codec: Codec) -> None:
        self.disk = disk
        self._copies = disk.twin()  # the two places take turns, and each has writes to collect
        self.space = space
        self.codec = codec
        self.usage = Usage()
        self._mask = (1 << space.geometry.ashift) - 1

    def place(self, sealed: Sealed) -> tuple[bytes, int, int]:
        """Write one copy of a block of a file; return its pointer, the space it takes, and its place."""
        data = sealed.data
        stored = len(data)
        asize = stored + self._mask & ~self._mask
        offset = self.space.take(asize)
        self.disk.write(VDEV_DATA + offset, data if asize == stored else data.ljust(asize, b"\0"))
        self.charge(asize, stored, sealed.lsize)
        places = (asize >> 9, offset >> 9, 0, 0, 0, 0)
        pointer = self._pointer(places, sealed, stored, ObjectType.FILE_CONTENTS, 0, 1)
        return pointer, asize, self.disk.base + VDEV_DATA + offset

    def take_over(self, kept: Kept, source: int) -> tuple[bytes, int, int]:
        """Copy a block of a file from an older image; return what `place` does."""
        asize = kept.stored + self._mask & ~self._mask
        offset = self.space.take(asize)
        self.disk.copy(VDEV_DATA + offset, source, kept.offset, asize)
        self.charge(asize, kept.stored, kept.lsize)
        places = (asize >> 9, offset >> 9, 0, 0, 0, 0)
        pointer = self._pointer(places, kept, kept.stored, ObjectType.FILE_CONTENTS, 0, 1)
        return pointer, asize, self.disk.base + VDEV_DATA + offset

    def store(self, data: bytes, kind: int, *, level: int = 0, fill: int = 1) -> tuple[bytes, int]:
        """Write two copies of a block of metadata; return its pointer and the space that both take."""
        sealed = self.codec.seal(data)
        stored = len(sealed.data)
        asize = stored + self._mask & ~self._mask
        places = (self.space.take(asize), self.space.take_copy(asize))
        padded = sealed.data.ljust(asize, b"\0")
        self.disk.write(VDEV_DATA + places[0], padded)
        self._copies.write(VDEV_DATA + places[1], padded)
        self.charge(2 * asize, stored, stored)  # metadata counts as stored, even if compressed
        words = (asize >> 9, places[0] >> 9, asize >> 9, places[1] >> 9, 0, 0)
        return self._pointer(words, sealed, stored, kind, level, fill), 2 * asize

    def flush(self) -> None:
        """Hand everything that waits to the stream."""
        self.disk.flush()
        self._copies.flush()

    def charge(self, used: int, compressed: int, uncompressed: int) -> None:
        """Count space that was taken."""
        usage = self.usage
        usage.used += used
        usage.compressed += compressed
        usage.uncompressed += uncompressed

    def _pointer(
        self, places: tuple[int, ...], sealed: Sealed | Kept, stored: int, kind: int, level: int, fill: int
    ) -> bytes:
        properties = (
            (sealed.lsize >> 9) - 1
            | (stored >> 9) - 1 << 16
            | sealed.compression << 32
            | self.codec.checksum << 40
            | kind << 48
            | level << 56
            | 1 << 63
        )
        return POINTER.pack(*places, properties, 0, 0, 0, BIRTH, fill, *sealed.words)
