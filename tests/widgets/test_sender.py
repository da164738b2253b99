"""When and what a sender sends, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from osvlab.vm.console import Console
from osvlab.widgets import sender as module
from osvlab.widgets.sender import Sender
from tests.widgets.fakes import FakeLoop, Page

Sent = list[tuple[float, dict[str, Any], bytes]]


class Line:
    """A console, a sender, and what it sent."""

    def __init__(self, loop: FakeLoop, limit: int = 1 << 20) -> None:
        self.loop = loop
        self.console = Console(limit=limit)
        self.sent: Sent = []
        self.settled: list[float] = []
        self.sender = Sender(
            self.console,
            loop,
            lambda message, data: self.sent.append((loop.now, message, data)),
            lambda: self.settled.append(loop.now),
        )

    def page(self, start: int = 0) -> Page:
        """Return a page that got everything sent so far, from a message on."""
        page = Page()
        for _, message, data in self.sent[start:]:
            page.receive(message, data)
        return page


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    loop.close()


@pytest.fixture
def line(loop: FakeLoop) -> Line:
    return Line(loop)


def test_what_is_printed_is_sent(line: Line) -> None:
    line.console.feed(b"hello\r\n")
    line.loop.advance(0.1)
    assert line.page().text == b"hello\r\n"


def test_nothing_printed_sends_nothing(line: Line) -> None:
    line.loop.advance(60)
    assert line.sent == []


def test_messages_are_batched(line: Line) -> None:
    line.sender.hello()
    for _ in range(1000):
        line.console.feed(b"x")
        line.loop.advance(0.001)
    line.loop.advance(0.1)
    assert len(line.sent) < 40
    assert line.page().text == b"x" * 1000
    times = [time for time, _, _ in line.sent]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= module.TICK - 1e-9


def test_messages_stay_below_64_kib(line: Line) -> None:
    line.sender.hello()
    line.console.feed(b"y" * 300_000)
    line.loop.advance(1)
    assert max(len(data) for _, _, data in line.sent) == 64 << 10
    assert line.page().text == b"y" * 300_000


def test_a_page_that_comes_late_gets_the_first_messages_again(line: Line) -> None:
    for text in (b"one ", b"two ", b"three"):
        line.console.feed(text)
        line.loop.advance(0.05)
    assert line.page(start=len(line.sent) - 1).text == b"one two three"


def test_a_page_that_never_speaks_gets_long_output_all_the_same(line: Line) -> None:
    line.console.feed(b"z" * 100_000)
    line.loop.advance(1)
    assert line.page().text == b"z" * module.HEAD
    line.loop.advance(5)
    assert line.page().text == b"z" * 100_000


def test_a_lost_message_is_sent_again_on_request(line: Line) -> None:
    line.sender.hello()
    for text in (b"one ", b"two ", b"three"):
        line.console.feed(text)
        line.loop.advance(0.05)
    page = Page()
    for number, (_, message, data) in enumerate(line.sent):
        if number != 1:
            page.receive(message, data)
    assert page.text == b"one "
    assert page.gaps == 1
    seen = len(line.sent)
    line.sender.resend(page.next)
    line.loop.advance(0.05)
    for _, message, data in line.sent[seen:]:
        page.receive(message, data)
    assert page.text == b"one two three"


def test_a_lost_last_message_is_sent_again_unasked(line: Line) -> None:
    line.sender.hello()
    line.console.feed(b"first ")
    line.loop.advance(0.05)
    line.sender.acknowledge(6)
    line.console.feed(b"last")
    line.loop.advance(0.05)
    seen = len(line.sent)
    line.loop.advance(1.5)
    assert [(message["at"], data) for _, message, data in line.sent[seen:]] == [(6, b"last")]


def test_who_never_answers_is_not_called_for_ever(line: Line) -> None:
    line.console.feed(b"anybody?")
    line.loop.advance(3600)
    assert len(line.sent) == 1 + len(module.REPEATS)


def test_who_answered_is_left_in_peace(line: Line) -> None:
    line.sender.hello()
    line.console.feed(b"hello")
    line.loop.advance(0.05)
    line.sender.acknowledge(5)
    seen = len(line.sent)
    line.loop.advance(3600)
    assert len(line.sent) == seen


def test_a_page_that_was_loaded_again_starts_over(line: Line) -> None:
    line.sender.hello()
    line.console.feed(b"before the reload")
    line.loop.advance(0.1)
    line.sender.acknowledge(17)
    seen = len(line.sent)
    line.sender.hello()
    line.loop.advance(0.1)
    assert line.sent[seen][1]["fresh"]
    assert line.page(start=seen).text == b"before the reload"


def test_a_second_page_does_not_disturb_the_first(line: Line) -> None:
    line.sender.hello()
    line.console.feed(b"abc")
    line.loop.advance(0.1)
    line.sender.hello()
    line.console.feed(b"def")
    line.loop.advance(0.1)
    assert line.page().text == b"abcdef"


def test_dropped_bytes_are_counted(loop: FakeLoop) -> None:
    line = Line(loop, limit=1000)
    for number in range(100):
        line.console.feed(b"line %04d of many\n" % number)
    line.sender.hello()
    loop.advance(0.1)
    start, kept = line.console.since(0)
    assert start > 0
    assert line.page().text == b"[%d]" % start + kept


def test_a_guest_that_floods_a_silent_page_is_slowed_down(line: Line) -> None:
    line.sender.hello()
    for _ in range(2000):
        line.console.feed(b"f" * 10_000)
        line.loop.advance(0.01)
    volume = sum(len(data) for _, _, data in line.sent)
    assert volume < 8_000_000  # of the 20 MB that were printed
    assert line.page().gaps == 0


def test_the_state_settles_when_it_is_quiet(line: Line) -> None:
    for _ in range(100):
        line.console.feed(b"busy ")
        line.loop.advance(0.02)
    assert line.settled == []
    line.loop.advance(2)
    assert len(line.settled) == 1
    line.loop.advance(60)
    assert len(line.settled) == 1


def test_the_state_settles_at_the_end_at_once(line: Line) -> None:
    line.sender.hello()
    line.console.feed(b"bye")
    line.console.end("exited with status 0")
    line.loop.advance(0.1)
    assert line.page().text == b"bye"
    assert line.settled


def test_a_closed_sender_is_silent(line: Line) -> None:
    line.sender.close()
    line.console.feed(b"into the void")
    line.console.end("exited with status 0")
    line.loop.advance(10)
    assert line.sent == []
    assert line.settled == []


@pytest.mark.parametrize("position", [10**9, 4])
def test_a_page_cannot_run_ahead(line: Line, position: int) -> None:
    line.sender.hello()
    line.console.feed(b"abc")
    line.loop.advance(0.1)
    line.sender.acknowledge(position)
    line.sender.resend(position)
    line.console.feed(b"def")
    line.loop.advance(0.1)
    assert line.page().text == b"abcdef"
