"""Blocks of the image before: what did not change need not be read and compressed again.

A record, beside other caches, says for each file of an image which blocks it became and where they
lie. When the image is built again, a file that is still the same (device, inode, time of its last
change of any kind, size) gives the same blocks; they are taken from the old image and checked against
their checksums, so it does not matter if a guest has written to that since. The result is, byte for byte,
what building it afresh would give.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from osvlab.filesystems.tree import HostFile
from osvlab.filesystems.zfs.writer.blocks import Codec, Sealed
from osvlab.filesystems.zfs.writer.plan import Options
from osvlab.paths import cache_dir, replacing

__all__ = ["Kept", "Reuse"]

_MAGIC = b"osvlab blocks 1\n"
_HEAD = struct.Struct("<16s32s32sQ")  # magic, digest of what follows, what the blocks depend on, files
_FILE = struct.Struct("<4QQ")
_BLOCK = struct.Struct("<2QIIQ4Q")
# A file may change again while its clock, which ticks up to a hundred times a second, shows the same time.
_TICK = 20_000_000

Key = tuple[int, int, int, int]


class Kept(NamedTuple):
    """A block in the old image.

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
    words: tuple[int, int, int, int]


class Reuse:
    """What can be taken from the image that an output replaces, and what will be known of the new one.

    Parameters
    ----------
    output
        The image.
    options
        How its pool is written.
    """

    def __init__(self, output: Path, options: Options) -> None:
        place = os.fsencode(os.path.realpath(output))
        self._record = cache_dir("blocks") / hashlib.sha256(place).hexdigest()[:32]
        self._needs = _needs(options)
        self._fd = -1
        self._files: dict[Key, list[Kept]] = {}
        self._new: list[tuple[Key, list[Kept]]] = []
        self._started = time.time_ns()
        try:
            self._fd = os.open(output, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            self._files = _load(self._record.read_bytes(), self._needs)
        except OSError:
            pass  # there is no image yet, or nothing is known of it

    def close(self) -> None:
        """Let go of the old image."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def find(self, file: HostFile) -> list[Kept] | None:
        """Return the blocks that a file became, if it is the same since."""
        return self._files.get((*file.version, file.size)) if file.version is not None else None

    def read(self, kept: Kept, codec: Codec) -> Sealed | None:
        """Return a block of the old image; None if it is no longer there."""
        data = os.pread(self._fd, kept.stored, kept.offset)
        if len(data) != kept.stored or codec.sum(data) != kept.words:
            return None
        return Sealed(data, kept.lsize, kept.compression, kept.words)

    def keep(self, file: HostFile, blocks: list[Kept]) -> None:
        """Note which blocks of the new image a file became."""
        if file.version is not None and file.version[2] < self._started - _TICK:
            self._new.append(((*file.version, file.size), blocks))

    def save(self) -> None:
        """Write down what is known of the new image, which is in its place now."""
        body = b"".join(_dump(self._new))
        digest = hashlib.sha256(body).digest()
        with replacing(self._record) as temporary:
            temporary.write_bytes(_HEAD.pack(_MAGIC, digest, self._needs, len(self._new)) + body)


def _needs(options: Options) -> bytes:
    """Return a digest of what blocks depend on besides the bytes of files."""
    told = f"{options.compression} {options.checksum} {options.ashift}"
    if options.compression == "lz4":
        import lz4

        told += f" {lz4.library_version_number()}"
    elif options.compression is not None:
        told += f" {zlib.ZLIB_RUNTIME_VERSION}"
    return hashlib.sha256(told.encode()).digest()


def _dump(files: Iterable[tuple[Key, list[Kept]]]) -> Iterable[bytes]:
    for key, blocks in files:
        yield _FILE.pack(*key, len(blocks))
        for record, offset, stored, compression, lsize, words in blocks:
            yield _BLOCK.pack(record, offset, stored, compression, lsize, *words)


def _load(data: bytes, needs: bytes) -> dict[Key, list[Kept]]:
    """Return what a record says; nothing if it is of another kind, or damaged."""
    if len(data) < _HEAD.size:
        return {}
    magic, digest, needed, count = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or needed != needs or hashlib.sha256(body).digest() != digest:
        return {}
    files: dict[Key, list[Kept]] = {}
    at = 0
    for _ in range(count):
        device, inode, changed, size, blocks = _FILE.unpack_from(body, at)
        at += _FILE.size
        end = at + blocks * _BLOCK.size
        files[device, inode, changed, size] = [
            Kept(record, offset, stored, compression, lsize, (a, b, c, d))
            for record, offset, stored, compression, lsize, a, b, c, d in _BLOCK.iter_unpack(body[at:end])
        ]
        at = end
    return files
