"""`osvlab ls` and `osvlab tree`: the files in an image."""

from __future__ import annotations

import argparse
import json
import os
import stat
import time
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from osvlab.cli.parser import natural
from osvlab.cli.place import PLACE_HELP, add_opening_options, image_place, opened, printable

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.filesystems.base import Entry, Filesystem

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `ls` and `tree`."""
    parser = commands.add_parser(
        "ls",
        help="list files in an image",
        usage="osvlab ls [options] IMAGE[:/path]",
        description="List a directory in an image, or tell of one file.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("place", metavar="IMAGE[:/path]", help=PLACE_HELP)
    parser.add_argument("-l", "--long", action="store_true", help="permissions, owner, size, time")
    parser.add_argument("-R", "--recursive", action="store_true", help="all directories below, too")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_opening_options(parser)

    parser = commands.add_parser(
        "tree",
        help="show a directory in an image with all that is below it",
        usage="osvlab tree [options] IMAGE[:/path]",
        description="Show a directory in an image with all that is below it.",
    )
    parser.set_defaults(do=do_tree)
    parser.add_argument("place", metavar="IMAGE[:/path]", help=PLACE_HELP)
    parser.add_argument("--depth", type=natural, metavar="N", help="only so many directories deep")
    add_opening_options(parser)


def do(options: argparse.Namespace) -> int:
    """List it."""
    from osvlab.filesystems.base import Kind

    place = image_place(options.place)
    with opened(place, options) as fs:
        top = fs.find(os.fsencode(place.path))
        if top.kind is not Kind.DIRECTORY:
            _show(fs, [top], options, whole=True)
        elif not options.recursive:
            _show(fs, fs.list(top), options)
        else:
            for number, folder in enumerate(entry for entry in fs.walk(top) if entry.kind is Kind.DIRECTORY):
                if not options.json:
                    print(("\n" if number else "") + _name(folder.path) + ":")
                _show(fs, fs.list(folder), options)
    return 0


def _show(fs: Filesystem, entries: list[Entry], options: argparse.Namespace, *, whole: bool = False) -> None:
    entries = sorted(entries, key=attrgetter("path"))
    if options.json:
        for entry in entries:
            print(json.dumps(described(fs, entry)))
        return
    names = [_name(entry.path if whole else entry.name) for entry in entries]
    if not options.long:
        for name in names:
            print(name)
        return
    rows = [_columns(entry) for entry in entries]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(6)]
    for entry, name, row in zip(entries, names, rows, strict=True):
        cells = " ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print(f"{cells} {name}{_arrow(fs, entry)}")


def _columns(entry: Entry) -> list[str]:
    # Formats without permissions show everything as their kernels do.
    usual = 0o777 if entry.kind == "symlink" else 0o555
    mode = entry.kind.type_bits | (usual if entry.permissions is None else entry.permissions)
    size = f"{os.major(entry.device)}, {os.minor(entry.device)}" if entry.device else str(entry.size)
    return [stat.filemode(mode), str(entry.links), str(entry.owner), str(entry.group), size, _when(entry)]


def _when(entry: Entry) -> str:
    if entry.modified is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.modified // 10**9))
    except (OverflowError, OSError, ValueError):  # a year that no calendar has
        return str(entry.modified // 10**9)


def _name(path: bytes) -> str:
    from osvlab.filesystems.base import show

    return printable(show(path))


def _arrow(fs: Filesystem, entry: Entry) -> str:
    from osvlab.filesystems.base import Kind

    return f" -> {_name(fs.target(entry))}" if entry.kind is Kind.SYMLINK else ""


def described(fs: Filesystem, entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON can hold it; names that are no Unicode are written with backslashes."""
    from osvlab.filesystems.base import Kind, show

    told: dict[str, Any] = {
        "path": show(entry.path),
        "kind": entry.kind.value,
        "size": entry.size,
        "number": entry.number,
        "permissions": None if entry.permissions is None else f"{entry.permissions:04o}",
        "owner": entry.owner,
        "group": entry.group,
        "links": entry.links,
        "modified_ns": entry.modified,
    }
    if entry.device:
        told["device"] = [os.major(entry.device), os.minor(entry.device)]
    if entry.kind is Kind.SYMLINK:
        told["target"] = show(fs.target(entry))
    return told


def do_tree(options: argparse.Namespace) -> int:
    """Show the tree."""
    place = image_place(options.place)
    with opened(place, options) as fs:
        for line in _lines(fs, fs.find(os.fsencode(place.path)), options.depth):
            print(line)
    return 0


def _lines(fs: Filesystem, top: Entry, depth: int | None) -> Iterator[str]:
    from osvlab.filesystems.base import Kind
    from osvlab.paths import format_size

    base = top.path.rstrip(b"/").count(b"/")
    for entry in fs.walk(top):
        level = 0 if entry is top else entry.path.count(b"/") - base
        if depth is not None and level > depth:
            continue
        name = _name(entry.path if level == 0 else entry.name)
        match entry.kind:
            case Kind.DIRECTORY:
                name = name.rstrip("/") + "/"
            case Kind.FILE:
                name += f"  {format_size(entry.size)}"
            case Kind.SYMLINK:
                name += _arrow(fs, entry)
            case _:
                name += f"  ({entry.kind})"
        yield "  " * level + name
