"""The named pipes to and from a guest: what it prints and reports is listened to, what is typed is sent.

Everything here runs on the owner's loop, except what is marked as callable from any other thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from osvlab.vm.console import OVER, ConsoleEndedError
from osvlab.vm.owner import owner

__all__ = ["Keyboard", "Output", "named_pipe"]

WRITE_DEADLINE = 10.0
"""Seconds for the guest to take some of what is typed, once its buffers are full."""

PAUSE = 0.001
"""Seconds between two looks at what a guest prints, on average, while it prints."""

LOOKS = 8
"""Looks without a pause after a quiet while: a line that comes alone is seen as it comes."""


def named_pipe(path: Path) -> int:
    """Make a named pipe, and open it so that neither end waits for the other; return its descriptor.

    Raises
    ------
    OSError
        It cannot be made, or there are no descriptors left.
    """
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


class _Pipe:
    """A named pipe that is there from `open` to `close`."""

    def __init__(self) -> None:
        self._fd = -1

    def open(self, path: Path) -> None:
        """Make the pipe. Raises OSError as `named_pipe` does."""
        self._loop = asyncio.get_running_loop()
        self._fd = named_pipe(path)

    def close(self) -> None:
        """Let go of the pipe, if it is there."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Output(_Pipe):
    """A pipe that a guest writes to.

    A guest prints byte by byte. A reader that woke up for each would take as much
    of the CPU as the guest itself: after a few looks in a row, the next waits a moment.

    Parameters
    ----------
    sink
        Called with what came.
    """

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        super().__init__()
        self._sink = sink
        self._pause: asyncio.TimerHandle | None = None
        self._left, self._since = float(LOOKS), 0.0  # how many looks without a pause, as of when

    def listen(self) -> None:
        """Give to the sink what comes from now on."""
        self._loop.add_reader(self._fd, self._hear)

    def _hear(self) -> None:
        self.drain()
        now = self._loop.time()
        self._left = min(LOOKS, self._left + (now - self._since) / PAUSE) - 1
        self._since = now
        if self._left < 1:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(PAUSE, self.listen)

    def drain(self) -> None:
        """Give to the sink what is there, all that a pipe holds."""
        with contextlib.suppress(BlockingIOError):
            self._sink(os.read(self._fd, 1 << 16))

    def stop(self) -> None:
        """Listen no longer; what comes is kept for `drain`."""
        if self._pause is not None:
            self._pause.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)

    def close(self) -> None:
        """Stop listening and let go of the pipe."""
        self.stop()
        super().close()


class Keyboard(_Pipe):
    """A pipe that a guest reads from."""

    def __init__(self) -> None:
        super().__init__()
        self._typing = asyncio.Lock()
        self._room = asyncio.Event()  # set when the pipe can take more, or is gone

    def type(self, data: bytes) -> None:
        """Send bytes, and wait until the pipe has them; callable from any thread but the owner's.

        Raises
        ------
        ConsoleEndedError
            The guest has ended, or takes nothing.
        """
        try:
            owner().call(self._send(data))
        except TimeoutError as error:
            raise ConsoleEndedError(
                f"the guest does not read its console: nothing was taken in {WRITE_DEADLINE:g} s",
                hint="Wait until it asks for input, or type less.",
            ) from error
        except OSError as error:
            raise ConsoleEndedError(
                "cannot write to the console: the virtual machine has ended", hint=OVER
            ) from error

    async def _send(self, data: bytes) -> None:
        async with self._typing:  # one after the other, also when the first must wait
            while data:
                try:
                    data = data[os.write(self._fd, data) :]
                except BlockingIOError:
                    # Once its buffers are full, a slow guest takes its time, but not for ever.
                    await asyncio.wait_for(self._writable(), WRITE_DEADLINE)

    async def _writable(self) -> None:
        self._room.clear()
        self._loop.add_writer(self._fd, self._room.set)
        try:
            await self._room.wait()
        finally:
            if self._fd >= 0:
                self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Let go of the pipe; who waits for room in it is told that the guest has ended."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
        self._room.set()
        super().close()
