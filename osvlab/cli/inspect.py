"""`osvlab inspect`: what is in an image."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.image.image import Image

__all__ = ["add", "describe"]


def add(commands: Commands) -> None:
    """Declare `inspect`."""
    parser = commands.add_parser(
        "inspect",
        help="what is in an image: layout, sizes, command, files",
        description="Show an image's command, the layout of the disk, and the files on it.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--all", action="store_true", help="every file, however many")
    parser.add_argument("--json", action="store_true", help="as JSON, with every file")


def do(options: argparse.Namespace) -> int:
    """Print what is in the image."""
    from osvlab.image.image import Image

    image = Image.open(options.image)
    if options.json:
        told = describe(image) | {"modules": image.modules, "files": _files(image)}
        print(json.dumps(told, indent=2))
        return 0
    print(image)
    if image.modules:
        print(f"  modules  {', '.join(image.modules)}")
    # A damaged filesystem is an error, but what could be said of the disk has been said.
    print(image.files.tree(*([10**9] if options.all else [])))
    return 0


def describe(image: Image) -> dict[str, Any]:
    """Return what an image is, without its files, as JSON can hold it."""
    return {
        "path": str(image.path),
        "size": image.size,
        "allocated": image.allocated,
        "boots_from_disk": image.boots_from_disk,
        "command_line": image.command_line,
        "command": image.command,
        "filesystem": image.filesystem,
        "layout": [asdict(region) for region in image.layout],
    }


def _files(image: Image) -> list[dict[str, Any]]:
    # JSON texts are Unicode; a name that is not is written with backslashes, as everywhere in the lab.
    return [
        {"path": str(path), "kind": entry.kind.value, "size": entry.size}
        | ({"target": path.readlink()} if entry.kind == "symlink" else {})
        for path, entry in image.files.walk()
    ]
