"""The process that a command runs in: its streams, and the signals that end it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from osvlab.cli.exits import SIGNALLED

__all__ = ["discard_output", "open_streams", "terminated_in_order"]


def open_streams() -> None:
    """See to it that stdout and stderr are there, and print every name that a file may have.

    A stream that was closed (``>&-``) is the null device from now on. Its number must not go to the next
    file that is opened, which would then be printed into.
    """
    handle = os.open(os.devnull, os.O_RDWR)
    while handle <= 2:
        handle = os.dup(handle)
    os.close(handle)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it is there until Python ends
        elif hasattr(stream, "reconfigure"):  # a notebook's is of another kind
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Forget what could not be written to stdout: Python would try again when it ends, and complain."""
    try:
        handle = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a file: nothing is tried again
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, handle)
    os.close(null)


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Leave through every `finally` when told to end, so that guests and half-written files go.

    That is on SIGTERM, and on SIGHUP when the terminal goes away (unless nohup has it ignored).
    """

    def leave(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # once is enough, and tidying up must not be interrupted
        raise SystemExit(SIGNALLED + number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
