"""Ctrl-C at any moment of a wait: nothing is left locked that the owner needs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from osvlab.vm.console import Console, ConsoleTimeoutError
from osvlab.vm.owner import owner

SEED = 7
TIMES = 3000


class Interruption(BaseException):
    """As KeyboardInterrupt, but of this test."""


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Do something again and again, each time interrupted after some microseconds."""
    chance = random.Random(SEED)
    armed = False

    def interrupt(*_: object) -> None:
        if armed:
            raise Interruption

    def again(act: Callable[[], object]) -> None:
        nonlocal armed
        for _ in range(TIMES):
            with contextlib.suppress(Interruption):
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 150e-6))
                    act()
                finally:
                    armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, interrupt)
    yield again
    signal.signal(signal.SIGALRM, before)


def ends(act: Callable[[], object]) -> bool:
    """Whether something ends in another thread, as the owner is one."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_waiting_for_the_console(interrupted: Callable[[Callable[[], object]], None]) -> None:
    console = Console()

    def wait() -> None:
        with pytest.raises(ConsoleTimeoutError):
            console.wait_for("never", timeout=100e-6)

    interrupted(wait)
    assert ends(lambda: console.feed(b"still alive"))
    assert ends(lambda: console.end("over"))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before it was asked for
def test_calling_the_owner(interrupted: Callable[[Callable[[], object]], None]) -> None:
    owner()
    interrupted(lambda: owner().call(asyncio.sleep(50e-6)))
    assert ends(lambda: owner().call(asyncio.sleep(0)))
