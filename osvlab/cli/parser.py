"""The argument parser of every command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

__all__ = ["Parser", "natural", "seconds"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose exit status for a wrong option can be chosen.

    `osvlab run` exits with its guest's status, and 2 is one that guests use.
    """

    usage_status = 2
    commands: Mapping[str, Parser] = {}  # of the whole, the parsers of its commands by name

    @property
    def valued_options(self) -> dict[str, str]:
        """The options that take a value, and what their help calls it."""
        return {
            word: str(action.metavar or action.dest.upper())
            for word, action in self._option_string_actions.items()
            if action.nargs != 0 and word.startswith("--")
        }

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and exit."""
        self.print_usage(sys.stderr)
        self.exit(self.usage_status, f"{self.prog}: error: {message}\n")


def seconds(text: str) -> float:
    """Read a time limit.

    Examples
    --------
    >>> seconds("1.5")
    1.5
    """
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds above 0: {text}")
    return value


def natural(text: str) -> int:
    """Read a number that counts something.

    Examples
    --------
    >>> natural("0")
    0
    """
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"not a number from 0 on: {text}")
    return int(text)
