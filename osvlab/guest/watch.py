"""Watching a guest: its free memory and its threads, again and again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osvlab.errors import OsvlabError
from osvlab.guest.address import GuestTimeoutError

if TYPE_CHECKING:
    from osvlab.guest.rest import Rest

__all__ = ["KEEP", "Sample", "Watch"]

KEEP = 2048
"""Samples that are kept: a quarter of an hour, two a second."""

GRACE = 2.0
"""Seconds to wait for the news that a guest has ended, when it does not answer any more."""

STOPPED = "stopped watching"

MIB = 1 << 20
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 48
"""Characters of a course in the text form."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment.

    Attributes
    ----------
    seconds
        Since the watch began.
    free, total
        Bytes of the guest's memory.
    threads
        How many threads it has.
    """

    seconds: float
    free: int
    total: int
    threads: int


class Watch:
    """Asks a guest's REST API how it is, until the guest ends or nobody wants to know.

    One thread asks. It ends with the guest; how, `ended` says, and nothing is raised. A guest
    that is too busy to answer in time leaves a gap. In a notebook a watch shows itself as a
    live chart, elsewhere as text.

    Parameters
    ----------
    rest
        The guest's REST API; it must stay open.
    interval
        Seconds between two samples.
    keep
        How many samples to keep; the oldest go.

    Raises
    ------
    OsvlabError
        There is no such interval.

    Examples
    --------
    >>> watch = vm.watch()  # doctest: +SKIP
    >>> watch.samples[-1].threads  # doctest: +SKIP
    7
    >>> pandas.DataFrame(watch.samples).plot(x="seconds", y="free")  # doctest: +SKIP
    """

    def __init__(self, rest: Rest, *, interval: float = 0.5, keep: int = KEEP) -> None:
        if not 0 < interval < threading.TIMEOUT_MAX:
            raise OsvlabError(f"not an interval: {interval!r}", hint="Give seconds above 0, like 0.5.")
        self.address = rest.address
        self.interval = interval
        self.ended: str | None = None
        self._rest = rest
        self._samples: deque[Sample] = deque(maxlen=keep)
        self._count = 0
        self._listeners: dict[object, tuple[Callable[[Sample], object], Callable[[str], object]]] = {}
        self._lock = threading.RLock()
        self._over = threading.Event()
        threading.Thread(target=self._run, name="osvlab-watch", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.ended is None

    @property
    def count(self) -> int:
        """How many samples there were, those that are not kept included."""
        return self._count

    @property
    def samples(self) -> list[Sample]:
        """The samples that are kept, the oldest first."""
        with self._lock:
            return list(self._samples)

    def since(self, number: int, limit: int) -> tuple[int, list[Sample]]:
        """Return samples from a number on, `limit` at most, and the first one's number.

        That is greater than asked for if the samples before it are not kept any more.
        """
        with self._lock:
            oldest = self._count - len(self._samples)
            first = min(max(number, oldest), self._count)
            return first, list(self._samples)[first - oldest : first - oldest + limit]

    def subscribe(
        self, on_sample: Callable[[Sample], object], on_end: Callable[[str], object]
    ) -> Callable[[], None]:
        """Call back with each new sample and once with the end, until the returned function is called.

        The calls come from the watch's thread, the end at once if it was before.
        """
        key = object()
        with self._lock:
            if self.ended is None:
                self._listeners[key] = (on_sample, on_end)
            else:
                on_end(self.ended)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return unsubscribe

    def stop(self) -> None:
        """Stop watching; the samples remain, and the guest runs on."""
        self._end(STOPPED)

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the watch ends, with its guest or by `stop`, and say why it did.

        Raises
        ------
        GuestTimeoutError
            It still goes on after `timeout` seconds.
        """
        if not self._over.wait(timeout) or self.ended is None:
            raise GuestTimeoutError(
                f"the guest at {self.address} is still watched after {timeout:g} s",
                hint="Wait longer, or end it with watch.stop().",
            )
        return self.ended

    # What its thread does

    def _run(self) -> None:
        began = due = time.monotonic()
        try:
            while not self._over.wait(max(0.0, due - time.monotonic())):
                self._look(began)
                due = max(due + self.interval, time.monotonic())  # what was missed is not made up for
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the end, and nobody is here to catch it
            self._end(self._why(error))

    def _look(self, began: float) -> None:
        try:
            free = self._rest.os.memory.free()
            threads = len(self._rest.os.threads())
            total = self._samples[-1].total if self._samples else self._rest.os.memory.total()
        except GuestTimeoutError:
            if self._rest.ended is not None:
                raise
            return
        sample = Sample(time.monotonic() - began, free, total, threads)
        with self._lock:
            if self.ended is None:
                self._samples.append(sample)
                self._count += 1
                for on_sample, _ in list(self._listeners.values()):
                    on_sample(sample)

    def _why(self, error: Exception) -> str:
        """Say why there will be no more samples; the end of the guest is news that may take a moment."""
        deadline = time.monotonic() + GRACE
        while (why := self._rest.ended) is None:
            if time.monotonic() > deadline or self._over.wait(0.02):
                return error.message if isinstance(error, OsvlabError) else repr(error)
        return why

    def _end(self, why: str) -> None:
        with self._lock:
            if self.ended is None:
                self.ended = why
                for _, on_end in list(self._listeners.values()):
                    on_end(why)
                self._listeners.clear()
                self._over.set()

    # How it shows itself

    def __repr__(self) -> str:
        return f"<Watch of {self.address}: {self._count} samples, {self.ended or 'running'}>"

    def __str__(self) -> str:
        samples = self.samples
        if not samples:
            return repr(self)
        free = [sample.free / MIB for sample in samples]
        threads = [sample.threads for sample in samples]
        total = samples[-1].total / MIB
        return "\n".join(
            (
                repr(self),
                f"free memory: {free[-1]:.1f} of {total:.1f} MiB ({min(free):.1f} to {max(free):.1f})",
                course(free, total),
                f"threads: {threads[-1]} ({min(threads)} to {max(threads)})",
                course(threads, max(threads)),
                f"from {samples[0].seconds:.1f} s to {samples[-1].seconds:.1f} s",
            )
        )

    def _ipython_display_(self) -> None:
        # Up the house, as with a VM: only who shows things knows how, and only IPython asks.
        from osvlab.widgets.display import show_watch

        show_watch(self)


def course(values: list[float] | list[int], full: float, width: int = WIDTH) -> str:
    """Draw values as a line of bars, each the mean of its share of them.

    Examples
    --------
    >>> course([0, 1, 2, 3, 4, 5, 6, 7], full=7)
    '▁▂▃▄▅▆▇█'
    """
    width = min(width, len(values))
    pieces = [values[len(values) * n // width : len(values) * (n + 1) // width] for n in range(width)]
    means = [sum(piece) / len(piece) for piece in pieces]
    top = len(BARS) - 1
    return "".join(BARS[min(top, round(top * mean / full))] if full > 0 else BARS[0] for mean in means)
