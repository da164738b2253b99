"""Whether the files of a dataset hang together: names, link counts, parents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError, Kind
from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import ObjectType
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.posix import OBJECT_MASK, Attributes, Files
from osvlab.filesystems.zfs.zap import Zap

__all__ = ["check_links"]

_FILES = (ObjectType.ZNODE, ObjectType.SYSTEM_ATTRIBUTES)
_TYPE_OF_KIND = 12


@dataclass
class _Links:
    """What is known of the files of a dataset."""

    found: dict[int, Attributes] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    names: Counter[int] = field(default_factory=Counter)
    parents: dict[int, int] = field(default_factory=dict)
    folders: Counter[int] = field(default_factory=Counter)
    entries: Counter[int] = field(default_factory=Counter)


def check_links(files: Files, complain: Callable[[Exception], None]) -> dict[Kind, int]:
    """Check every file of a dataset, and return how many there are of each kind.

    Parameters
    ----------
    files
        The dataset.
    complain
        Is told what is wrong.
    """
    links = _Links()
    directories: list[Dnode] = []
    for dnode in files.objects.dnodes():
        if isinstance(dnode, OsvlabError):
            complain(dnode)
        elif dnode.bonus_type in _FILES:
            _file(files, dnode, links, directories, complain)
    roots = {files.root, files.master.number(b"SHARES")}
    waiting = _delete_queue(files, complain)
    for dnode in directories:
        try:
            for problem in _names(dnode, links):
                complain(problem)
        except OsvlabError as error:
            complain(error)
    for problem in _wrong(files, links, roots, waiting):
        complain(problem)
    return Counter(attributes.kind for attributes in links.found.values())


def _file(
    files: Files,
    dnode: Dnode,
    links: _Links,
    directories: list[Dnode],
    complain: Callable[[Exception], None],
) -> None:
    try:
        found = files.attributes(dnode)
        if found.kind is Kind.SYMLINK:
            files.target(dnode)
    except OsvlabError as error:
        complain(error)
        return
    links.found[dnode.number] = found
    links.places[dnode.number] = dnode.offset
    if found.kind is Kind.DIRECTORY:
        directories.append(dnode)
    if found.xattrs:  # a directory that hangs on the file itself
        links.names[found.xattrs] += 1
        links.parents[found.xattrs] = dnode.number


def _names(directory: Dnode, links: _Links) -> Iterator[DamagedError]:
    """Count the names in a directory, and yield what is wrong with them."""
    seen: set[bytes] = set()
    for entry in Zap(directory).entries():
        number = entry.number & OBJECT_MASK
        child = links.found.get(number)
        stored = entry.number >> 60
        problem = ""
        if child is None:
            problem = f"points to object {number}, which is no file"
        elif entry.name in seen:
            problem = "is there twice"
        elif stored and stored != child.mode >> _TYPE_OF_KIND:  # before version 2 none is stored
            problem = f"says that the {child.kind} is of type {stored}"
        if problem:
            what = f"entry {entry.name.decode('utf-8', 'backslashreplace')} of {directory.name}"
            yield damaged(what, directory.offset, problem)
        seen.add(entry.name)
        links.names[number] += 1
        links.entries[directory.number] += 1
        links.parents[number] = directory.number
        if child is not None and child.kind is Kind.DIRECTORY:
            links.folders[directory.number] += 1


def _delete_queue(files: Files, complain: Callable[[Exception], None]) -> set[int]:
    """Return the files that have no name any more, and are to go."""
    number = files.master.number(b"DELETE_QUEUE")
    try:
        return {entry.number for entry in Zap(files.objects.dnode(number)).entries()} if number else set()
    except OsvlabError as error:
        complain(error)
        return set()


def _wrong(files: Files, links: _Links, roots: set[int], waiting: set[int]) -> Iterator[DamagedError]:
    for number, found in links.found.items():
        what = f"object {number} of {files.objects.name}"
        place = links.places[number]
        names = links.names[number]
        if number in roots:
            continue
        if not names and number not in waiting:
            yield damaged(what, place, f"({found.kind}) is in no directory")
            continue
        expected = links.folders[number] + 2 if found.kind is Kind.DIRECTORY else names
        if names and found.links != expected:
            yield damaged(what, place, f"({found.kind}) has {found.links} links and should have {expected}")
        parent = links.parents.get(number)
        if names and found.kind is Kind.DIRECTORY:
            if names > 1:
                yield damaged(what, place, f"is a directory with {names} names")
            elif found.parent != parent:
                yield damaged(what, place, f"says it is in object {found.parent}, and is in {parent}")
            if not found.is_xattr and found.size != links.entries[number] + 2:
                has = links.entries[number] + 2
                yield damaged(what, place, f"is a directory of size {found.size}, and should be {has}")
