"""`osvlab explain`: the structures on a disk, field by field, and where each leads."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from osvlab.cli.parser import natural
from osvlab.cli.place import PLACE_HELP, add_opening_options, image_place, opened, printable
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.cli.place import Place
    from osvlab.filesystems.structure import Pointer, Structure

__all__ = ["add"]

SHOWN = 12
HEX_SHOWN = 256


def add(commands: Commands) -> None:
    """Declare `explain`."""
    parser = commands.add_parser(
        "explain",
        help="show the structures on a disk, from the first to the bytes of a file",
        usage="osvlab explain [options] IMAGE[:/path]",
        description="Show the structure from which everything in an image is found, or the one that "
        "describes a file in it: its fields with their meaning, and where it leads.",
        epilog="Example: osvlab explain x.img --follow 'partition 2/filesystem/root directory' --depth 1",
    )
    parser.set_defaults(do=do)
    parser.add_argument("place", metavar="IMAGE[:/path]", help=PLACE_HELP)
    parser.add_argument(
        "--follow",
        action="append",
        default=[],
        metavar="A/B",
        help="go where it leads, step by step; give it again for a name with a slash",
    )
    parser.add_argument(
        "--depth", type=natural, default=0, metavar="N", help="show so many levels (default 0)"
    )
    parser.add_argument("--hex", action="store_true", help="the bytes, too")
    parser.add_argument("--all", action="store_true", help=f"more than {SHOWN} of what a structure leads to")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_opening_options(parser)


def do(options: argparse.Namespace) -> int:
    """Find the structure and print it."""
    found = _start(image_place(options.place), options)
    for word in options.follow:
        found = _follow(found, word)
    if options.json:
        print(json.dumps(_described(found, options.depth, options), indent=2))
        return 0
    for line in _lines(found, options.depth, options):
        print(printable(line))
    return 0


def _start(place: Place, options: argparse.Namespace) -> Structure:
    """Return where to begin. What it leads to is read later, so the image stays open."""
    from osvlab.filesystems.overview import explain

    if place.path != "/" or options.place.endswith(":/"):
        fs = opened(place, options)
        return fs.explain_entry(fs.find(os.fsencode(place.path), follow=False))
    if options.also:
        return opened(place, options).explain()
    options.image = place.image
    return explain(place.image, dataset=options.dataset, partition=options.partition, txg=options.txg)


def _follow(structure: Structure, word: str) -> Structure:
    if any(pointer.name == word for pointer in structure.pointers):
        return structure.follow(word)
    for name in word.split("/"):
        structure = structure.follow(name)
    return structure


def _shown(structure: Structure, options: argparse.Namespace) -> tuple[list[Pointer], int]:
    """Return what of a structure's pointers is shown, and how many there are besides."""
    pointers = structure.pointers
    shown = list(pointers if options.all else islice(pointers, SHOWN))
    return shown, len(pointers) - len(shown)


def _lines(top: Structure, depth: int, options: argparse.Namespace) -> Iterator[str]:
    pending: list[tuple[int, Structure | str]] = [(0, top)]
    while pending:
        level, item = pending.pop()
        indent = "    " * level
        if isinstance(item, str):
            yield indent + item
            continue
        yield from (indent + line for line in str(item).splitlines())
        if item.about:
            yield f"{indent}  {item.about}"
        if options.hex:
            yield from (f"{indent}  {line}" for line in item.hex(HEX_SHOWN).splitlines())
        try:
            pointers, more = _shown(item, options)
        except OsvlabError as problem:  # damage on the way is a finding, and hides nothing else
            yield f"{indent}  leads nowhere: {problem.message}"
            continue
        rest = f"and {more} more" if more else ""
        if level >= depth:
            names = ", ".join([*(pointer.name for pointer in pointers), *filter(None, [rest])])
            if names:
                yield f"{indent}  leads to: {names}"
            continue
        following = [(level + 1, _read(pointer)) for pointer in pointers]
        pending += reversed([*following, *([(level + 1, rest)] if rest else [])])


def _read(pointer: Pointer) -> Structure | str:
    try:
        return pointer.read()
    except OsvlabError as problem:
        return f"{pointer.name}: {problem.message}"


def _described(structure: Structure, depth: int, options: argparse.Namespace) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": structure.name,
        "offset": structure.offset,
        "length": structure.length,
        "within": structure.within,
        "about": structure.about,
        "fields": [
            {
                "name": field.name,
                "offset": field.offset,
                "length": field.length,
                "value": field.value if isinstance(field.value, int | str | bool) else field.text,
                "meaning": field.meaning,
            }
            for field in structure.fields
        ],
    }
    if options.hex:
        told["hex"] = structure.raw[:HEX_SHOWN].hex()
    try:
        pointers, more = _shown(structure, options)
    except OsvlabError as problem:
        return told | {"problem": problem.message}
    if more:
        told["more"] = more
    if depth <= 0:
        return told | {"leads_to": [pointer.name for pointer in pointers]}
    leads: dict[str, Any] = {}
    for pointer in pointers:
        found = _read(pointer)
        is_text = isinstance(found, str)
        leads[pointer.name] = {"problem": found} if is_text else _described(found, depth - 1, options)  # type: ignore[arg-type]
    return told | {"leads_to": leads}
