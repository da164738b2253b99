"""The console of a guest on this terminal: what it prints goes to stdout, what is typed goes to it."""

from __future__ import annotations

import os
import queue
import select
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from osvlab.vm.console import Console, ConsoleEndedError

__all__ = ["END_OF_INPUT", "Screen", "keyboard"]

END_OF_INPUT = b"\x04"  # Ctrl-D: what a terminal sends for "no more input"


class Screen:
    """Copies a console to a stream, from the thread that calls `show`.

    The console's own thread must never wait for a slow reader of our output, so it only puts bytes into
    a queue.
    """

    def __init__(self, console: Console, stream: BinaryIO) -> None:
        self._stream = stream
        # A serial line ends lines with CR LF; files and pipes want LF.
        self._terminal = stream.isatty()
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._held = b""
        self._unsubscribe = console.subscribe(self._pieces.put)

    def end(self) -> None:
        """Let `show` return once it has shown what came before. May be called from any thread."""
        self._unsubscribe()
        self._pieces.put(None)

    def show(self) -> None:
        """Copy until `end` is called."""
        while (piece := self._pieces.get()) is not None:
            self._stream.write(piece if self._terminal else self._plain(piece))
            self._stream.flush()
        self._stream.write(self._held)
        self._stream.flush()

    def _plain(self, piece: bytes) -> bytes:
        # The two bytes may arrive in two pieces.
        piece = self._held + piece
        self._held = b"\r" if piece.endswith(b"\r") else b""
        return piece[: len(piece) - len(self._held)].replace(b"\r\n", b"\n")


@contextmanager
def keyboard(console: Console, end_of_input: bytes = END_OF_INPUT) -> Iterator[None]:
    """Send what is typed or piped to stdin to the guest's console, for the length of a `with` block.

    A terminal passes each key at once and does not echo it, as the guest does that; Ctrl-C still ends the
    run. At the end of a file or pipe the guest is sent `end_of_input`.
    """
    handle = _usable_stdin()
    if handle is None:
        yield
        return
    stop_read, stop_write = os.pipe()
    ready_read, ready_write = os.pipe()
    # A kernel empties its serial port when it sets it up; what it has printed proves that it has.
    forget = console.subscribe(_once(lambda: os.write(ready_write, b"!")))
    reader = threading.Thread(
        target=_copy_input,
        args=(handle, ready_read, stop_read, console.write, end_of_input),
        name="osvlab-keyboard",
        daemon=True,
    )
    with _unbuffered(handle):
        reader.start()
        try:
            yield
        finally:
            forget()
            os.close(stop_write)
            reader.join()
            for end in (stop_read, ready_read, ready_write):
                os.close(end)


def _once(act: Callable[[], object]) -> Callable[[bytes], None]:
    """Return a console listener that acts at the first output only."""
    acted = False

    def listener(data: bytes) -> None:
        nonlocal acted
        if data and not acted:
            acted = True
            act()

    return listener


def _usable_stdin() -> int | None:
    try:
        handle = sys.stdin.fileno()
        # A background job that touches its terminal is stopped.
        if os.isatty(handle) and os.tcgetpgrp(handle) != os.getpgrp():
            return None
    except (AttributeError, OSError, ValueError):
        return None  # closed, or no file at all
    return handle


def _copy_input(
    handle: int, ready: int, stop: int, write: Callable[[bytes], object], end_of_input: bytes
) -> None:
    if stop in select.select([ready, stop], [], [])[0]:
        return
    last = b"\n"
    with suppress(ConsoleEndedError):
        while True:
            if stop in select.select([handle, stop], [], [])[0]:
                return
            try:
                data = os.read(handle, 4096)
            except OSError:
                data = b""  # the terminal went away
            if not data:
                # As on any terminal, the first one in the middle of a line only ends the line.
                write(end_of_input if last in b"\r\n" else end_of_input * 2)
                return
            last = data[-1:]
            write(data)


@contextmanager
def _unbuffered(handle: int) -> Iterator[None]:
    if not os.isatty(handle):
        yield
        return
    before = termios.tcgetattr(handle)
    changed = termios.tcgetattr(handle)
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    termios.tcsetattr(handle, termios.TCSADRAIN, changed)
    try:
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
