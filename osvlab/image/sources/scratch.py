"""Where the contents of files stay that have no file of their own on the host, such as those in archives.

Small ones stay in memory. Large ones go to a private folder in the cache that is removed with the last
recipe that uses it. A folder belongs to the Python that holds the lock beside it; the kernel drops the lock
when that process dies, however it dies, and the next Python that needs such a folder sweeps what is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Content, HostFile
from osvlab.paths import cache_dir, one_at_a_time

__all__ = ["Scratch"]

_SMALL = 64 << 10
_IN_MEMORY = 32 << 20


class Scratch:
    """Keeps contents for as long as somebody keeps it.

    Examples
    --------
    >>> scratch = Scratch()
    >>> scratch.keep([b"hello, ", b"world"], 12, mode=0o755)
    Content(data=b'hello, world', mode=493, mtime=0)
    >>> scratch.keep([bytes(1000)] * 100, 100_000).size
    100000
    """

    def __init__(self) -> None:
        self._in_memory = 0
        self._count = 0
        self._folder: Path | None = None
        self._finalizer: weakref.finalize[[Path, Path, int, int], Scratch] | None = None

    def close(self) -> None:
        """Remove what was kept at once, not only when the last one has forgotten it."""
        if self._finalizer is not None:
            self._finalizer()

    def keep(
        self,
        pieces: Iterable[bytes],
        size: int,
        mode: int = 0o644,
        mtime: int = 0,
        inode: tuple[int, int] | None = None,
    ) -> Content | HostFile:
        """Return a node of `size` bytes that come in pieces; with an `inode` it is always a file.

        Raises
        ------
        OsvlabError
            There is no room for them.
        """
        return self.keep_data(_placed(pieces), size, mode, mtime, inode)

    def keep_data(
        self,
        pieces: Iterable[tuple[int, bytes]],
        size: int,
        mode: int = 0o644,
        mtime: int = 0,
        inode: tuple[int, int] | None = None,
    ) -> Content | HostFile:
        r"""Return a node as `keep` does, of pieces that say where they are; what is between them is zero.

        Examples
        --------
        >>> Scratch().keep_data([(2, b"there")], 8)
        Content(data=b'\x00\x00there\x00', mode=420, mtime=0)
        """
        if inode is None and size <= _SMALL and self._in_memory + size <= _IN_MEMORY:
            self._in_memory += size
            data = bytearray(size)
            for position, piece in pieces:
                data[position : position + len(piece)] = piece
            return Content(bytes(data), mode, mtime)
        path = self._new_path()
        try:
            with open(path, "xb") as file:
                for position, piece in pieces:
                    if piece.count(0) < len(piece):  # else it is a hole
                        file.seek(position)
                        file.write(piece)
                file.truncate(size)
        except OSError as error:
            if isinstance(error, OsvlabError):
                raise
            raise OsvlabError(
                f"cannot unpack into {path.parent}: {error.strerror}",
                hint="Make room there, or set XDG_CACHE_HOME to a folder that has it.",
            ) from error
        return HostFile(os.fsencode(path), size, mode, mtime, inode)

    def folder(self) -> Path:
        """Return a new, empty folder that lives as long."""
        path = self._new_path()
        path.mkdir(mode=0o700)
        return path

    def _new_path(self) -> Path:
        folder = self._folder or self._new_folder()
        self._count += 1
        return folder / str(self._count)  # names from archives never become names on the host

    def _new_folder(self) -> Path:
        root = cache_dir("unpacked")
        folder = root / secrets.token_hex(8)
        lock_path = folder.with_suffix(".lock")
        with one_at_a_time(root):  # nobody sweeps between two of these lines
            _sweep(root)
            lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder.mkdir(mode=0o700)
        self._finalizer = weakref.finalize(self, _remove, folder, lock_path, lock, os.getpid())
        self._folder = folder
        return folder


def _placed(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    position = 0
    for piece in pieces:
        yield position, piece
        position += len(piece)


def _remove(folder: Path, lock_path: Path, lock: int, owner: int) -> None:
    os.close(lock)
    if os.getpid() == owner:  # a forked child leaves its parent's alone
        shutil.rmtree(folder, ignore_errors=True)
        lock_path.unlink(missing_ok=True)


def _sweep(root: Path) -> None:
    """Remove the folders of Pythons that died."""
    for lock_path in root.glob("*.lock"):
        if lock_path.name == ".lock":
            continue
        with contextlib.suppress(OSError):  # its owner holds it, or removes it at this moment
            lock = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
                lock_path.unlink(missing_ok=True)
            finally:
                os.close(lock)
