"""`osvlab check`: what is wrong in an image."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from osvlab.cli.exits import FAILURE
from osvlab.cli.place import add_opening_options, image_place, opened, printable
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.filesystems.base import CheckReport

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `check`."""
    parser = commands.add_parser(
        "check",
        help="read everything in an image and report what is wrong",
        usage="osvlab check [options] IMAGE",
        description="Read everything in an image, from the boot sector to the last file, and report "
        "whatever cannot be right. The exit status is 1 if anything is wrong.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("place", metavar="IMAGE", help="an image or a kernel")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_opening_options(parser)


def do(options: argparse.Namespace) -> int:
    """Check it and print what was found."""
    place = image_place(options.place)
    if place.path != "/":
        raise OsvlabError(
            f"a whole image is checked, not {place.path} in it", hint=f"osvlab check {place.image}"
        )
    reports = _reports(place.image, options)
    if options.json:
        print(json.dumps([_described(report) for report in reports], indent=2))
    else:
        for report in reports:
            head, *more = str(report).splitlines()
            print(printable(head))
            for line in more:
                print(f"  {printable(line.strip())}")
    return 0 if all(report.ok for report in reports) else FAILURE


def _reports(image: str, options: argparse.Namespace) -> list[CheckReport]:
    from osvlab.filesystems.overview import check

    if options.also:
        with opened(image_place(image), options) as fs:
            return [fs.check()]
    options.image = image
    return check(image, dataset=options.dataset, partition=options.partition, txg=options.txg)


def _described(report: CheckReport) -> dict[str, Any]:
    problems = [
        {"message": problem.message}
        | {name: getattr(problem, name) for name in ("structure", "offset") if hasattr(problem, name)}
        for problem in report.problems
    ]
    return {
        "format": str(report.format),
        "ok": report.ok,
        "counts": report.counts,
        "problems": problems,
        "unchecked": list(report.unchecked),
    }
