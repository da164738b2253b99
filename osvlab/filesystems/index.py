"""The directories of an archive, which only lists paths: found in any order, parents often left out.

Invariant: every entry's parent is a directory of the index, so a path can be looked up name by name.
"""

from __future__ import annotations

from dataclasses import replace

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import Entry, Filesystem, Kind, show
from osvlab.filesystems.tree import MAX_NAME, MAX_PATH

__all__ = ["IndexedFilesystem", "PathError", "PathIndex", "parts_of"]

IMPLIED = 8
"""Directories without a record of their own that each record may bring along, besides the first 2,048.

A path of 4,095 bytes names 2,047 directories. Without a bound, an archive of such paths would become
a thousand times as large in memory as it is on disk.
"""


class PathError(OsvlabError, ValueError):
    """A path in an archive that cannot be; who reads the archive says where."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, hint="Make the archive again, or copy it again from where it came.")


def parts_of(name: bytes) -> list[bytes]:
    """Return the names in an archive's path, which may begin with ``/`` or ``./``.

    Raises
    ------
    PathError
        It leads upwards, or is longer than paths and names can be.

    Examples
    --------
    >>> parts_of(b"./etc/hosts")
    [b'etc', b'hosts']
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name:
        raise PathError(f"has the impossible name {name[:80]!r}")
    if len(name) > MAX_PATH or any(len(part) > MAX_NAME for part in parts):
        raise PathError(f"has a name of {len(name)} bytes, longer than names can be")
    return parts


class PathIndex:
    """Entries by directory and name, in the order in which they came.

    Examples
    --------
    >>> index = PathIndex()
    >>> index.place([b"usr", b"hello"], Entry(b"/usr/hello", Kind.FILE, 5, 0))
    >>> [entry.path for entry in index.list(index.root)]
    [b'/usr']
    """

    def __init__(self) -> None:
        self._children: dict[bytes, dict[bytes, Entry]] = {b"/": {}}
        self._root = Entry(b"/", Kind.DIRECTORY, 0, -1)
        self._allowed = 2048

    def place(self, parts: list[bytes], entry: Entry, *, again: bool = False) -> None:
        """Put an entry at its path, making the directories on the way that have no record yet.

        Parameters
        ----------
        parts
            The names in its path; none for the root itself.
        entry
            What is there; its path is ``b"/" + b"/".join(parts)``.
        again
            A path may come again: what comes later counts, as when an archive is unpacked.

        Raises
        ------
        PathError
            It is there already, or lies below what is no directory.
        """
        self._allowed += IMPLIED
        parent = b"/"
        for part in parts[:-1]:
            parent = self._parent(parent, part, entry.path)
        if not parts:
            if entry.kind is not Kind.DIRECTORY:
                raise PathError(f"makes the root a {entry.kind}")
            self._root = entry
            return
        siblings = self._children[parent]
        found = siblings.get(parts[-1])
        if found is not None:
            directories = (found.kind is Kind.DIRECTORY) + (entry.kind is Kind.DIRECTORY)
            if directories == 1 or (directories == 0 and not again):
                raise PathError(f"repeats the path {show(entry.path)}")
        siblings[parts[-1]] = entry
        if entry.kind is Kind.DIRECTORY:
            self._children.setdefault(entry.path, {})

    def _parent(self, parent: bytes, name: bytes, wanted: bytes) -> bytes:
        path = parent.rstrip(b"/") + b"/" + name
        found = self._children[parent].get(name)
        if found is None:
            self._allowed -= 1
            if self._allowed < 0:
                raise PathError("needs more directories than an archive of this length can have")
            self._children[parent][name] = Entry(path, Kind.DIRECTORY, 0, -1)
            self._children[path] = {}
        elif found.kind is not Kind.DIRECTORY:
            raise PathError(f"repeats the path {show(path)}: {show(wanted)} lies below a {found.kind}")
        return path

    @property
    def root(self) -> Entry:
        """The root directory."""
        return self._sized(self._root)

    def list(self, directory: Entry) -> list[Entry]:
        """Return the entries of a directory."""
        return [self._sized(entry) for entry in self._children[directory.path].values()]

    def get(self, directory: Entry, name: bytes) -> Entry | None:
        """Return a directory's entry of a name, or None."""
        found = self._children[directory.path].get(name)
        return None if found is None else self._sized(found)

    def _sized(self, entry: Entry) -> Entry:
        if entry.kind is not Kind.DIRECTORY:
            return entry
        return replace(entry, size=len(self._children[entry.path]))


class IndexedFilesystem(Filesystem):
    """An archive whose paths were put into an index when it was opened.

    A format fills `_index`, and supplies what else a `Filesystem` needs.
    """

    def __init__(self) -> None:
        self._index = PathIndex()

    @property
    def root(self) -> Entry:
        """The root directory, which need not have a record."""
        return self._index.root

    def list(self, directory: Entry) -> list[Entry]:
        """Return the entries of a directory in the order in which they are stored."""
        self._expect(directory, Kind.DIRECTORY)
        return self._index.list(directory)

    def lookup(self, directory: Entry, name: bytes) -> Entry | None:
        """Return a directory's entry of a name, or None."""
        self._expect(directory, Kind.DIRECTORY)
        return self._index.get(directory, name)
