"""What `IMAGE:/path` on a command line means, and how names in images are shown."""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osvlab.cli.parser import natural
from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError, kind_of_file

if TYPE_CHECKING:
    from osvlab.filesystems.base import Filesystem

__all__ = [
    "PLACE_HELP",
    "Place",
    "add_opening_options",
    "image_place",
    "opened",
    "places_in_images",
    "printable",
]

PLACE_HELP = "an image or kernel, and a path in it: x.img:/etc; the path is / when left out"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]")  # and bytes that are no UTF-8


@dataclass(frozen=True, slots=True)
class Place:
    """A path in an image."""

    image: str
    path: str


def add_opening_options(parser: argparse.ArgumentParser) -> None:
    """Declare how one of several filesystems in an image is chosen, and as of when."""
    parser.add_argument(
        "--partition", type=natural, metavar="N", help="of a disk, 1 to 4 (default: its root)"
    )
    parser.add_argument("--dataset", metavar="NAME", help="of a ZFS pool (default: what OSv mounts)")
    parser.add_argument(
        "--txg", type=natural, metavar="N", help="a ZFS pool as of a transaction group (default: the newest)"
    )
    parser.add_argument(
        "--also", action="append", default=[], metavar="IMAGE", help="another disk of the same ZFS pool"
    )


def places_in_images(word: str) -> list[Place]:
    """Return all that a word can mean as IMAGE:/path: each file of that name before a colon."""
    ends = (match.start() for match in re.finditer(":(?=/)", word))
    return [Place(word[:end], word[end + 1 :]) for end in ends if _holds_bytes(word[:end])]


def image_place(word: str) -> Place:
    """Return the place that a word means, an image with or without a path.

    Raises
    ------
    PathNotFoundError
        There is no such image.
    OsvlabError
        The word can mean more than one thing.
    """
    found = places_in_images(word)
    if _holds_bytes(word):
        found.append(Place(word, "/"))
    if len(found) > 1:
        meant = " or ".join(f"{place.path} in {place.image}" for place in found)
        raise OsvlabError(f"{word} can mean {meant}", hint="Rename one, or name it from another folder.")
    if not found:
        name = word.partition(":/")[0]
        if os.path.exists(name):
            kind = kind_of_file(os.stat(name).st_mode)
            raise OsvlabError(f"{name} is {kind}, not an image", hint="Name an image file.")
        raise PathNotFoundError(f"no such image: {name}", hint="Check the path.")
    return found[0]


def _holds_bytes(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def opened(place: Place, options: argparse.Namespace) -> Filesystem:
    """Open the filesystem of a place; what is to be known of it first goes to stderr."""
    from osvlab.filesystems.opening import open

    options.image = place.image  # for messages about damage, which do not know what the file is called
    image = [place.image, *options.also] if options.also else place.image
    fs = open(image, dataset=options.dataset, partition=options.partition, txg=options.txg)
    for warning in fs.warnings:
        print(printable(f"osvlab: {place.image}: {warning}"), file=sys.stderr)
    return fs


def printable(text: str) -> str:
    r"""Make a text from an image fit for a terminal: what would steer it is written as `\xNN`.

    Examples
    --------
    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)
