"""`osvlab cat`: the contents of files in images."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from osvlab.cli.place import add_opening_options, image_place, opened

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `cat`."""
    parser = commands.add_parser(
        "cat",
        help="write the contents of files in images to stdout",
        usage="osvlab cat [options] IMAGE:/path...",
        description="Write the contents of files in images to stdout, one after the other.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("places", metavar="IMAGE:/path", nargs="+", help="an image, and a file in it")
    add_opening_options(parser)


def do(options: argparse.Namespace) -> int:
    """Write them."""
    for place in map(image_place, options.places):
        with opened(place, options) as fs:
            entry = fs.find(os.fsencode(place.path))
            fs.read(entry, 0, 0)  # raises for what is no file, also when it is empty
            for piece in fs.read_pieces(entry):
                sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0
