"""What the commands that speak with a running guest share: how it is named, and its REST API."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from osvlab.guest.rest import Rest

__all__ = ["VM_HELP", "add_rest_options", "rest_of"]

VM_HELP = (
    "a running guest: the beginning of its name, QEMU's process id, or HOST:PORT of its REST API; "
    "may be left out when only one runs"
)


def add_rest_options(parser: argparse.ArgumentParser) -> None:
    """Declare how the guest's REST API is asked."""
    parser.add_argument("--token", metavar="TOKEN", help="what the guest's server was started with")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="for one request (default 10)"
    )


def rest_of(word: str | None, options: argparse.Namespace) -> Rest:
    """Return the REST API of the guest that a word means."""
    from osvlab.guest.rest import Rest
    from osvlab.vm.discover import find

    return Rest(find(word), token=options.token, timeout=options.timeout)
