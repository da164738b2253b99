"""Whether a filesystem that somebody else has filled holds the tree that it was given."""

from __future__ import annotations

from osvlab.filesystems.base import Entry, Filesystem, Kind, show
from osvlab.filesystems.tree import Directory, Node, Symlink

__all__ = ["first_difference"]

_RIGHTS = 0o777


def first_difference(tree: Directory, files: Filesystem, *, all_of_it: bool = True) -> str | None:
    """Say of the first node that is not there as it should be, what it is; None when all are.

    Contents are not compared: their checksums are the filesystem's matter, their lengths are not.

    Parameters
    ----------
    tree
        What should be there. There may be more.
    files
        What is.
    all_of_it
        Whether times, the root's mode, and setuid, setgid and sticky bits count.

    Examples
    --------
    >>> from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
    >>> from osvlab.filesystems.tree import Content
    >>> with open("root.bootfs", "wb") as file:
    ...     _ = write_bootfs(Directory({b"hello": Content(b"hi")}), file)
    >>> files = BootfsReader("root.bootfs")
    >>> first_difference(Directory({b"hello": Content(b"hi there")}), files)
    '/hello has 2 bytes, not 8'
    """
    there = {entry.path: entry for entry in files.walk()}
    for path, node in tree.walk():
        found = there.get(path)
        if found is None:
            return f"{show(path)} is missing"
        different = _difference(node, found, files)
        if different is None and (all_of_it or path != b"/"):
            different = _attributes(node, found, all_of_it)
        if different is not None:
            return f"{show(path)} {different}"
    return None


def _difference(node: Node, found: Entry, files: Filesystem) -> str | None:
    match node:
        case Directory():
            return None if found.kind is Kind.DIRECTORY else f"is a {found.kind}, not a directory"
        case Symlink():
            same = found.kind is Kind.SYMLINK and files.target(found) == node.target
            return None if same else f"is no symbolic link to {show(node.target)}"
    if found.kind is not Kind.FILE:
        return f"is a {found.kind}, not a file"
    return None if found.size == node.size else f"has {found.size} bytes, not {node.size}"


def _attributes(node: Node, found: Entry, all_of_it: bool) -> str | None:
    if not isinstance(node, Symlink) and found.permissions is not None:
        mask = 0o7777 if all_of_it else _RIGHTS
        if found.permissions & mask != node.mode & mask:
            return f"has the mode {found.permissions:o}, not {node.mode:o}"
    if all_of_it and found.modified is not None and found.modified != node.mtime:
        return f"is of {found.modified // 10**9}, not of {node.mtime // 10**9} (seconds since 1970)"
    return None
