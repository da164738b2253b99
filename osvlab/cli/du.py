"""`osvlab du`: how much room files take in an image."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from osvlab.cli.place import PLACE_HELP, add_opening_options, image_place, opened, printable

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.filesystems.base import Entry, Filesystem

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `du`."""
    parser = commands.add_parser(
        "du",
        help="how much room files take in an image",
        usage="osvlab du [options] IMAGE[:/path]",
        description="Tell how many bytes the files in each directory take where they are stored: less than "
        "they have when they are compressed or have holes. A file with several names counts once.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("place", metavar="IMAGE[:/path]", help=PLACE_HELP)
    parser.add_argument("-s", "--summarize", action="store_true", help="only the sum")
    parser.add_argument("-a", "--all", action="store_true", help="each file, too")
    parser.add_argument("-b", "--bytes", action="store_true", help="numbers of bytes, not 1.5 KiB")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_opening_options(parser)


def do(options: argparse.Namespace) -> int:
    """Count, and tell the deepest first."""
    from osvlab.filesystems.base import Kind, show
    from osvlab.paths import format_size

    place = image_place(options.place)
    with opened(place, options) as fs:
        entries, taken, sizes = _counted(fs, fs.find(os.fsencode(place.path)))
    for entry in _directories_last(entries):
        if entry is entries[0] or (not options.summarize and (options.all or entry.kind is Kind.DIRECTORY)):
            stored, name = taken[entry.path], show(entry.path)
            if options.json:
                print(json.dumps({"path": name, "stored": stored, "size": sizes[entry.path]}))
            else:
                print(f"{stored if options.bytes else format_size(stored)}\t{printable(name)}")
    return 0


def _directories_last(entries: list[Entry]) -> Iterator[Entry]:
    """Yield what a walk gave, but a directory behind all that is in it."""
    within: list[Entry] = []
    for entry in entries:
        while within and not entry.path.startswith(within[-1].child_path(b"")):
            yield within.pop()
        within.append(entry)
    yield from reversed(within)


def _counted(fs: Filesystem, top: Entry) -> tuple[list[Entry], dict[bytes, int], dict[bytes, int]]:
    """Return all entries, and by path the bytes that are stored and that files have."""
    from osvlab.filesystems.base import Kind

    entries = list(fs.walk(top))
    taken, sizes = dict.fromkeys((e.path for e in entries), 0), dict.fromkeys((e.path for e in entries), 0)
    counted: set[int] = set()
    for entry in reversed(entries):  # a directory comes after all that is in it
        if entry.kind is Kind.FILE and not (entry.links > 1 and entry.number in counted):
            counted.add(entry.number)
            taken[entry.path] = sum(extent.stored for extent in fs.extents(entry))
            sizes[entry.path] = entry.size
        parent = entry.path.rpartition(b"/")[0] or b"/"
        if entry is not entries[0]:
            taken[parent] += taken[entry.path]
            sizes[parent] += sizes[entry.path]
    return entries, taken, sizes
