"""`osvlab exec`: run a command in a running guest."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from osvlab.cli.command import guest_command
from osvlab.cli.guest import VM_HELP, add_rest_options, rest_of
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `exec`."""
    parser = commands.add_parser(
        "exec",
        help="run a command in a running guest",
        usage="osvlab exec [options] [VM] -- COMMAND...",
        description="Start a command in a guest through its REST API and wait until it has ended. What it "
        "prints appears on the guest's console; how it ended, the API does not tell.",
    )
    parser.set_defaults(do=do, takes_command=True)
    parser.add_argument("vm", nargs="?", metavar="VM", help=VM_HELP)
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="instead of the words behind --")
    parser.add_argument("--detach", action="store_true", help="do not wait for its end")
    parser.add_argument(
        "--limit",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="wait at most that long (default 3600)",
    )
    add_rest_options(parser)


def do(options: argparse.Namespace) -> int:
    """Start it, and wait."""
    command = guest_command([*options.command, *options.words])
    if command is None:
        raise OsvlabError("no command to run", hint="osvlab exec VM -- /program arguments")
    with rest_of(options.vm, options) as rest:
        if options.detach:
            print(*rest.app.start(command))
        else:
            rest.app.run(command, timeout=options.limit)
            print("ended; what it printed is on the guest's console", file=sys.stderr)
    return 0
