"""`osvlab build`: make a bootable image of a directory."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.command import guest_command
from osvlab.cli.progress import Progress

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `build`."""
    parser = commands.add_parser(
        "build",
        help="make a bootable image of a directory",
        usage="osvlab build [options] DIR [-- COMMAND...]",
        description="Make a bootable image. Without a command it runs the only program in it.",
    )
    parser.set_defaults(do=do, takes_command=True)
    parser.add_argument("directory", metavar="DIR", help="what the guest will see as /")
    parser.add_argument(
        "-o", "--output", metavar="IMAGE", help="the image (default: DIR's name with .img, here)"
    )
    parser.add_argument("--fs", default="rofs", help="filesystem (default rofs)")
    parser.add_argument("--kernel", metavar="FILE", help="an OSv or lab kernel; the lab kernel if absent")
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="NAME",
        help="include a part of the guest, such as httpserver (repeatable)",
    )
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but errors")
    parser.add_argument(
        "--json", action="store_true", help="the image as JSON on stdout; steps as JSON on stderr"
    )


def do(options: argparse.Namespace) -> int:
    """Build it and print what it is."""
    from osvlab.cli.inspect import describe
    from osvlab.image.build import build

    name = Path(os.path.realpath(options.directory)).name
    with Progress(as_json=options.json, quiet=options.quiet).shown():
        image = build(
            options.directory,
            command=guest_command(options.words),
            fs=options.fs,
            kernel=options.kernel,
            modules=options.module,
            output=options.output or f"{name or 'image'}.img",
        )
    print(json.dumps(describe(image)) if options.json else image)
    return 0
