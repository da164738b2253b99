"""The live chart, against a comm that takes notes."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Callable, Iterator

import ipywidgets
import pytest

from osvlab.guest.watch import STOPPED, Watch
from osvlab.widgets.live import RECORD, LiveChart, _Records
from osvlab.widgets.sender import HEAD, PIECE
from osvlab.widgets.stream import MIRROR
from tests.guest.scripted import MIB, ScriptedRest, scripted_watch, until
from tests.widgets.fakes import Page
from tests.widgets.test_console import eventually

Make = Callable[..., tuple[ScriptedRest, LiveChart]]


@pytest.fixture
def chart(comms: None) -> Iterator[Make]:
    """Make charts of scripted guests."""
    made: list[tuple[ScriptedRest, LiveChart]] = []

    def chart(*script: tuple[float, int], keep: int = 2048) -> tuple[ScriptedRest, LiveChart]:
        rest = ScriptedRest(script)
        watch = scripted_watch(rest, keep=keep)
        until(watch, len(script))
        made.append((rest, LiveChart(watch)))
        return made[-1]

    yield chart
    for rest, each in made:
        each.close()
        end(rest, each.watch)


def end(rest: ScriptedRest, watch: Watch) -> None:
    watch.stop()
    rest.more((0, 0))


def rows(data: bytes) -> list[tuple[float, int, int]]:
    """Decode records, as live.js does."""
    return [
        (free / MIB, int(total / MIB), int(threads)) for _, free, total, threads in RECORD.iter_unpack(data)
    ]


def seen(chart: LiveChart) -> list[tuple[float, int, int]]:
    page = Page()
    for message, data in chart.comm.outputs():
        page.receive(message, data)
    assert page.gaps == 0
    return rows(page.text)


def test_samples_reach_the_page(chart: Make) -> None:
    rest, shown = chart()
    shown.comm.receive({"type": "hello"})
    rest.more((100, 5), (99.5, 6))
    eventually(lambda: seen(shown) == [(100, 128, 5), (99.5, 128, 6)])


def test_what_was_there_before_is_in_the_state(chart: Make) -> None:
    _, shown = chart((100, 5), (50, 6))
    assert shown.mirror["at"] == 0
    assert rows(shown.mirror["data"]) == [(100, 128, 5), (50, 128, 6)]


def test_a_reloaded_page_gets_everything_again(chart: Make) -> None:
    _, shown = chart((100, 5), (50, 6))
    shown.comm.receive({"type": "hello"})
    eventually(lambda: len(seen(shown)) == 2)
    shown.comm.receive({"type": "ack", "at": 2 * RECORD.size})
    shown.comm.sent.clear()
    shown.comm.receive({"type": "hello"})
    eventually(lambda: seen(shown) == [(100, 128, 5), (50, 128, 6)])


def test_the_end_is_shown_and_the_state_has_all_of_it(chart: Make) -> None:
    rest, shown = chart((100, 5))
    assert (shown.running, shown.status) == (True, "running")
    rest.more((90, 5))
    until(shown.watch, 2)
    shown.watch.stop()
    eventually(lambda: not shown.running)
    assert shown.status == STOPPED
    assert rows(shown.mirror["data"]) == [(100, 128, 5), (90, 128, 5)]


def test_the_page_can_stop_the_watch_and_nothing_waits(chart: Make) -> None:
    _, shown = chart((100, 5))  # its thread waits for an answer that does not come
    shown.comm.receive({"type": "stop"})
    assert shown.watch.ended == STOPPED
    eventually(lambda: not shown.running)


@pytest.mark.parametrize(
    "message",
    [None, [], {}, {"type": "start"}, {"type": "resend", "from": 10**30}, {"type": "ack", "at": 5}],
    ids=str,
)
def test_nonsense_from_a_page_is_passed_over(chart: Make, message: object) -> None:
    rest, shown = chart()
    shown.comm.receive(message)
    rest.more((100, 5))
    eventually(lambda: seen(shown) == [(100, 128, 5)])
    assert shown.watch.running


def test_records_are_whole_from_anywhere(chart: Make) -> None:
    _, shown = chart(*((n, n) for n in range(8)), keep=4)
    source = _Records(shown.watch)
    assert source.position == 8 * RECORD.size
    for position in range(source.position + 5):
        at, data = source.since(position, 100)
        assert at >= min(position, source.position)
        assert at % RECORD.size == 0 == len(data) % RECORD.size
        assert [threads for _, _, threads in rows(data)] == list(range(8))[at // RECORD.size :][:3]


def test_records_fit_the_messages() -> None:
    assert MIRROR % RECORD.size == HEAD % RECORD.size == PIECE % RECORD.size == 0
    assert struct.calcsize("<4d") == RECORD.size


def test_a_closed_chart_is_freed_and_the_watch_goes_on(comms: None) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    rest = ScriptedRest([(100, 5)])
    watch = scripted_watch(rest)
    shown = LiveChart(watch)
    shown.comm.receive({"type": "hello"})
    gone = weakref.ref(shown)
    shown.close()
    shown.close()  # twice does no harm
    del shown

    def freed() -> bool:
        gc.collect()
        return gone() is None

    eventually(freed)
    assert set(ipywidgets.widgets.widget._instances) == before
    rest.more((90, 5))
    until(watch, 2)
    assert watch.running
    end(rest, watch)


def test_the_text_is_beside_the_widget(chart: Make) -> None:
    _, shown = chart((100, 5), (50, 6))
    data, _ = shown._repr_mimebundle_() or ({}, {})
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "free memory: 50.0 of 128.0 MiB (50.0 to 100.0)" in data["text/plain"]
    assert "128.0 MiB" in str(shown.watch)
