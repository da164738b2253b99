"""The console without a guest: ring, waiting, subscribers."""

from __future__ import annotations

import re
import threading
import time

import pytest

from osvlab.vm.console import Console, ConsoleEndedError, ConsoleTimeoutError


def test_text_has_plain_line_ends_and_raw_has_the_guests() -> None:
    console = Console()
    console.feed(b"a\r")
    console.feed(b"\nb\xff\r\n")
    assert console.text == "a\nb\ufffd\n"
    assert console.raw == b"a\r\nb\xff\r\n"
    assert console.lines() == ["a", "b\ufffd"]
    assert str(console) == console.text
    assert console.tail(1) == "b\ufffd"


def test_ring_drops_whole_lines_and_counts_them() -> None:
    console = Console(limit=1000)
    for number in range(300):
        console.feed(f"line {number:03}\n".encode())
    lines = console.lines()
    match = re.fullmatch(r"\[\.\.\. (\d+) bytes dropped \.\.\.\]", lines[0])
    assert match is not None
    assert int(match[1]) + len(console.raw) == console.position == 2700
    assert all(re.fullmatch(r"line \d{3}", line) for line in lines[1:])
    assert lines[-1] == "line 299"


def test_ring_without_line_ends() -> None:
    console = Console(limit=1000)
    for _ in range(50):
        console.feed(b"x" * 100)
    assert len(console.raw) <= 1000
    assert console.position == 5000


def test_one_piece_larger_than_the_ring() -> None:
    console = Console(limit=1000)
    console.feed(b"x" * 100_000 + b"\nend\n")
    assert len(console.raw) <= 1000
    assert console.text.endswith("end\n")


def test_wait_for_what_arrives_in_pieces() -> None:
    console = Console()

    def talk() -> None:
        for piece in (b"Boot", b"ed up in 8", b".12 ms\r", b"\n"):
            console.feed(piece)

    threading.Timer(0.02, talk).start()
    assert console.wait_for(r"Booted up in ([0-9.]+) ms\n", timeout=20)[1] == "8.12"


def test_wait_for_takes_a_compiled_pattern() -> None:
    console = Console()
    console.feed(b"one\r\ntwo\r\n")
    assert console.wait_for(re.compile("^TWO$", re.IGNORECASE | re.MULTILINE), 1)[0] == "two"


def test_an_anchor_means_the_beginning_of_the_text() -> None:
    console = Console()
    console.feed(b"first\n" + b"x" * 10_000 + b"\n")
    with pytest.raises(ConsoleTimeoutError):
        console.wait_for("^x", timeout=0)


def test_since_hides_what_came_before() -> None:
    console = Console(send=lambda data: None)
    console.feed(b"# ")
    mark = console.write("ls\n")
    with pytest.raises(ConsoleTimeoutError):
        console.wait_for("# ", timeout=0, since=mark)
    console.feed(b"ls\r\na b\r\n# ")
    assert console.wait_for(r"ls\n(.*)\n# ", timeout=1, since=mark)[1] == "a b"


def test_since_a_place_that_was_dropped() -> None:
    console = Console(limit=100)
    console.feed(b"early\n")
    console.feed(b"x\n" * 200 + b"late\n")
    assert console.wait_for("late", timeout=1, since=3)
    with pytest.raises(ConsoleTimeoutError):
        console.wait_for("early", timeout=0)


def test_wait_for_ends_with_the_console() -> None:
    console = Console()
    console.feed(b"last words\n")
    threading.Timer(0.02, console.end, ("exited with status 1",)).start()
    with pytest.raises(ConsoleEndedError, match=r"(?s)exited with status 1.*last words"):
        console.wait_for("never", timeout=20)
    assert console.wait_for("words", timeout=0)


def test_an_empty_console_says_so() -> None:
    with pytest.raises(ConsoleTimeoutError, match="empty"):
        Console().wait_for("x", timeout=0)


def test_waiting_through_much_output_takes_linear_time() -> None:
    console = Console()
    began = time.monotonic()
    waiter = threading.Thread(target=console.wait_for, args=("the end", 60))
    waiter.start()
    for _ in range(2000):
        console.feed(b"y" * 400 + b"\n")
    console.feed(b"the end")
    waiter.join(60)
    assert not waiter.is_alive()
    assert time.monotonic() - began < 30


def test_subscribers_replay_and_unsubscribe() -> None:
    console = Console()
    console.feed(b"a")
    all_of_it: list[bytes] = []
    new: list[bytes] = []
    stop = console.subscribe(all_of_it.append)
    console.subscribe(new.append, replay=False)
    console.feed(b"b")
    stop()
    stop()
    console.feed(b"c")
    assert (b"".join(all_of_it), b"".join(new)) == (b"ab", b"bc")


def test_a_subscriber_that_fails_is_dropped_with_a_warning() -> None:
    console = Console()
    seen: list[bytes] = []

    def broken(data: bytes) -> None:
        raise ValueError("bad listener")

    console.subscribe(broken)
    console.subscribe(seen.append)
    with pytest.warns(RuntimeWarning, match="bad listener"):
        console.feed(b"x")
    console.feed(b"y")
    assert seen == [b"x", b"y"]


def test_a_subscriber_may_read_the_console() -> None:
    console = Console()
    seen: list[str] = []
    console.subscribe(lambda data: seen.append(console.text))
    console.feed(b"x")
    assert seen == ["x"]


def test_writing_to_nobody() -> None:
    with pytest.raises(ConsoleEndedError):
        Console().write("x")
