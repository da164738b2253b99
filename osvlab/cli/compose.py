"""`osvlab compose`: make an image of a file or directory as it is, with Capstan's options."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.progress import Progress
from osvlab.cli.recipe import add_image_options, image_options, show_image, show_reasons
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.image.recipe import Recipe
    from osvlab.kernels import Kernel

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `compose`."""
    parser = commands.add_parser(
        "compose",
        help="make an image of a file or directory as it is, as capstan compose does",
        usage="osvlab compose [options] NAME PATH",
        description="Make a bootable image, NAME.img, of a file or a directory, whatever else may describe "
        "it. It takes the options of capstan compose, before and after the names.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("image_name", metavar="NAME", help="the image's name; .img is added")
    parser.add_argument("path", metavar="PATH", help="what the guest will see as /, or a file in it")
    parser.add_argument(
        "-c", "--command_line", "--command-line", metavar="COMMAND", help="what the guest runs"
    )
    parser.add_argument(
        "-l",
        "--loader_image",
        "--loader-image",
        metavar="KERNEL",
        help="a kernel: a file, or its name in Capstan's repository; the lab kernel if absent",
    )
    add_image_options(parser)


def do(options: argparse.Namespace) -> int:
    """Build it and print what it is."""
    from osvlab.image.build import build

    name = options.image_name
    output = name if name.endswith(".img") else f"{name}.img"
    progress = Progress(as_json=options.json, quiet=options.quiet)
    with progress.shown():
        kernel = None if options.loader_image is None else _kernel(options.loader_image)
        recipe = _recipe(options.path, options.command_line, options.fs)
        if options.verbose:
            show_reasons(recipe, progress)
        image = build(recipe, kernel=kernel, output=output, **image_options(options))
    show_image(image, options)
    return 0


def _kernel(name: str) -> Kernel | None:
    from osvlab.image.sources.base import find_base

    base = find_base(name, Path.cwd())
    if base.image is not None:
        raise OsvlabError(
            f"{name} is an image with files in it, not a kernel",
            hint="Name a kernel, or build on the image with a Capstanfile.",
        )
    return base.kernel


def _recipe(path: str, command: str | None, fs: str) -> Recipe:
    from osvlab.filesystems.tree import HostFile
    from osvlab.image.collection import Collection
    from osvlab.image.recipe import Recipe

    if not os.path.isfile(path):
        return Recipe.from_directory(path, command, fs)
    files = Collection(origin=path)
    files.reasons[b"/"] = f"is made for {path}"
    name = os.fsencode(os.path.basename(path))
    files.add(b"/" + name, HostFile.at(os.path.realpath(path)), f"is {path}")
    return Recipe.from_collection(files, command, fs)
