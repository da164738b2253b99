"""Write cpio archives as a stream; see `format` for how they lie.

OSv's upload daemon (tools/cpiod) reads mode, size and name of each record, and nothing else.
So a file with several names is sent whole under each of them; who understands the inode number
makes them one.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO

from osvlab.filesystems.base import show
from osvlab.filesystems.cpio.format import HEADER, LARGEST, MAGIC, TRAILER, padded
from osvlab.filesystems.output import Output
from osvlab.filesystems.tree import Content, Directory, HostFile, Node, Symlink, TreeError

__all__ = ["cpio_size", "write_cpio"]


def write_cpio(
    tree: Directory,
    stream: BinaryIO,
    *,
    progress: Callable[[int, int], object] | None = None,
    entry: Callable[[bytes], object] | None = None,
    root: bool = False,
) -> int:
    """Write a tree as a cpio archive and return how many bytes that is.

    Parameters
    ----------
    tree
        What to write. Parents come before their children, names in the order of their bytes.
    stream
        Where to.
    progress
        Is told after each record how many bytes are written, of how many.
    entry
        Is told each record's path before it is written.
    root
        Whether the tree's own mode and time go along, as a record called ``/``.

    Raises
    ------
    TreeError
        A file is 4 GiB or larger, which the format cannot hold.
    ChangedFileError, UnreadableFileError
        A file on the host changed or cannot be read.

    Examples
    --------
    >>> import io
    >>> archive = io.BytesIO()
    >>> write_cpio(Directory({b"hello": Content(b"hi")}), archive)
    248
    >>> archive.getvalue()[110:116]
    b'/hello'
    """
    output = Output(stream)
    total = cpio_size(tree, root=root) if progress is not None else 0
    inodes = _Inodes(tree)
    for path, node in tree.walk():
        if path == b"/" and not root:
            continue
        if entry is not None:
            entry(path)
        _write_record(output, inodes, path, node)
        if progress is not None:
            progress(output.written, total)
    _write_header(output, TRAILER, 0, 0)
    output.flush()
    if progress is not None:
        progress(output.written, total)
    return output.written


def cpio_size(tree: Directory, *, root: bool = False) -> int:
    """Return how many bytes `write_cpio` will write.

    Examples
    --------
    >>> cpio_size(Directory())  # what says that it ends
    124
    """
    sizes = (_record_size(path, _length(node)) for path, node in tree.walk() if root or path != b"/")
    return sum(sizes) + _record_size(TRAILER, 0)


def _record_size(name: bytes, length: int) -> int:
    return padded(HEADER + len(name) + 1) + padded(length)


def _length(node: Node) -> int:
    match node:
        case Directory():
            return 0
        case Symlink():
            return len(node.target)
        case Content() | HostFile():
            return node.size


class _Inodes:
    """Numbers for the files of a tree: one number for all names of the same file."""

    def __init__(self, tree: Directory) -> None:
        self._names = Counter(
            node.inode for _, node in tree.walk() if isinstance(node, HostFile) and node.inode
        )
        self._numbers: dict[tuple[int, int], int] = {}
        self._last = 0

    def of(self, node: Node) -> tuple[int, int]:
        """Return a node's number, and how many names it has."""
        shared = node.inode if isinstance(node, HostFile) else None
        if shared in self._numbers:
            return self._numbers[shared], self._names[shared]
        self._last += 1
        if shared is not None:
            self._numbers[shared] = self._last
        return self._last, self._names[shared] if shared is not None else 1


def _write_record(output: Output, inodes: _Inodes, path: bytes, node: Node) -> None:
    length = _length(node)
    if length > LARGEST:
        raise TreeError(
            f"{show(path)} has {length} bytes, more than the 4 GiB that a cpio archive can hold of one file",
            hint="Put it into the image instead.",
        )
    number, links = inodes.of(node)
    seconds = max(0, min(node.mtime // 10**9, LARGEST))
    _write_header(output, path, _mode(node), length, number, links, seconds)
    match node:
        case Symlink():
            output.write(node.target)
        case Content():
            output.write(node.data)
        case HostFile():
            output.copy(node)
    output.zeros(-length % 4)


def _mode(node: Node) -> int:
    match node:
        case Directory():
            return stat.S_IFDIR | node.mode
        case Symlink():
            return stat.S_IFLNK | 0o777
        case Content() | HostFile():
            return stat.S_IFREG | node.mode


def _write_header(
    output: Output, name: bytes, mode: int, length: int, number: int = 0, links: int = 1, mtime: int = 0
) -> None:
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (number, mode, 0, 0, links, mtime, length, 0, 0, 0, 0, len(name) + 1, 0)
    output.write(MAGIC + b"".join(b"%08X" % value for value in fields) + name)
    output.zeros(padded(HEADER + len(name) + 1) - HEADER - len(name))
