"""A REST API that says what a test wants, when a guest cannot be made to: busy, gone, damaged."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

from osvlab.guest import Address
from osvlab.guest.rest import Rest
from osvlab.guest.watch import Watch

MIB = 1 << 20


class ScriptedRest:
    """Answers with one pair (MiB free, threads) after the other; raises what is an exception.

    After the last one it keeps the watch waiting until `more` is called.
    """

    def __init__(self, script: Iterable[tuple[float, int] | Exception] = (), total: int = 128) -> None:
        self.address = Address("127.0.0.1", 8000)
        self.ended: str | None = None
        self.os = SimpleNamespace(
            memory=SimpleNamespace(free=self._free, total=lambda: total * MIB), threads=self._threads
        )
        self._script = list(script)
        self._at = 0
        self._more = threading.Condition()
        self._count = 0

    def more(self, *script: tuple[float, int] | Exception) -> None:
        """Go on with these."""
        with self._more:
            self._script += script
            self._more.notify_all()

    def _free(self) -> int:
        with self._more:
            assert self._more.wait_for(lambda: self._at < len(self._script), timeout=60)
            step = self._script[self._at]
            self._at += 1
        if isinstance(step, Exception):
            raise step
        free, self._count = step
        return int(free * MIB)

    def _threads(self) -> list[None]:
        return list(itertools.repeat(None, self._count))


def scripted_watch(rest: ScriptedRest, *, interval: float = 0.001, keep: int = 2048) -> Watch:
    """Watch it."""
    return Watch(cast(Rest, rest), interval=interval, keep=keep)


def until(watch: Watch, count: int) -> None:
    """Wait until a watch has seen so many samples."""
    seen = threading.Event()

    def look(_: object) -> None:
        if watch.count >= count:
            seen.set()

    unsubscribe = watch.subscribe(look, look)
    look(None)
    assert seen.wait(60)
    unsubscribe()
