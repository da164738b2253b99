"""`osvlab curl`: one request to the REST API of a running guest."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from osvlab.cli.guest import VM_HELP, add_rest_options, rest_of
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `curl`."""
    parser = commands.add_parser(
        "curl",
        help="ask the REST API of a running guest",
        usage="osvlab curl [options] [VM] PATH",
        description="Send one request to a guest's REST API and print what it answers. "
        "GET /api-doc tells what there is to ask.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("vm", nargs="?", metavar="VM", help=VM_HELP)
    parser.add_argument("path", metavar="PATH", help="like /os/uptime")
    parser.add_argument("-X", "--request", default="GET", metavar="METHOD", help="default GET")
    parser.add_argument(
        "-d",
        "--data",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the request (repeatable)",
    )
    add_rest_options(parser)


def do(options: argparse.Namespace) -> int:
    """Ask, and print the answer."""
    params = {}
    for pair in options.data:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OsvlabError(f"--data {pair}: not NAME=VALUE", hint="Write it like --data name=web.")
        params[name] = value
    if not options.path.startswith("/"):
        raise OsvlabError(f"not a path of the REST API: {options.path}", hint=f"Write /{options.path}.")
    with rest_of(options.vm, options) as rest:
        body = rest.raw(options.request.upper(), options.path, params)
    sys.stdout.buffer.write(body)
    if sys.stdout.isatty() and not body.endswith(b"\n"):
        print()
    return 0
