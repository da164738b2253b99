"""The tree that a filesystem is written from: directories, links, and where files get their bytes.

>>> tree = Directory({b"hello": Content(b"hi there", mode=0o755)})
>>> tree.add(b"/etc/motd", Symlink(b"../hello"))
>>> for path, node in tree.walk():
...     print(path.decode(), oct(node.mode) if not isinstance(node, Symlink) else node.target.decode())
/ 0o755
/etc 0o755
/etc/motd ../hello
/hello 0o755
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import MAX_SYMLINKS, show

__all__ = ["Content", "Directory", "HostFile", "Node", "Symlink", "TreeError", "check_name"]

# Linux, OSv and the lab kernel agree on these: NAME_MAX, and PATH_MAX with its NUL.
MAX_NAME = 255
MAX_PATH = 4095


class TreeError(OsvlabError, ValueError):
    """A tree cannot be written: a name, a link or a file in it does not fit the format."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file whose bytes are read from the host when the filesystem is written.

    Attributes
    ----------
    path
        Path on the host, as bytes.
    size
        Its size in bytes when the tree was made. If it differs when it is read, that is an error.
    mode
        Permission bits.
    mtime
        When it was last changed, in nanoseconds since 1970.
    inode
        Device and inode on the host of a file that has several names there: those with the same
        one become one file with several names, where the format can do that.
    version
        Device, inode, and when anything of it last changed, in nanoseconds since 1970: while these and
        the size stay the same, so do its bytes. None where that is not known.
    """

    path: bytes
    size: int
    mode: int = 0o644
    mtime: int = 0
    inode: tuple[int, int] | None = None
    version: tuple[int, int, int] | None = field(default=None, compare=False)

    @classmethod
    def at(cls, path: str | bytes | os.PathLike[str], found: os.stat_result | None = None) -> HostFile:
        """Return the node of a file on the host, with its attributes.

        Parameters
        ----------
        path
            The file.
        found
            What `os.stat` says of it, if that is known already.

        Examples
        --------
        >>> HostFile.at("/dev/null").size
        0
        """
        if found is None:
            found = os.stat(path)
        shared = (found.st_dev, found.st_ino) if found.st_nlink > 1 else None
        version = found.st_dev, found.st_ino, found.st_ctime_ns
        mode = stat.S_IMODE(found.st_mode)
        return cls(os.fsencode(path), found.st_size, mode, found.st_mtime_ns, shared, version)


@dataclass(frozen=True, slots=True)
class Content:
    """A file whose bytes are given here."""

    data: bytes
    mode: int = 0o644
    mtime: int = 0

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link to a path in the guest."""

    target: bytes
    mtime: int = 0


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory: nodes by name.

    Examples
    --------
    >>> root = Directory()
    >>> root.add(b"/etc/hosts", Content(b"127.0.0.1 localhost"))
    >>> [path for path, node in root.walk()]
    [b'/', b'/etc', b'/etc/hosts']
    """

    children: dict[bytes, Node] = field(default_factory=dict)
    mode: int = 0o755
    mtime: int = 0

    def entries(self) -> list[tuple[bytes, Node]]:
        """Return names and nodes, sorted by bytes: the same tree always gives the same image."""
        return sorted(self.children.items())

    def add(self, path: bytes, node: Node) -> None:
        """Put a node at a path, making the directories on the way.

        Raises
        ------
        TreeError
            A name on the path is unusable, or something on the way is no directory.
        """
        *parents, name = [part for part in path.split(b"/") if part] or [b""]
        here = self
        for parent in parents:
            check_name(parent, path)
            found = here.children.setdefault(parent, Directory())
            if not isinstance(found, Directory):
                raise TreeError(
                    f"{show(path)} needs {show(parent)} to be a directory, and it is none",
                    hint="Rename one.",
                )
            here = found
        check_name(name, path)
        here.children[name] = node

    def find(self, path: bytes) -> Node | None:
        """Return the node at a path without following links, or None."""
        here: Node = self
        for name in path.split(b"/"):
            if name:
                found = here.children.get(name) if isinstance(here, Directory) else None
                if found is None:
                    return None
                here = found
        return here

    def resolve(self, path: bytes) -> tuple[bytes, Node] | None:
        """Return path and node of what a path leads to, following links, or None.

        Examples
        --------
        >>> root = Directory({b"bin": Symlink(b"usr/bin")})
        >>> root.add(b"/usr/bin/sh", Content(b"..."))
        >>> root.resolve(b"/bin/sh")[0]
        b'/usr/bin/sh'
        """
        pending = path.split(b"/")[::-1]
        trail: list[tuple[bytes, Node]] = [(b"", self)]
        links = 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del trail[max(1, len(trail) - 1) :]
                continue
            base, here = trail[-1]
            found = here.children.get(name) if isinstance(here, Directory) else None
            if found is None:
                return None
            if not isinstance(found, Symlink):
                trail.append((base + b"/" + name, found))
                continue
            links += 1
            if links > MAX_SYMLINKS:
                return None
            pending += found.target.split(b"/")[::-1]
            if found.target.startswith(b"/"):
                del trail[1:]
        return trail[-1][0] or b"/", trail[-1][1]

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Yield this directory as ``b"/"`` and all below it with their paths, parents first, sorted."""
        pending: list[tuple[bytes, Node]] = [(b"/", self)]
        while pending:
            path, node = pending.pop()
            yield path, node
            if isinstance(node, Directory):
                base = path.rstrip(b"/") + b"/"
                pending += [(base + name, child) for name, child in reversed(node.entries())]


Node = Directory | HostFile | Content | Symlink


def check_name(name: bytes, path: bytes) -> None:
    """Raise unless a guest can hold a file of that name; `path` says where it stands.

    Raises
    ------
    TreeError
        The name is empty, ``.``, ``..``, has a slash or NUL, or is longer than 255 bytes.

    Examples
    --------
    >>> check_name(b"x" * 300, b"/lib/" + b"x" * 300)
    Traceback (most recent call last):
    ...
    osvlab.filesystems.tree.TreeError: name too long (300 bytes, at most 255): /lib/xxxxxxxxxxxxxxxxxxx...
    hint: Rename it.
    """
    if len(name) > MAX_NAME:
        cut = path if len(path) <= 80 else path[:24] + b"..."
        raise TreeError(
            f"name too long ({len(name)} bytes, at most {MAX_NAME}): {show(cut)}", hint="Rename it."
        )
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise TreeError(f"not a file name: {name!r} (in {show(path)!r})", hint="Rename it.")
    if len(path) > MAX_PATH:
        raise TreeError(
            f"path too long ({len(path)} bytes, at most {MAX_PATH}): {show(path[:60])}...",
            hint="Put the files less deep.",
        )


def check_target(target: bytes, path: bytes) -> None:
    """Raise unless a guest can hold a symbolic link to `target` at `path`.

    Raises
    ------
    TreeError
        The target is empty, has a NUL, or is longer than a path may be.
    """
    if not target or b"\0" in target or len(target) > MAX_PATH:
        raise TreeError(
            f"symbolic link {show(path)} has a target of {len(target)} bytes, usable are 1 to {MAX_PATH}",
            hint="Remove it, or point it somewhere.",
        )
