"""What the commands that make images share: options of sources, and what is told of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.progress import Progress
    from osvlab.image.image import Image
    from osvlab.image.recipe import Recipe

__all__ = [
    "add_image_options",
    "add_source_options",
    "image_options",
    "name_of",
    "show_image",
    "show_reasons",
    "source_options",
]


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Declare what every image has."""
    parser.add_argument("--fs", default="rofs", help="filesystem: rofs, zfs or ramfs (default rofs)")
    parser.add_argument(
        "-s", "--size", metavar="SIZE", help="bytes for the filesystem, such as 1G, if it can be written to"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say of everything in the image why it is there"
    )
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but errors")
    parser.add_argument(
        "--json", action="store_true", help="the image as JSON on stdout; steps as JSON on stderr"
    )
    _add_filling_options(parser)


def _add_filling_options(parser: argparse.ArgumentParser) -> None:
    """Declare how ZFS is made, and by whom."""
    group = parser.add_argument_group("of --fs zfs")
    group.add_argument(
        "--compression", default="lz4", metavar="HOW", help="lz4 (default), gzip, gzip-1 to gzip-9, or off"
    )
    group.add_argument(
        "--ashift",
        type=int,
        default=9,
        metavar="N",
        help="the smallest block has 2^N bytes: 9 or 12 (default 9)",
    )
    group.add_argument(
        "--via", default="host", help="who formats and fills the disk: host (default), or vm, an empty VM"
    )
    group.add_argument(
        "--builder",
        metavar="FILE",
        help="what that VM runs: OSv's zfs_builder-stripped.elf, or a lab kernel "
        "(default: what belongs to the kernel)",
    )


def image_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was given of these, as `build` takes it."""
    return {
        "size": options.size,
        "compression": None if options.compression == "off" else options.compression,
        "ashift": options.ashift,
        "via": options.via,
        "builder": options.builder,
    }


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Declare what Capstanfiles, manifests and packages take."""
    group = parser.add_argument_group("of Capstanfiles, manifests and packages")
    group.add_argument(
        "--base",
        metavar="PATH",
        help="Capstanfile: a kernel or image to build on instead of the one it names; "
        "manifest: the folder that paths are relative to",
    )
    group.add_argument(
        "-D",
        "--define",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="manifest: a variable (repeatable)",
    )
    group.add_argument(
        "--packages",
        action="append",
        default=[],
        metavar="FOLDER",
        help="package: where those that it requires are (repeatable; ~/.capstan/packages comes last)",
    )
    group.add_argument(
        "--require", action="append", default=[], metavar="NAME", help="package: another one (repeatable)"
    )
    group.add_argument(
        "--boot",
        action="append",
        default=[],
        metavar="NAME",
        help="package: a config_set to run (repeatable)",
    )


def source_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was given of these, as `Recipe.from_source` takes it."""
    variables = {}
    for pair in options.define:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise OsvlabError(f"--define {pair}: not NAME=VALUE", hint="Write it like -D mode=release.")
        variables[name] = value
    told = {
        "base": options.base,
        "variables": variables,
        "packages": options.packages,
        "require": options.require,
        "boot": options.boot,
    }
    return {name: value for name, value in told.items() if value}


def name_of(source: str) -> str:
    """Return what an image of a source is called, without a suffix.

    Examples
    --------
    >>> name_of("apps/usr.manifest"), name_of("osv.cli.mpm"), name_of("/srv/app/Capstanfile")
    ('usr', 'osv.cli', 'app')
    """
    from osvlab.image.sources.recognise import SourceKind, recognise

    place = Path(source).resolve()
    match recognise(source):
        case SourceKind.MANIFEST:
            name = place.name.partition(".manifest")[0]
        case SourceKind.PACKAGE if place.parent.name == "meta":
            name = place.parent.parent.name
        case SourceKind.PACKAGE if not place.is_dir():
            name = place.name.partition(".mpm")[0]
        case SourceKind.CAPSTANFILE if not place.is_dir():
            name = place.parent.name
        case _:
            name = place.name
    return name or "image"


def show_reasons(recipe: Recipe, progress: Progress) -> None:
    """Say of everything in an image why it is there, a line each."""
    for path, _ in recipe.tree.walk():
        reason = recipe.why(path)
        progress.say(reason, event="file", path=path.decode("utf-8", "backslashreplace"), why=reason)


def show_image(image: Image, options: argparse.Namespace) -> None:
    """Print what an image is."""
    from osvlab.cli.inspect import describe

    print(json.dumps(describe(image)) if options.json else image)
