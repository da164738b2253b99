"""Blocks of the image before: what did not change need not be read and compressed again.

A record, beside other caches, says for each file of an image which blocks it became and where they
lie. When the image is built again, a file that is still the same (device, inode, time of its last
change of any kind, size) gives the same blocks. They are copied from the old image; if anybody has written
to that since, such as a guest, each is checked against its checksum first. The result is, byte for byte,
what building it afresh would give.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
import zlib
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import HostFile
from osvlab.filesystems.zfs.writer.blocks import Codec, Kept, Sealed
from osvlab.filesystems.zfs.writer.plan import Options
from osvlab.paths import cache_dir, replacing

__all__ = ["Reuse"]

_MAGIC = b"osvlab blocks 2\n"
_HEAD = struct.Struct("<16s32s32s5Q")  # magic, digest of the rest, what blocks depend on, the image, files
_FILE = struct.Struct("<4QQ")
_BLOCK = struct.Struct("<2QIIQ4Q")
# A file may change again while its clock, which ticks up to a hundred times a second, shows the same time.
_TICK = 20_000_000
_MOST_RECORDS = 100

Key = tuple[int, int, int, int]


class Reuse:
    """What can be taken from the image that an output replaces, and what will be known of the new one.

    Parameters
    ----------
    output
        The image.
    options
        How its pool is written.

    Attributes
    ----------
    untouched
        Whether nobody has written to the old image since: its blocks need not be checked.
    """

    def __init__(self, output: Path, options: Options) -> None:
        place = hashlib.sha256(os.fsencode(os.path.realpath(output))).hexdigest()[:32]
        self._needs = _needs(options)
        self._fd = -1
        self._files: dict[Key, list[Kept]] = {}
        self.untouched = False
        self._new: list[bytes] = []
        self._new_files = 0
        self._started = time.time_ns()
        self._record: Path | None = None
        try:
            self._record = cache_dir("blocks") / place
            self._fd = os.open(output, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            self._files, image = _load(self._record.read_bytes(), self._needs)
            self.untouched = image == _identity(os.fstat(self._fd))
        except (OSError, OsvlabError):
            pass  # there is no image yet, or nothing is known of it, or no place to keep that

    @property
    def fd(self) -> int:
        """Descriptor of the old image; -1 if there is none."""
        return self._fd

    @property
    def knows_any(self) -> bool:
        """Whether anything is known of an old image."""
        return bool(self._files)

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
        if file.version is None or file.version[2] >= self._started - _TICK:
            return
        self._new_files += 1
        self._new.append(_FILE.pack(*file.version, file.size, len(blocks)))
        self._new += [_BLOCK.pack(*block[:-1], *block.words) for block in blocks]

    def save(self, written: os.stat_result) -> None:
        """Write down what is known of the new image, as it was written, if there is room for it.

        It is in its place now, or another is that was built at the same time.
        """
        if self._record is None:
            return
        self._record.unlink(missing_ok=True)
        image = _identity(written)
        rest = struct.pack("<5Q", *image, self._new_files) + b"".join(self._new)
        with contextlib.suppress(OSError, OsvlabError), replacing(self._record) as temporary:
            temporary.write_bytes(_MAGIC + hashlib.sha256(rest).digest() + self._needs + rest)
        _forget_oldest(self._record.parent)


def _forget_oldest(folder: Path) -> None:
    """Keep the records of the images that were built last."""
    ages = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # somebody else forgets too
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages)[:-_MOST_RECORDS]:
        path.unlink(missing_ok=True)


def _needs(options: Options) -> bytes:
    """Return a digest of what blocks depend on besides the bytes of files."""
    told = f"{options.compression} {options.checksum} {options.ashift}"
    if options.compression == "lz4":
        import lz4

        told += f" {lz4.library_version_number()}"
    elif options.compression is not None:
        told += f" {zlib.ZLIB_RUNTIME_VERSION}"
    return hashlib.sha256(told.encode()).digest()


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _load(data: bytes, needs: bytes) -> tuple[dict[Key, list[Kept]], tuple[int, ...]]:
    """Return what a record says of files, and of which image; nothing if it is another's, or damaged."""
    if len(data) < _HEAD.size:
        return {}, ()
    magic, digest, needed, *image, count = _HEAD.unpack_from(data)
    rest = memoryview(data)[_HEAD.size - 40 :]
    if magic != _MAGIC or needed != needs or hashlib.sha256(rest).digest() != digest:
        return {}, ()
    files: dict[Key, list[Kept]] = {}
    at = _HEAD.size
    for _ in range(count):
        device, inode, changed, size, blocks = _FILE.unpack_from(data, at)
        at += _FILE.size
        end = at + blocks * _BLOCK.size
        files[device, inode, changed, size] = [
            Kept(record, offset, stored, compression, lsize, (a, b, c, d))
            for record, offset, stored, compression, lsize, a, b, c, d in _BLOCK.iter_unpack(data[at:end])
        ]
        at = end
    return files, tuple(image)
