"""The console of a guest: everything it printed, in a ring of bounded size.

The bytes come from the guest's first serial port. They are kept raw for those who
draw a terminal (`Console.subscribe`) and shown as text, with the serial line's
CR LF as plain newlines, to those who read (`Console.text`, `Console.wait_for`).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import re
import threading
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

from osvlab.errors import OsvlabError

__all__ = ["Console", "ConsoleEndedError", "ConsoleTimeoutError"]

T = TypeVar("T")

LIMIT = 1 << 20
"""Bytes a console keeps: a few thousand screens."""

# A wait looks again at this many characters before the place where its last look ended,
# so that a match may arrive in pieces without every look reading the whole console.
OVERLAP = 4096


OVER = "Boot it again; all that it printed is in vm.console.text."


class ConsoleTimeoutError(OsvlabError, TimeoutError):
    """What was waited for did not appear in time."""


class ConsoleEndedError(OsvlabError, EOFError):
    """The guest ended before what was waited for appeared, or can no longer be written to."""


class Console:
    r"""What a guest printed, and the way to type to it.

    Parameters
    ----------
    send
        Takes the bytes that `write` shall type, and returns when they are on their way.
    limit
        Bytes to keep. When there are more, the oldest go, and `text` begins with
        a line that says how many are gone.

    Examples
    --------
    >>> console = Console()
    >>> console.feed(b"Booted up in 8.12 ms\r\n")
    >>> console.wait_for(r"Booted up in ([0-9.]+) ms", timeout=1)[1]
    '8.12'
    >>> console.lines()
    ['Booted up in 8.12 ms']
    """

    def __init__(self, send: Callable[[bytes], None] | None = None, limit: int = LIMIT) -> None:
        self._send = send
        self._limit = limit
        self._bytes = bytearray()
        self._dropped = 0
        self._ended: str | None = None
        self._subscribers: dict[object, Callable[[bytes], object]] = {}
        self._at_end: dict[object, Callable[[str], object]] = {}
        # Ctrl-C never leaves its `with` half-way and the lock taken, as it does with a condition.
        self._lock = threading.RLock()

    # What the owner thread does

    def feed(self, data: bytes) -> None:
        """Append what the guest printed, and tell those who listen."""
        with self._lock:
            self._bytes += data
            if len(self._bytes) > self._limit:
                self._forget(len(self._bytes) - self._limit + self._limit // 8)
            self._tell(data)

    def end(self, reason: str) -> None:
        """Nothing will come any more: those who listen are told why."""
        with self._lock:
            self._ended = reason
            for key, callback in list(self._at_end.items()):
                self._guarded(key, callback, reason)

    def _forget(self, count: int) -> None:
        # Whole lines go, unless the next line end is far: half a line would look like a whole one.
        end = self._bytes.find(b"\n", count - 1, count + OVERLAP)
        count = end + 1 if end >= 0 else count
        del self._bytes[:count]
        self._dropped += count

    def _tell(self, data: bytes) -> None:
        # Under the lock, so that every subscriber gets every byte once and in order.
        for key, callback in list(self._subscribers.items()):
            self._guarded(key, callback, data)

    def _guarded(self, key: object, callback: Callable[[T], object], what: T) -> None:
        try:
            callback(what)
        except Exception as error:  # noqa: BLE001 - not ours, and it must not hurt the guest
            self._subscribers.pop(key, None)
            self._at_end.pop(key, None)
            warnings.warn(
                f"a console listener failed and was dropped: {callback!r}: {error!r}",
                RuntimeWarning,
                stacklevel=4,
            )

    # What everybody may do

    @property
    def text(self) -> str:
        """All that is kept, as text; bytes that are no UTF-8 show as U+FFFD."""
        with self._lock:
            raw, dropped = bytes(self._bytes), self._dropped
        marker = f"[... {dropped} bytes dropped ...]\n" if dropped else ""
        return marker + _decode(raw)

    @property
    def raw(self) -> bytes:
        """All that is kept, byte for byte as the guest sent it."""
        with self._lock:
            return bytes(self._bytes)

    @property
    def position(self) -> int:
        """How many bytes the guest has printed so far, dropped ones included."""
        with self._lock:
            return self._dropped + len(self._bytes)

    @property
    def ended(self) -> str | None:
        """Why nothing will come any more; None while something may."""
        with self._lock:
            return self._ended

    def since(self, position: int, limit: int | None = None) -> tuple[int, bytes]:
        """Return raw bytes from a `position` on, and the position where they start.

        That is later than asked for if the bytes in between were dropped.

        Parameters
        ----------
        position
            From where.
        limit
            Return at most this many bytes; None returns all.

        Examples
        --------
        >>> console = Console()
        >>> console.feed(b"abcdef")
        >>> console.since(2, limit=3)
        (2, b'cde')
        """
        with self._lock:
            start = max(position, self._dropped)
            offset = start - self._dropped
            end = None if limit is None else offset + limit
            return start, bytes(self._bytes[offset:end])

    def lines(self) -> list[str]:
        """Return the text line by line, without line ends."""
        return self.text.splitlines()

    def tail(self, count: int = 10) -> str:
        """Return the last lines, for error messages."""
        with self._lock:
            raw = bytes(self._bytes[-200 * count :])
        return "\n".join(_decode(raw).splitlines()[-count:])

    def write(self, text: str | bytes) -> int:
        r"""Type to the guest; a line ends with ``\n``.

        Returns
        -------
        int
            The console's `position` before typing, for ``wait_for(..., since=)``:
            what comes after it is the guest's answer (and its echo).

        Raises
        ------
        ConsoleEndedError
            The guest has ended.
        """
        if self._ended is not None or self._send is None:
            why = self._ended or "nobody reads it"
            raise ConsoleEndedError(f"cannot write to the console: {why}", hint=OVER)
        position = self.position
        # Bytes that are not UTF-8 came in as surrogates, from file names; they go out as they came.
        self._send(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
        return position

    def wait_for(
        self, pattern: str | re.Pattern[str], timeout: float | None = 30, *, since: int = 0
    ) -> re.Match[str]:
        """Wait until the console contains a match of a regular expression.

        What is already there counts, so that running a notebook cell again gives the
        same answer again; pass ``since`` to see only what came later.

        Parameters
        ----------
        pattern
            A regular expression, searched in text whose lines end in a plain newline.
            It is tried whenever something arrives: end it with what ends the thing
            you wait for, or you get the first half of a number.
        timeout
            Seconds; None waits as long as the guest runs.
        since
            A `position`: only what was printed from there on is searched.

        Raises
        ------
        ConsoleTimeoutError
            It did not appear in time; the message shows the last lines.
        ConsoleEndedError
            The guest ended first.
        """
        search = _Search(self, pattern, since)
        deadline = None if timeout is None else time.monotonic() + timeout
        # A queue in C: what sleeps here is interrupted by Ctrl-C, which must not leave a lock behind.
        news: queue.SimpleQueue[object] = queue.SimpleQueue()
        unsubscribe = self.subscribe(news.put, replay=False, on_end=news.put)
        try:
            while (match := search.look()) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise self._too_late(search, timeout)
                with contextlib.suppress(queue.Empty):
                    news.get(timeout=None if left is None else min(left, threading.TIMEOUT_MAX))
                    while True:  # one look is enough for all that came meanwhile
                        news.get_nowait()
            return match
        finally:
            unsubscribe()

    async def wait_for_async(
        self, pattern: str | re.Pattern[str], timeout: float | None = 30, *, since: int = 0
    ) -> re.Match[str]:
        r"""Wait as `wait_for` does, while the other tasks of the caller's asyncio loop go on.

        Examples
        --------
        >>> async def both() -> str:
        ...     console = Console()
        ...     asyncio.get_running_loop().call_later(0.01, console.feed, b"ready\r\n")
        ...     return (await console.wait_for_async("ready"))[0]
        >>> asyncio.run(both())
        'ready'
        """
        search = _Search(self, pattern, since)
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: object) -> None:
            loop.call_soon_threadsafe(changed.set)

        unsubscribe = self.subscribe(wake, replay=False, on_end=wake)
        try:
            async with asyncio.timeout(timeout):
                while (match := search.look()) is None:
                    await changed.wait()
                    changed.clear()
                return match
        except TimeoutError:
            raise self._too_late(search, timeout) from None
        finally:
            unsubscribe()

    def _too_late(self, search: _Search, timeout: float | None) -> ConsoleTimeoutError:
        return ConsoleTimeoutError(
            search.failed(f"not within {timeout:g} s"),
            hint="Give it more time with timeout=, or see all of it in vm.console.text.",
        )

    def _kept(self, since: int) -> tuple[int, bytes, str | None]:
        """Return where the kept bytes from a position on start, the bytes, and why nothing will follow."""
        with self._lock:
            first = max(since, self._dropped)
            raw = bytes(self._bytes[first - self._dropped :])
            return first, raw, self._ended

    def subscribe(
        self,
        callback: Callable[[bytes], object],
        *,
        replay: bool = True,
        on_end: Callable[[str], object] | None = None,
    ) -> Callable[[], None]:
        """Call `callback` with raw bytes as they arrive, until the returned function is called.

        The callback runs in the owner's thread and must be quick. One that raises is
        warned about and dropped.

        Parameters
        ----------
        callback
            Called with each piece of output, in order, nothing twice.
        replay
            Whether it first gets, at once, all that is already there.
        on_end
            Called once with the reason when nothing will come any more; at once if
            that is so already.
        """
        key = object()
        with self._lock:
            if replay and self._bytes:
                callback(bytes(self._bytes))
            self._subscribers[key] = callback
            if on_end is not None:
                self._at_end[key] = on_end
                if self._ended is not None:
                    on_end(self._ended)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.pop(key, None)
                self._at_end.pop(key, None)

        return unsubscribe

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Console, {self.position} bytes, {self._ended or 'open'}>"


class _Search:
    """A search that goes on where its last look ended."""

    def __init__(self, console: Console, pattern: str | re.Pattern[str], since: int) -> None:
        self._console = console
        self._wanted = re.compile(pattern)
        self._since = self._base = since
        self._start = 0

    def look(self) -> re.Match[str] | None:
        """Search what has arrived. Raises ConsoleEndedError when nothing is found and nothing will come."""
        first, raw, ended = self._console._kept(self._since)
        # Outside the lock: a slow expression must not hold up the guest's output.
        text = _decode(raw)
        match = self._wanted.search(text, self._start if first == self._base else 0)
        self._base, self._start = first, max(0, len(text) - OVERLAP)
        if match is None and ended is not None:
            raise ConsoleEndedError(self.failed(f"the guest ended first: {ended}"), hint=OVER)
        return match

    def failed(self, why: str) -> str:
        """Say that nothing was found."""
        tail = self._console.tail()
        said = f"The console's last lines:\n{tail}" if tail else "The console is empty."
        return f"no match for {self._wanted.pattern!r} on the console: {why}. {said}"


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\r\n", "\n")
