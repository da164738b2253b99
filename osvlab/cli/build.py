"""`osvlab build`: make a bootable image of a directory, a Capstanfile, a manifest or a package."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.command import guest_command
from osvlab.cli.program import add_program_options, names_program, program_recipe
from osvlab.cli.progress import Progress
from osvlab.cli.recipe import (
    add_image_options,
    add_source_options,
    image_options,
    name_of,
    show_image,
    show_reasons,
    source_options,
)
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.image.recipe import Recipe

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `build`."""
    parser = commands.add_parser(
        "build",
        help="make a bootable image of a directory, a Capstanfile, a manifest or a package",
        usage="osvlab build [options] [SOURCE] [-- COMMAND...]\n"
        "       osvlab build [options] --program PROGRAM [-- ARGUMENTS...]",
        description="Make a bootable image of a directory, which becomes the guest's root; of a "
        "Capstanfile; of one of OSv's manifests; of a Capstan package; or of a program of this host. "
        "Without any it "
        "takes the Capstanfile or package of the current directory. Without a command it runs what the "
        "source says, or the only program in it.",
    )
    parser.set_defaults(do=do, takes_command=True)
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="a directory, Capstanfile, usr.manifest or .mpm"
    )
    parser.add_argument(
        "-o", "--output", metavar="IMAGE", help="the image (default: SOURCE's name with .img, here)"
    )
    parser.add_argument("--kernel", metavar="FILE", help="an OSv or lab kernel; the lab kernel if absent")
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="NAME",
        help="include a part of the guest, such as httpserver (repeatable)",
    )
    add_image_options(parser)
    add_source_options(parser)
    add_program_options(parser)


def do(options: argparse.Namespace) -> int:
    """Build it and print what it is."""
    from osvlab.image.build import build
    from osvlab.image.modules import chosen_modules

    progress = Progress(as_json=options.json, quiet=options.quiet)
    with progress.shown():
        recipe, output = _recipe(options)
        if options.verbose:
            show_reasons(recipe.with_modules(chosen_modules(options.module)), progress)
        image = build(
            recipe,
            kernel=options.kernel,
            modules=options.module,
            output=output,
            **image_options(options),
        )
    show_image(image, options)
    return 0


def _recipe(options: argparse.Namespace) -> tuple[Recipe, str]:
    """Return what goes into the image, and where the image goes."""
    from osvlab.image.recipe import Recipe
    from osvlab.image.sources.recognise import SourceKind, recognise

    output = options.output
    if names_program(options, options.source):
        return program_recipe(options), f"{Path(options.program).name}.img" if output is None else output
    source = _source(options.source)
    output = f"{name_of(source)}.img" if output is None else output
    told = source_options(options)
    if recognise(source) is SourceKind.PACKAGE:
        told["leave_out"] = output  # where people are who build the package of the current directory
    return Recipe.from_source(source, guest_command(options.words), options.fs, **told), output


def _source(given: str | None) -> str:
    """Return what is to be built: what was named, or what Capstan would build here."""
    from osvlab.image.sources.recognise import SourceKind, recognise

    here = recognise(".")
    if given is None and here is SourceKind.DIRECTORY:
        found = [
            f"such as {path}; " for path in sorted(Path().glob("*.manifest")) + sorted(Path().glob("*.mpm"))
        ]
        raise OsvlabError(
            "there is neither a Capstanfile nor a meta/package.yaml here, and no directory was named",
            hint=f"Name what to build, {''.join(found[:1])}'.' is this directory as it is.",
        )
    if given is not None and here is not SourceKind.DIRECTORY and not os.path.lexists(given):
        # Capstan's build takes the name of the image.
        raise OsvlabError(
            f"no such directory or file: {given}",
            hint=f"To build the {here} here: osvlab build -o {given}.img",
        )
    return given or "."
