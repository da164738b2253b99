"""A console's ring, read by position, and its end, told to those who listen."""

from __future__ import annotations

import pytest

from osvlab.vm.console import Console


def test_bytes_are_read_by_position() -> None:
    console = Console()
    console.feed(b"abc")
    console.feed(b"def")
    assert console.since(0) == (0, b"abcdef")
    assert console.since(4, limit=1) == (4, b"e")
    assert console.since(6) == (6, b"")


def test_reading_dropped_bytes_starts_where_the_rest_does() -> None:
    console = Console(limit=100)
    for number in range(30):
        console.feed(b"line %d\n" % number)
    start, data = console.since(0)
    assert start > 0
    assert data.startswith(b"line ")
    assert start + len(data) == console.position
    assert console.since(0, limit=4) == (start, b"line")


def test_the_end_is_told_once_and_after_the_bytes() -> None:
    console, heard = Console(), []
    console.feed(b"early")
    console.subscribe(heard.append, on_end=heard.append)
    console.feed(b"late")
    assert console.ended is None
    console.end("exited with status 0")
    assert heard == [b"early", b"late", "exited with status 0"]
    assert console.ended == "exited with status 0"


def test_who_comes_after_the_end_is_told_at_once() -> None:
    console, heard = Console(), []
    console.feed(b"all")
    console.end("timed out after 1 s")
    console.subscribe(heard.append, replay=False, on_end=heard.append)
    assert heard == ["timed out after 1 s"]


def test_who_left_is_not_told() -> None:
    console, heard = Console(), []
    leave = console.subscribe(heard.append, on_end=heard.append)
    leave()
    console.end("exited with status 0")
    assert heard == []


def test_a_listener_that_fails_at_the_end_does_not_hurt_the_others() -> None:
    console, heard = Console(), []

    def broken(_: object) -> None:
        raise ValueError("broken")

    console.subscribe(lambda _: None, on_end=broken)
    console.subscribe(lambda _: None, on_end=heard.append)
    with pytest.warns(RuntimeWarning, match="broken"):
        console.end("exited with status 0")
    assert heard == ["exited with status 0"]
