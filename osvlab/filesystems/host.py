"""Reading a directory of the host into a tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from osvlab.filesystems.base import show
from osvlab.filesystems.tree import (
    Directory,
    HostFile,
    Node,
    Symlink,
    TreeError,
    check_name,
    check_target,
)
from osvlab.paths import PathNotFoundError, kind_of_file

__all__ = ["read_tree"]

_SHOWN = 20
_ALL_MAY_READ = 0o444


def read_tree(
    directory: str | os.PathLike[str],
    *,
    skip: Callable[[bytes], bool] | None = None,
    may_be_empty: bool = False,
) -> Directory:
    """Return the tree of a directory. Files are looked at, and read when the tree is written.

    Parameters
    ----------
    directory
        The directory.
    skip
        Says of a path, counted from the directory and beginning with a slash, whether it is left
        out, with all that is below it.
    may_be_empty
        Whether an empty directory is no error.

    Raises
    ------
    PathNotFoundError
        The directory is not there.
    TreeError
        It is empty or no directory, or holds sockets, devices, unreadable files or names
        that are too long; all are listed.

    Examples
    --------
    >>> os.makedirs("app/etc")
    >>> _ = Path("app/etc/hosts").write_text("127.0.0.1")
    >>> [(path, type(node).__name__) for path, node in read_tree("app").walk()]
    [(b'/', 'Directory'), (b'/etc', 'Directory'), (b'/etc/hosts', 'HostFile')]
    """
    if not os.fspath(directory):  # pathlib takes it for the current one
        raise PathNotFoundError("no such directory: ''", hint="Name one; '.' is the one you are in.")
    directory = Path(directory)
    try:
        found = directory.stat()
    except FileNotFoundError:
        raise PathNotFoundError(f"no such directory: {directory}", hint="Check the path.") from None
    except OSError as error:
        raise TreeError(
            f"cannot read the directory {directory}: {error.strerror}",
            hint="Check path and permissions.",
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise TreeError(
            f"not a directory: {directory}",
            hint="An image is made of a directory; put the program into one of its own.",
        )
    problems: list[str] = []
    tree = replace(
        _scan(os.fsencode(directory), problems, skip),
        mode=stat.S_IMODE(found.st_mode),
        mtime=found.st_mtime_ns,
    )
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        listed = "\n  ".join(sorted(problems)[:_SHOWN] + more)
        raise TreeError(
            f"{directory} holds what an image cannot:\n  {listed}",
            hint="Remove these, or copy the rest into a directory of its own.",
        )
    if not tree.children and not may_be_empty:
        raise TreeError(
            f"the directory is empty: {directory}",
            hint=f"Put a program into it: gcc -o {directory}/hello hello.c",
        )
    return tree


def _scan(top: bytes, problems: list[str], skip: Callable[[bytes], bool] | None) -> Directory:
    """Read a directory tree; whatever an image cannot hold goes to `problems`."""
    root = Directory()
    pending = [(top, b"/", root)]
    while pending:
        host, guest, directory = pending.pop()
        try:
            with os.scandir(host) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{show(guest)}: cannot be read ({error.strerror})")
            continue
        for entry in entries:
            path = guest + entry.name
            if skip is not None and skip(path):
                continue
            try:
                check_name(entry.name, path)
                node = _node(entry, path)
            except TreeError as error:
                problems.append(error.message)
                continue
            except OSError as error:
                problems.append(f"{show(path)}: cannot be read ({error.strerror})")
                continue
            if isinstance(node, str):
                problems.append(f"{show(path)}: {node}")
                continue
            directory.children[entry.name] = node
            if isinstance(node, Directory):
                pending.append((entry.path, path + b"/", node))
    return root


def _node(entry: os.DirEntry[bytes], path: bytes) -> Node | str:
    """Return what an entry of a directory becomes, or in words why it cannot."""
    if entry.is_symlink():
        target = os.readlink(entry.path)
        check_target(target, path)
        return Symlink(target, entry.stat(follow_symlinks=False).st_mtime_ns)
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        return Directory(mode=stat.S_IMODE(found.st_mode), mtime=found.st_mtime_ns)
    if not stat.S_ISREG(found.st_mode):
        return kind_of_file(found.st_mode)
    # Who reads it is told if what all may read cannot be read all the same.
    if found.st_mode & _ALL_MAY_READ != _ALL_MAY_READ and not os.access(
        entry.path, os.R_OK, effective_ids=True
    ):
        return "cannot be read (Permission denied)"
    return HostFile.at(entry.path, found)
