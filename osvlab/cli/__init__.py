"""The command line: what a person types.

Each command is a module with `add(commands)`, which declares its arguments, and `do(options)`, which does
it and returns the exit status. Heavy imports happen inside `do`, so that `osvlab --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130  # as in osvlab.cli.exits, which is not loaded yet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments
        What was typed after `osvlab`; `sys.argv[1:]` when None.

    Examples
    --------
    >>> main(["inspect", "/no/such.img"])
    1
    """
    try:
        # Here, so that Ctrl-C while modules are loaded is no traceback.
        from osvlab.cli.entry import do

        return do(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
