"""`osvlab doctor`: what this host can do for the lab."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from osvlab.cli.exits import FAILURE

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="what this host can do, each finding with its fix",
        description="Try what the lab needs and say what was found, each with its fix. "
        "Exits with 1 if something is missing.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("--json", action="store_true", help="as JSON, on stdout")


def do(options: argparse.Namespace) -> int:
    """Examine the host and print the report."""
    from osvlab.host import doctor

    report = doctor()
    print(json.dumps(report.as_dict(), indent=2) if options.json else report)
    return 0 if report.usable else FAILURE
