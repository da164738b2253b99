"""From a stream of bytes to the pages that show it: which bytes to send, and when.

A page is a browser tab that somebody may have open, now or later. There may be none,
and a page may be unable to answer for minutes: what it says reaches Python only when
the kernel is not busy with a cell. So a sender never waits for a page, and still
nothing is lost that the stream's source, such as a console, keeps:

- Every piece of output is numbered with the position of its first byte in all that ever
  was. A page drops what it has already, and asks for what it lacks.
- Nothing is sent more often than every 30 ms, and never more than 64 KiB at once. The
  server between the kernel and the page drops messages that come faster.
- Until a page has spoken, messages begin where the widget's own state ended, while
  that fits: a page that was not ready for the first ones lacks nothing.
- What no page has confirmed is sent again a few times, and then left for it to ask.
- Far ahead of the last answer, the sender slows down. What the source has dropped by
  then is said in numbers.

Everything here runs on the owner's loop, except what is marked as callable from any
thread. The source is the only buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Loop", "Sender", "Source"]

PIECE = 64 << 10
"""Bytes in a message, at most."""

TICK = 0.03
"""Seconds between two messages."""

HEAD = 16 << 10
"""Bytes that are sent again and again to a page that has not spoken yet."""

PATIENCE = 1.5
"""Seconds to wait for a page to speak before more than the head is sent."""

WINDOW = 1 << 20
"""Bytes that may be on their way without an answer before the sender slows down."""

SLOW = 0.25
"""Seconds between two messages then."""

REPEATS = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait for an answer before each time that the unanswered is sent again."""

SETTLED = 1.0
"""Seconds of quiet after which what the source has is put into the widget's state."""


class Source(Protocol):
    """Where the bytes are: a `Console`, or what behaves like one."""

    @property
    def position(self) -> int:
        """How many bytes there ever were."""

    @property
    def ended(self) -> str | None:
        """Why there will be no more; None as long as there may be."""

    def since(self, position: int, limit: int | None = None) -> tuple[int, bytes]:
        """Return bytes from a position on, and the position where they start."""

    def subscribe(
        self,
        callback: Callable[[bytes], object],
        *,
        replay: bool = True,
        on_end: Callable[[str], object] | None = None,
    ) -> Callable[[], None]:
        """Call back when there is more, and once at the end, until the returned function is called."""


class Loop(Protocol):
    """What a sender needs of an asyncio loop."""

    def time(self) -> float:
        """Return the loop's clock, in seconds."""

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call something at a time of that clock."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        """Call something soon, from any thread."""


class Sender:
    """Sends what a source gets to whoever shows it.

    Parameters
    ----------
    source
        Where the bytes are.
    loop
        The loop to run on.
    send
        Takes a message and the bytes that go with it.
    settle
        Called when there has been nothing to send for a second, and after the end.
    start
        The position up to which pages know already, from the widget's state.
    """

    def __init__(
        self,
        source: Source,
        loop: Loop,
        send: Callable[[dict[str, Any], bytes], object],
        settle: Callable[[], object],
        start: int = 0,
    ) -> None:
        self._source = source
        self._loop = loop
        self._send = send
        self._settle = settle
        self._start = self._sent = self._acked = self._settled = start
        self._born = self._last = loop.time()
        self._heard = False
        self._fresh = False
        self._repeats = 0
        self._awake = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._unsubscribe = source.subscribe(
            lambda _: self.wake(), replay=False, on_end=lambda _: self.wake()
        )
        self.wake()

    # From any thread

    def wake(self) -> None:
        """There is something new."""
        # It may come byte by byte: one call a message is enough.
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._go_on)

    def hello(self) -> None:
        """Begin again from the start: a page is there and knows nothing."""
        self._loop.call_soon_threadsafe(self._rewind, 0, True)

    def resend(self, position: int) -> None:
        """Go back to a position: a page lacks what comes after it."""
        self._loop.call_soon_threadsafe(self._rewind, position, False)

    def acknowledge(self, position: int) -> None:
        """Note that a page has everything up to a position."""
        self._loop.call_soon_threadsafe(self._acknowledge, position)

    def close(self) -> None:
        """Send nothing more, and let go of the source."""
        self._unsubscribe()
        self._closed = True
        self._loop.call_soon_threadsafe(self._cancel)

    # On the loop

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, after: float) -> None:
        """See to it that `_flush` runs `after` seconds from the last message, or sooner."""
        when = max(self._last + after, self._loop.time())
        if self._closed or (self._timer is not None and self._timer.when() <= when):
            return
        self._cancel()
        self._timer = self._loop.call_at(when, self._flush)

    def _go_on(self) -> None:
        self._arm(SLOW if self._sent - self._acked > WINDOW else TICK)

    def _rewind(self, position: int, fresh: bool) -> None:
        self._heard = True
        self._repeats = 0
        self._fresh = self._fresh or fresh
        # Another page may be ahead; it drops what it has.
        self._sent = self._acked = min(position, self._sent)
        self._arm(TICK)

    def _acknowledge(self, position: int) -> None:
        self._heard = True
        self._repeats = 0
        self._acked = max(self._acked, min(position, self._sent))

    def _flush(self) -> None:
        self._timer = None
        self._awake = False  # before looking, so that what comes while we look wakes us again
        if self._closed:
            return
        position = self._source.position
        if self._sent >= position and not self._fresh:
            self._rest(position)
            return
        if self._heard:
            self._transmit(self._sent, PIECE)
        elif self._sent - self._start < HEAD:
            self._transmit(self._start, HEAD)
        elif self._loop.time() - self._born < PATIENCE:
            self._arm(PATIENCE)
            return
        else:
            self._transmit(self._sent, PIECE)
        self._repeats = 0
        self._go_on()

    def _transmit(self, start: int, limit: int) -> None:
        self._last = self._loop.time()
        at, data = self._source.since(start, limit)
        self._sent = max(self._sent, at + len(data))
        message = {"type": "output", "at": at, "lost": at - start, "fresh": self._fresh}
        self._fresh = False
        self._send(message, data)

    def _rest(self, position: int) -> None:
        """Nothing is new: settle, and make sure that what was sent has arrived."""
        quiet = self._loop.time() - self._last
        if self._settled != position or self._source.ended is not None:
            if quiet < SETTLED and self._source.ended is None:
                self._arm(SETTLED)
            else:
                self._settled = position
                self._settle()
        if self._acked < self._sent and self._repeats < len(REPEATS):
            if quiet >= REPEATS[self._repeats]:
                self._repeats += 1
                first = self._acked if self._heard else self._start
                self._transmit(first, PIECE if self._heard else HEAD)
            if self._repeats < len(REPEATS):
                self._arm(REPEATS[self._repeats])
