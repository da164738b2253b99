"""The console widget, against a comm that takes notes."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets
import pytest

from osvlab.vm.console import Console, ConsoleEndedError
from osvlab.vm.vm import VM
from osvlab.widgets.console import LINE, ConsoleWidget
from osvlab.widgets.stream import MIRROR
from tests.vm.guests import Guest
from tests.widgets.fakes import FakeComm, Page

Make = Callable[..., ConsoleWidget]


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for what the owner's thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.005)


def seen(widget: ConsoleWidget) -> bytes:
    page = Page()
    for message, data in widget.comm.outputs():
        page.receive(message, data)
    return page.text


class Typed:
    """Stands for a guest that reads."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.threads: set[str] = set()

    def __call__(self, data: bytes) -> None:
        self.threads.add(threading.current_thread().name)
        self.data.append(data)


def test_output_reaches_the_page(widget: Make) -> None:
    console = Console()
    shown = widget(console)
    shown.comm.receive({"type": "hello"})
    console.feed(b"Booted up\r\n")
    console.feed(b"\xff\x00 not text")
    eventually(lambda: seen(shown) == b"Booted up\r\n\xff\x00 not text")


def test_what_was_there_before_is_in_the_state(widget: Make) -> None:
    console = Console()
    console.feed(b"early")
    shown = widget(console)
    assert shown.mirror == {"at": 0, "data": b"early"}


def test_the_state_is_bounded(widget: Make) -> None:
    console = Console()
    console.feed(b"x" * 200_000)
    assert widget(console).mirror["at"] == 200_000 - MIRROR
    assert len(widget(console).mirror["data"]) == MIRROR


def test_the_end_is_shown_and_mirrored(widget: Make) -> None:
    console = Console()
    shown = widget(console)
    assert shown.running
    console.feed(b"bye\n")
    console.end("exited with status 3")
    eventually(lambda: not shown.running)
    assert shown.status == "exited with status 3"
    assert shown.mirror == {"at": 0, "data": b"bye\n"}


def test_a_widget_of_an_ended_guest_says_so_at_once(widget: Make) -> None:
    console = Console()
    console.feed(b"all of it")
    console.end("timed out after 1 s")
    shown = widget(console)
    assert not shown.running
    assert shown.status == "timed out after 1 s"


def test_a_page_can_ask_for_everything_again(widget: Make) -> None:
    console = Console()
    shown = widget(console)
    shown.comm.receive({"type": "hello"})
    console.feed(b"before")
    eventually(lambda: seen(shown) == b"before")
    shown.comm.receive({"type": "ack", "at": 6})
    shown.comm.sent.clear()
    shown.comm.receive({"type": "hello"})
    eventually(lambda: seen(shown) == b"before")


def test_typing_reaches_the_guest_in_order_and_not_in_the_callback(widget: Make) -> None:
    typed = Typed()
    shown = widget(Console(typed))
    for number in range(50):
        shown.comm.receive({"type": "input", "text": f"line {number}\n"})
    eventually(lambda: len(typed.data) == 50)
    assert typed.data == [b"line %d\n" % number for number in range(50)]
    assert threading.current_thread().name not in typed.threads
    assert "osvlab-owner" not in typed.threads  # it must stay free for the output


def test_a_guest_that_does_not_read_is_told(widget: Make) -> None:
    def stuck(_: bytes) -> None:
        raise ConsoleEndedError("the guest does not read its console")

    shown = widget(Console(stuck))
    shown.comm.receive({"type": "input", "text": "anybody?\n"})
    eventually(lambda: shown.status == "the guest does not read its console")


@pytest.mark.parametrize(
    "message",
    [
        *(None, 7, "hello", [], {}),
        *({"type": "unknown"}, {"type": "ack"}, {"type": "ack", "at": "3"}, {"type": "resend", "from": -1}),
        *({"type": "input", "text": 7}, {"type": "input", "text": ""}),
        {"type": "input", "text": "x" * (LINE + 1)},
        {"type": "resend", "from": 10**30},
    ],
    ids=str,
)
def test_nonsense_from_a_page_is_passed_over(widget: Make, message: object) -> None:
    typed, console = Typed(), Console()
    console._send = typed
    shown = widget(console)
    shown.comm.receive(message)
    console.feed(b"still here")
    eventually(lambda: seen(shown) == b"still here")
    assert typed.data == []


def test_output_during_a_busy_cell_is_sent_by_the_owner(widget: Make, monkeypatch: Any) -> None:
    senders: set[str] = set()
    publish = FakeComm.publish_msg

    def noted(self: FakeComm, *args: Any, **options: Any) -> None:
        senders.add(threading.current_thread().name)
        publish(self, *args, **options)

    console = Console()
    shown = widget(console)
    monkeypatch.setattr(FakeComm, "publish_msg", noted)
    console.feed(b"while the cell is busy")
    eventually(lambda: seen(shown))
    assert senders == {"osvlab-owner"}


def test_a_closed_widget_is_freed(comms: None) -> None:
    console = Console(Typed())
    widget = ConsoleWidget(console)
    comm: FakeComm = widget.comm
    comm.receive({"type": "hello"})
    comm.receive({"type": "input", "text": "x\n"})
    console.feed(b"some output")
    eventually(comm.outputs)
    gone = weakref.ref(widget)
    widget.close()
    widget.close()  # twice does no harm
    del widget, comm

    def freed() -> bool:
        gc.collect()
        return gone() is None

    eventually(freed)
    console.feed(b"nobody listens")
    assert console._subscribers == {}
    assert console._at_end == {}


def test_a_closed_widget_leaves_no_trace_in_ipywidgets(comms: None) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    ConsoleWidget(Console()).close()
    assert set(ipywidgets.widgets.widget._instances) == before


def test_the_text_is_beside_the_widget(widget: Make) -> None:
    console = Console()
    for number in range(300):
        console.feed(b"line %d\r\n" % number)
    shown = widget(console, title="/hello")
    data, _ = shown._repr_mimebundle_() or ({}, {})
    assert "application/vnd.jupyter.widget-view+json" in data
    text = data["text/plain"].splitlines()
    assert text[:2] == ["<ConsoleWidget /hello: running>", "[... 100 earlier lines ...]"]
    assert text[-1] == "line 299"


@pytest.mark.qemu
def test_a_real_guest_is_shown_and_typed_to(boot: Callable[..., VM], widget: Make) -> None:
    vm = boot(Guest().say("name? ").echo_line().say("thank you\r\n").exit(0))
    shown = widget(vm.console)
    shown.comm.receive({"type": "hello"})
    eventually(lambda: seen(shown) == b"name? ")
    shown.comm.receive({"type": "input", "text": "widget\n"})
    eventually(lambda: not shown.running)
    assert seen(shown) == b"name? widget\nthank you\r\n"
    assert shown.status == "exited with status 0"


def test_half_a_character_from_a_page_does_not_end_the_typing(widget: Make) -> None:
    typed = Typed()
    shown = widget(Console(typed))
    shown.comm.receive({"type": "input", "text": "a\ud83d\n"})
    shown.comm.receive({"type": "input", "text": "b\n"})
    eventually(lambda: typed.data == [b"a?\n", b"b\n"])
