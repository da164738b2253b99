"""From what was typed to a command, and from what went wrong to words and an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from osvlab import __version__
from osvlab.cli import (
    build,
    cat,
    check,
    compose,
    cp,
    curl,
    demo,
    doctor,
    du,
    exec,
    explain,
    inspect,
    ls,
    run,
    top,
    unpack,
)
from osvlab.cli.exits import EXIT_STATUSES, FAILURE, INTERRUPTED, PIPE_CLOSED
from osvlab.cli.hints import in_shell
from osvlab.cli.parser import Parser
from osvlab.cli.place import printable
from osvlab.cli.process import discard_output, open_streams, terminated_in_order
from osvlab.errors import OsvlabError

__all__ = ["command_parser", "do"]

# In the order in which help lists them.
_COMMANDS = (
    *(run, build, compose, inspect, ls, cat, du, cp, check, explain, unpack),
    *(top, exec, curl, doctor, demo),
)


def do(words: Sequence[str]) -> int:
    """Run one command and return its exit status.

    Examples
    --------
    >>> do(["inspect", "/no/such.img"])
    1
    """
    open_streams()
    parser = command_parser()
    # Everything after "--" belongs to the guest, also what looks like our options. Where there is no guest,
    # it is as everywhere: what follows are no options, such as files that begin with a dash.
    end = len(words)
    if words and words[0] in parser.commands and parser.commands[words[0]].get_default("takes_command"):
        end = words.index("--") if "--" in words else end
    options, unknown = parser.parse_known_args(words[:end])
    if unknown and "--" in words[:end]:
        return _fail(f"{options.name} takes no command after --", None, FAILURE)
    if unknown:
        # Argparse would let the main parser complain, which knows neither the usage nor the exit status.
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.words = words[end + 1 :]
    with terminated_in_order():
        return _do(options)


def _do(options: argparse.Namespace) -> int:
    """Do what was asked for, and turn whatever goes wrong into words and an exit status."""
    failure: int = getattr(options, "failure", FAILURE)
    try:
        status: int = options.do(options)
        sys.stdout.flush()
    except OsvlabError as error:
        hint = error.hint and in_shell(error.hint, options.parser.valued_options)
        return _fail(_named(error, options), hint, failure)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        discard_output()  # whoever read it has seen enough
        return PIPE_CLOSED
    except OSError as error:
        # The lab's own files have errors of their own: this is the output, or a limit of the process.
        discard_output()
        hint = "See where the output goes, whether a disk is full (df), and what the limits are (ulimit -a)."
        if error.filename is not None:
            hint = "Check path and permissions."
        return _fail(f"the operating system refused: {error}", hint, failure)
    return status


def _named(error: OsvlabError, options: argparse.Namespace) -> str:
    from osvlab.filesystems.base import DamagedError

    # It names the structure and where that lies, but only we know what the file is called.
    image = getattr(options, "image", None)
    if isinstance(error, DamagedError) and image is not None and image not in error.message:
        return f"{image}: {error.message}"
    return error.message


def _fail(message: str, hint: str | None, status: int) -> int:
    # Names in it may come from an image, and must not steer the terminal; lists have lines.
    print(*map(printable, f"osvlab: {message}".split("\n")), sep="\n", file=sys.stderr)
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)
    return status


def command_parser() -> Parser:
    """Return the parser of all commands.

    Examples
    --------
    >>> command_parser().parse_args(["check", "x.img"]).place
    'x.img'
    """
    parser = Parser(
        prog="osvlab",
        description="Build library-OS images, look inside them, boot them.",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"osvlab {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    for added in commands.choices.values():
        added.set_defaults(parser=added)
    parser.commands = commands.choices
    return parser
