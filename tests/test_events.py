from __future__ import annotations

import threading
import warnings

import pytest

from osvlab import events
from osvlab.events import (
    Event,
    StepFailed,
    StepFinished,
    StepProgress,
    StepStarted,
    listening,
    publish,
    step,
    subscribe,
)


def test_listeners_hear_in_the_order_in_which_they_came() -> None:
    heard: list[str] = []
    with listening(lambda e: heard.append("first")), listening(lambda e: heard.append("second")):
        publish(StepStarted("x"))
    publish(StepStarted("after"))
    assert heard == ["first", "second"]


def test_the_same_listener_twice_is_two_subscriptions() -> None:
    heard: list[Event] = []
    stop_one, stop_two = subscribe(heard.append), subscribe(heard.append)
    stop_one()
    stop_one()  # ending twice is harmless
    publish(StepStarted("x"))
    stop_two()
    assert len(heard) == 1


def test_a_failing_listener_is_warned_about_once_and_hurts_nobody() -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("broken widget")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with listening(broken), listening(heard.append):
            publish(StepStarted("a"))
            publish(StepStarted("b"))
    assert len(heard) == 2
    assert len(caught) == 1
    assert "broken widget" in str(caught[0].message)


def test_a_listener_may_unsubscribe_itself_and_publish() -> None:
    heard: list[str] = []

    def once(event: Event) -> None:
        heard.append(event.name)
        stop()
        publish(StepProgress("nested", 1, 1))

    stop = subscribe(once)
    publish(StepStarted("x"))
    assert heard == ["StepStarted"]


def test_threads_publish_and_subscribe_at_once() -> None:
    heard: list[Event] = []

    def work() -> None:
        for _ in range(200):
            subscribe(lambda e: None)()
            publish(StepStarted("x"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    with listening(heard.append):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(heard) == 800


def test_a_step_reports_its_end_and_its_failure() -> None:
    heard: list[Event] = []
    with listening(heard.append):
        with step("good") as running:
            running.bytes = 7
        with pytest.raises(ValueError, match="no"), step("bad"):
            raise ValueError("no")
    assert [e.name for e in heard] == ["StepStarted", "StepFinished", "StepStarted", "StepFailed"]
    assert isinstance(heard[1], StepFinished)
    assert heard[1].bytes == 7
    assert heard[1].seconds >= 0
    assert isinstance(heard[3], StepFailed)
    assert heard[3].error == "ValueError: no"


def test_progress_is_thinned_but_the_last_is_always_said() -> None:
    heard: list[Event] = []
    with listening(heard.append), step("copy") as running:
        for done in range(1001):
            running.progress(done, 1000)
    said = [e for e in heard if isinstance(e, StepProgress)]
    assert len(said) < 900
    assert (said[0].done, said[-1].done) == (0, 1000)


def test_no_listener_is_left_by_these_tests() -> None:
    before = len(events._listeners)
    subscribe(lambda e: None)()
    assert len(events._listeners) == before
