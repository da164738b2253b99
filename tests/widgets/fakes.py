"""A clock that the test turns, and a comm that only takes notes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from comm.base_comm import BaseComm


class FakeLoop:
    """As much of an asyncio loop as a sender uses, with a clock that `advance` moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._real = asyncio.new_event_loop()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, (), self._real)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        return self.call_at(self.now, lambda: callback(*args))

    def advance(self, seconds: float) -> None:
        """Let time pass, and run what comes due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, handle = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not handle.cancelled():
                handle._run()
        self.now = end

    def close(self) -> None:
        self._real.close()


class FakeComm(BaseComm):
    """A comm to a page that is not there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sent: list[tuple[dict[str, Any], Sequence[Any]]] = []
        super().__init__(*args, **options)

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        if msg_type == "comm_msg":
            self.sent.append((data, buffers or []))

    def outputs(self) -> list[tuple[dict[str, Any], bytes]]:
        """Return the widget's own messages."""
        return [
            (data["content"], bytes(buffers[0])) for data, buffers in self.sent if data["method"] == "custom"
        ]

    def receive(self, content: object) -> None:
        """Let a page say something."""
        self.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


class Page:
    """What the page does with messages, in Python: the twin of stream.js."""

    def __init__(self) -> None:
        self.next = 0
        self.text = b""
        self.gaps = 0

    def receive(self, message: dict[str, Any], data: bytes) -> None:
        if message["fresh"]:
            self.next, self.text = 0, b""
        if message["at"] - message["lost"] > self.next:
            self.gaps += 1
            return
        if message["at"] > self.next:
            self.text += b"[%d]" % (message["at"] - self.next)
            self.next = message["at"]
        known = self.next - message["at"]
        if known < len(data):
            self.text += data[known:]
            self.next = message["at"] + len(data)
