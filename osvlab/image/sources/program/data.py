"""Data that goes into an image with a program: files, folders and patterns of this host."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from osvlab.filesystems.base import show
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Directory, HostFile, Symlink, TreeError
from osvlab.image.collection import RecipeError
from osvlab.image.sources.program.host_tree import HostTree
from osvlab.paths import PathNotFoundError

__all__ = ["Data", "Exclusion", "add_data", "asked_paths"]

_Path = str | os.PathLike[str]
Data = Iterable[_Path | tuple[str, _Path]] | Mapping[str, _Path]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Patterns of what to leave out.

    One without a slash is compared with the names of files and folders, one with a slash with whole
    paths; ``*`` also stands for slashes.

    Examples
    --------
    >>> leaves_out = Exclusion(("__pycache__", "/usr/lib/*/test"))
    >>> leaves_out.covers(b"/srv/__pycache__"), leaves_out.covers(b"/usr/lib/python3.11/test")
    (True, True)
    >>> leaves_out.covers(b"/srv/test")
    False
    """

    patterns: tuple[str, ...] = ()

    def covers(self, path: bytes) -> bool:
        """Whether a path is to be left out."""
        whole = os.fsdecode(path)
        name = os.path.basename(whole)
        return any(
            fnmatch.fnmatchcase(whole if "/" in pattern else name, pattern) for pattern in self.patterns
        )


def asked_paths(asked: str | os.PathLike[str]) -> list[bytes]:
    """Return the paths that a path or a pattern (``*``, ``?``, ``[...]``, ``**``) stands for, sorted.

    Raises
    ------
    PathNotFoundError
        There are none.
    """
    text = os.fspath(asked)
    if text and os.path.lexists(text):
        return [os.fsencode(text)]
    found = sorted(os.fsencode(path) for path in glob.glob(text, recursive=True)) if text else []
    if not found:
        pattern = bool(text) and glob.has_magic(text)
        raise PathNotFoundError(
            f"nothing matches the pattern {text}" if pattern else f"no such file or folder: {text!r}",
            hint="Check the path.",
        )
    return found


def add_data(tree: HostTree, data: Data, exclusion: Exclusion) -> list[tuple[bytes, bytes]]:
    """Add data to an image.

    Files that links in a folder lead to come along, wherever they are; folders do not.

    Parameters
    ----------
    tree
        What it is added to.
    data
        Paths and patterns, some of them perhaps in pairs with a place in the guest; or a mapping, from
        places to paths.
    exclusion
        What is left out of folders and patterns.

    Returns
    -------
    list
        Of the regular files that are now there, the places in the guest and the paths on this host.

    Raises
    ------
    PathNotFoundError
        Something is not there.
    RecipeError
        A folder holds what an image cannot; all of it is listed.
    """
    added: list[tuple[bytes, bytes]] = []
    for place, asked in _items(data):
        matching = asked_paths(asked)
        reason = f"is asked for as data: {os.fspath(asked)}"
        for path in matching if len(matching) == 1 else [p for p in matching if not exclusion.covers(p)]:
            _check(path)
            if place is None:
                added += _add(tree, path, reason, exclusion)
            else:
                added += _add_at(tree, os.fsencode(place), path, reason, exclusion)
    return added


def _items(data: Data) -> Iterator[tuple[str | None, str | os.PathLike[str]]]:
    """Yield places in the guest, None where that is the one on the host, and what shall be there."""
    if isinstance(data, str | bytes):
        raise RecipeError(f"data is a list of paths, not {data!r}", hint=f"Write data=[{data!r}].")
    for item in data.items() if isinstance(data, Mapping) else data:
        place, asked = item if isinstance(item, tuple) else (None, item)
        if place is not None and not place.startswith("/"):
            raise RecipeError(
                f"{place!r} is no place in the guest: it does not start with a slash",
                hint="Write it like {'/place/in/the/guest': 'path/on/this/host'}.",
            )
        yield place, asked


def _check(path: bytes) -> None:
    real = os.path.realpath(path)
    top = real.split(b"/")[1]
    if top in (b"", b"proc", b"sys"):
        what = f"what this host's kernel says of itself, in /{show(top)}" if top else "all of this host"
        raise RecipeError(f"{show(path)} is {what}", hint="Name the files that the program needs.")


def _add(tree: HostTree, path: bytes, reason: str, exclusion: Exclusion) -> Iterator[tuple[bytes, bytes]]:
    place = tree.add(path, reason)
    if os.path.isdir(path):
        yield from _add_folder(tree, os.path.realpath(path), reason, exclusion)
    else:
        yield place, path


def _add_at(
    tree: HostTree, place: bytes, path: bytes, reason: str, exclusion: Exclusion
) -> Iterator[tuple[bytes, bytes]]:
    tree.add_as(place, path, reason)
    if os.path.isdir(path):
        tree.move(os.path.realpath(path), place)
        yield from _add_folder(tree, os.path.realpath(path), reason, exclusion)
    else:
        yield place, path


def _add_folder(
    tree: HostTree, folder: bytes, reason: str, exclusion: Exclusion
) -> Iterator[tuple[bytes, bytes]]:
    try:
        found = read_tree(
            os.fsdecode(folder), skip=lambda below: exclusion.covers(folder + below), may_be_empty=True
        )
    except TreeError as error:
        raise RecipeError(error.message, "Leave it out: exclude=['name', '/path/*'].") from error
    tree.files.folders = (*tree.files.folders, Path(os.fsdecode(folder)))
    for below, node in found.walk():
        path = folder + below
        if below == b"/":
            continue
        if isinstance(node, Symlink):
            real = os.path.realpath(path)
            if os.path.isfile(real) and not exclusion.covers(real):
                yield tree.add(path, reason), real
            else:
                tree.link(path, node.target, reason)
        elif isinstance(node, Directory):
            tree.files.add(tree.place(path), replace(node, children={}), reason)
        elif isinstance(node, HostFile):
            place = tree.place(path)
            if tree.files.find(place) != node:
                tree.files.add(place, node, reason)
            yield place, path
