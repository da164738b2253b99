"""A guest's free memory and threads as a live chart under a cell."""

from __future__ import annotations

import struct
from collections.abc import Callable

from osvlab.guest.watch import Watch
from osvlab.widgets.stream import StreamWidget, static

__all__ = ["LiveChart"]

RECORD = struct.Struct("<4d")  # seconds, bytes free, bytes in all, threads: live.js reads it


class LiveChart(StreamWidget):
    """The course of a guest's free memory and of its threads, as it is seen.

    The chart goes on while a cell is busy, and ends with the watch, saying how the guest
    ended. Its samples are the watch's. `close` takes it out of the page; the watch goes on.

    Parameters
    ----------
    watch
        What to show.

    Notes
    -----
    Besides the messages of every `StreamWidget` the page sends ``{"type": "stop"}``.

    Examples
    --------
    >>> LiveChart(vm.watch())  # doctest: +SKIP
    """

    _esm = static("stream.js") + static("live.js")
    _css = static("live.css")

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        super().__init__(_Records(watch), title=f"Memory and threads of {watch.address}")

    def text(self) -> str:
        """Return the chart for those who read instead of look."""
        return str(self.watch)

    def _asked(self, message: object) -> None:
        match message:
            case {"type": "stop"}:
                self.watch.stop()  # which only says so; nothing here waits

    def _settle(self) -> None:
        # As long as there is a kernel it sends what a page lacks; the state is for later.
        if self._source.ended is not None:
            super()._settle()


class _Records:
    """The samples of a watch as a stream of bytes: records of one size."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def position(self) -> int:
        return self._watch.count * RECORD.size

    @property
    def ended(self) -> str | None:
        return self._watch.ended

    def since(self, position: int, limit: int | None = None) -> tuple[int, bytes]:
        """Return whole records only, also from within one on."""
        wanted = -(-position // RECORD.size)
        room = self._watch.count if limit is None else limit // RECORD.size
        first, samples = self._watch.since(wanted, room)
        rows = (RECORD.pack(each.seconds, each.free, each.total, each.threads) for each in samples)
        return first * RECORD.size, b"".join(rows)

    def subscribe(
        self,
        callback: Callable[[bytes], object],
        *,
        replay: bool = True,
        on_end: Callable[[str], object] | None = None,
    ) -> Callable[[], None]:
        if replay and self._watch.count:
            callback(self.since(0)[1])
        return self._watch.subscribe(
            lambda _: callback(b""), on_end if on_end is not None else lambda _: None
        )
