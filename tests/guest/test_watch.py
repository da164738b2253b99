"""Watching a guest: what is seen, what is kept, and how it ends."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import osvlab
from osvlab.demo import compile_example
from osvlab.errors import OsvlabError
from osvlab.guest import GuestTimeoutError, GuestUnreachableError, RestError
from osvlab.guest import watch as module
from osvlab.guest.watch import STOPPED, Sample, Watch
from osvlab.vm.network import NetworkError
from osvlab.vm.vm import VM
from tests.guest.scripted import MIB, ScriptedRest, scripted_watch, until

Start = Callable[..., Watch]


@pytest.fixture
def start() -> Iterator[Start]:
    """Watch scripted guests; the threads are gone when the test is over."""
    started: list[tuple[ScriptedRest, Watch]] = []
    before = set(threading.enumerate())

    def start(rest: ScriptedRest, keep: int = 2048) -> Watch:
        watch = scripted_watch(rest, keep=keep)
        started.append((rest, watch))
        return watch

    yield start
    for rest, watch in started:
        watch.stop()
        rest.more((0, 0))  # so that nothing waits
    for thread in set(threading.enumerate()) - before:
        if thread.name == "osvlab-watch":
            thread.join(60)
            assert not thread.is_alive()


def test_samples_are_what_the_guest_said(start: Start) -> None:
    watch = start(ScriptedRest([(100, 5), (90.5, 6), (64, 12)]))
    until(watch, 3)
    assert [(each.free, each.total, each.threads) for each in watch.samples] == [
        (100 * MIB, 128 * MIB, 5),
        (int(90.5 * MIB), 128 * MIB, 6),
        (64 * MIB, 128 * MIB, 12),
    ]
    times = [each.seconds for each in watch.samples]
    assert times == sorted(times)
    assert times[0] >= 0
    assert watch.running


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf])
def test_there_is_no_such_interval(interval: float) -> None:
    with pytest.raises(OsvlabError, match="not an interval"):
        scripted_watch(ScriptedRest(), interval=interval)


def test_the_guests_end_is_the_watchs_end(start: Start) -> None:
    rest = ScriptedRest([(100, 5)])
    watch = start(rest)
    until(watch, 1)
    rest.ended = "exited with status 3"
    rest.more(GuestUnreachableError("nothing answers"))
    assert watch.wait(60) == "exited with status 3"
    assert len(watch.samples) == 1


def test_the_news_of_the_end_may_come_late(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks before QEMU has ended; the reason is the end, not the connection."""
    monkeypatch.setattr(module, "GRACE", 60)
    rest = ScriptedRest([GuestUnreachableError("nothing answers")])
    watch = start(rest)
    threading.Timer(0.2, lambda: setattr(rest, "ended", "crashed: page fault")).start()
    assert watch.wait(60) == "crashed: page fault"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GuestUnreachableError("nothing answers at 127.0.0.1:8000", hint="?"), "nothing answers at"),
        (RestError("GET /os/threads: the guest says 401", 401), "the guest says 401"),
        (RuntimeError("the client has been closed"), "RuntimeError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_goes_wrong_is_the_end_and_no_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    assert said in start(ScriptedRest([(100, 5), error])).wait(60)


def test_a_busy_guest_leaves_a_gap(start: Start) -> None:
    watch = start(ScriptedRest([(100, 5), GuestTimeoutError("no answer"), (80, 5)]))
    until(watch, 2)
    assert [each.free for each in watch.samples] == [100 * MIB, 80 * MIB]
    assert watch.running


def test_the_history_is_bounded(start: Start) -> None:
    watch = start(ScriptedRest([(n, n) for n in range(10)]), keep=4)
    until(watch, 10)
    assert [each.threads for each in watch.samples] == [6, 7, 8, 9]
    assert watch.count == 10
    assert [each.threads for each in watch.since(8, 100)[1]] == [8, 9]
    first, samples = watch.since(0, 2)
    assert (first, [each.threads for each in samples]) == (6, [6, 7])
    assert watch.since(99, 5) == (10, [])


def test_stop_is_the_end(start: Start) -> None:
    rest = ScriptedRest([(100, 5)])
    watch = start(rest)
    until(watch, 1)
    watch.stop()
    watch.stop()
    rest.more((90, 5))  # an answer that comes too late
    assert watch.wait(0) == STOPPED
    assert len(watch.samples) == 1


def test_waiting_has_an_end(start: Start) -> None:
    with pytest.raises(GuestTimeoutError, match="still watched after"):
        start(ScriptedRest()).wait(0.01)


def test_listeners_hear_everything_once(start: Start) -> None:
    rest = ScriptedRest()
    watch = start(rest)
    heard: list[Sample] = []
    ends: list[str] = []
    watch.subscribe(heard.append, ends.append)
    deaf: list[Sample] = []
    watch.subscribe(deaf.append, ends.append)()
    rest.more((1, 1), (2, 2))
    until(watch, 2)
    watch.stop()
    assert heard == watch.samples
    assert deaf == []
    assert ends == [STOPPED]
    watch.subscribe(heard.append, ends.append)  # too late: only the end is left to tell
    assert ends == [STOPPED, STOPPED]


def test_a_watch_is_a_text(start: Start) -> None:
    watch = start(ScriptedRest([(128, 1), (64, 8), (0, 4)]))
    until(watch, 3)
    watch.stop()
    lines = str(watch).splitlines()
    assert lines[0] == "<Watch of 127.0.0.1:8000: 3 samples, stopped watching>"
    assert lines[1:5] == [
        "free memory: 0.0 of 128.0 MiB (0.0 to 128.0)",
        "█▅▁",
        "threads: 4 (1 to 8)",
        "▂█▅",
    ]


def test_a_watch_without_samples_is_a_text_too(start: Start) -> None:
    assert str(start(ScriptedRest())) == "<Watch of 127.0.0.1:8000: 0 samples, running>"


@pytest.mark.qemu
def test_a_guest_that_works_and_ends_is_watched(tmp_path: Path) -> None:
    for name in ("web", "load"):
        compile_example(name, tmp_path / name)
    with osvlab.run(
        tmp_path, "/web", modules=["httpserver"], ports={8000: None}, memory="96M", timeout=300
    ) as vm:
        watch = vm.watch(0.05)
        assert vm.watch(0.05) is watch
        until(watch, 2)
        vm.rest.app.run("/load 4 32 2", timeout=120)
        until(watch, watch.count + 2)
        samples = watch.samples
        assert samples[0].total > 90 * MIB
        assert max(each.threads for each in samples) >= samples[0].threads + 4
        assert samples[0].free - min(each.free for each in samples) >= 28 * MIB
        vm.rest.os.shutdown()
        assert watch.wait(60) == str(vm.wait(60))
        assert not watch.running


@pytest.mark.qemu
def test_a_crash_is_the_watchs_end(tmp_path: Path) -> None:
    for name in ("web", "load"):
        compile_example(name, tmp_path / name)
    with osvlab.run(tmp_path, "/web", modules=["httpserver"], ports={8000: None}, timeout=300) as vm:
        watch = vm.watch(0.05)
        until(watch, 2)
        vm.rest.app.start("/load 4 200 1")
        assert watch.wait(60).startswith("crashed: out of memory")
        assert isinstance(vm.outcome, osvlab.Crashed)


@pytest.mark.qemu
def test_a_watch_needs_the_rest_api(tmp_path: Path) -> None:
    shutil.copy("/bin/busybox", tmp_path)
    with osvlab.run(tmp_path, "/busybox sleep 1000", timeout=60) as vm:
        with pytest.raises(NetworkError, match="port 8000"):
            vm.watch()
        assert vm.running


@pytest.mark.qemu
def test_another_interval_is_another_watch(tmp_path: Path) -> None:
    compile_example("web", tmp_path / "web")
    vm: VM
    with osvlab.run(tmp_path, modules=["httpserver"], ports={8000: None}, timeout=300) as vm:
        first = vm.watch(0.2)
        second = vm.watch(0.1)
        assert first.wait(60) == STOPPED
        until(second, 1)
