"""Threads work ahead, and nobody notices."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from osvlab.filesystems.zfs.writer.ordered import in_order


def test_results_come_in_order() -> None:
    gates = [threading.Event() for _ in range(2)]

    def first() -> str:
        assert gates[0].wait(30)  # the second one is done before
        return "first"

    def second() -> str:
        gates[0].set()
        return "second"

    calls = iter([first, second] if threads() > 1 else [partial(str, "first"), partial(str, "second")])
    assert list(in_order(calls)) == ["first", "second"]


def threads() -> int:
    from osvlab.filesystems.zfs.writer import ordered

    return ordered._THREADS


def test_an_error_comes_in_its_place_and_ends_it() -> None:
    done = []

    def fine(number: int) -> int:
        done.append(number)
        return number

    def wrong() -> int:
        raise ValueError("wrong")

    results = in_order(iter([partial(fine, 1), wrong, *(partial(fine, n) for n in range(1000))]))
    assert next(results) == 1
    with pytest.raises(ValueError, match="wrong"):
        next(results)
    assert len(done) < 100
    assert list(results) == []


def test_who_stops_asking_stops_the_work() -> None:
    before = set(threading.enumerate())
    results = in_order(partial(pow, n, 2) for n in range(1000))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
