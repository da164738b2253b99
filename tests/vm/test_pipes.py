"""The pipes to and from a guest; the other end is the test, where a guest's QEMU would be."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osvlab.vm.console import ConsoleEndedError
from osvlab.vm.owner import owner
from osvlab.vm.pipes import LOOKS, PAUSE, Keyboard, Output


def in_owner(work: Callable[[], object]) -> None:
    async def call() -> None:
        work()

    owner().call(call())


class Heard:
    """What a sink was given, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._more = threading.Condition()

    def __call__(self, data: bytes) -> None:
        with self._more:
            self.pieces.append(data)
            self._more.notify_all()

    @property
    def all(self) -> bytes:
        return b"".join(self.pieces)

    def wait_for(self, length: int) -> bytes:
        with self._more:
            assert self._more.wait_for(lambda: len(self.all) >= length, 20)
            return self.all


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def output(tmp_path: Path, heard: Heard) -> Iterator[Output]:
    pipe = Output(heard)
    in_owner(lambda: pipe.open(tmp_path / "out"))
    yield pipe
    in_owner(pipe.close)


@pytest.fixture
def guest(tmp_path: Path, output: Output) -> Iterator[int]:
    fd = os.open(tmp_path / "out", os.O_WRONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def keyboard(tmp_path: Path) -> Iterator[Keyboard]:
    pipe = Keyboard()
    in_owner(lambda: pipe.open(tmp_path / "in"))
    yield pipe
    in_owner(pipe.close)


def test_what_is_printed_byte_by_byte_comes_whole_and_in_few_pieces(
    output: Output, guest: int, heard: Heard
) -> None:
    began = time.monotonic()
    in_owner(output.listen)
    text = bytes(range(256)) * 200
    for start in range(len(text)):
        os.write(guest, text[start : start + 1])
    assert heard.wait_for(len(text)) == text
    assert len(heard.pieces) <= LOOKS + (time.monotonic() - began) / PAUSE + 1


def test_after_many_looks_in_a_row_it_is_looked_again(output: Output, guest: int, heard: Heard) -> None:
    in_owner(output.listen)
    for number in range(1, 4 * LOOKS):
        os.write(guest, b"x")
        heard.wait_for(number)


def test_who_has_stopped_listening_drains_what_is_left(output: Output, guest: int, heard: Heard) -> None:
    async def listen_and_stop() -> None:
        output.listen()
        for _ in range(4 * LOOKS):  # turns of the loop, all of them within a moment: then it waits
            os.write(guest, b"x")
            await asyncio.sleep(0)
        output.stop()

    owner().call(listen_and_stop())
    before = heard.all
    assert before
    os.write(guest, b"y" * 60_000)
    owner().call(asyncio.sleep(PAUSE))  # alarms go off in order: the end of that moment has been
    in_owner(lambda: None)
    assert heard.all == before
    in_owner(output.drain)
    assert heard.all == b"x" * 4 * LOOKS + b"y" * 60_000
    in_owner(output.drain)  # nothing there, and nothing wrong


def test_an_output_that_waits_a_moment_can_be_closed(tmp_path: Path, heard: Heard) -> None:
    before = len(os.listdir("/proc/self/fd"))
    pipe = Output(heard)
    in_owner(lambda: pipe.open(tmp_path / "pipe"))
    in_owner(pipe.listen)
    fd = os.open(tmp_path / "pipe", os.O_WRONLY)
    for number in range(1, 2 * LOOKS):
        os.write(fd, b"x")
        heard.wait_for(number)
    os.close(fd)
    in_owner(pipe.close)
    in_owner(pipe.close)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_is_typed_goes_behind_what_has_to_wait(tmp_path: Path, keyboard: Keyboard) -> None:
    first = threading.Thread(target=keyboard.type, args=(b"a" * 100_000,))  # more than a pipe holds
    first.start()
    guest = os.open(tmp_path / "in", os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([guest], [], [], 20)[0]
    took: list[bytes] = []

    async def type_as_soon_as_there_is_room() -> None:
        took.append(os.read(guest, 1 << 16))
        await keyboard._send(b"b")

    owner().call(type_as_soon_as_there_is_room(), timeout=20)
    first.join(20)
    took.append(os.read(guest, 1 << 16))
    os.close(guest)
    assert b"".join(took) == b"a" * 100_000 + b"b"


def test_nobody_reads_what_is_typed(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osvlab.vm.pipes.WRITE_DEADLINE", 0.1)
    with pytest.raises(ConsoleEndedError, match=r"nothing was taken in 0\.1 s"):
        keyboard.type(b"x" * (1 << 20))


def test_who_waits_for_room_is_told_of_the_end(tmp_path: Path, keyboard: Keyboard) -> None:
    errors: list[Exception] = []

    def write() -> None:
        try:
            keyboard.type(b"x" * (1 << 20))
        except ConsoleEndedError as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    guest = os.open(tmp_path / "in", os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([guest], [], [], 20)[0]  # it has begun
    os.close(guest)
    in_owner(keyboard.close)
    writer.join(20)
    assert "has ended" in str(errors[0])


def test_a_keyboard_that_is_not_there(keyboard: Keyboard) -> None:
    in_owner(keyboard.close)
    for gone in (keyboard, Keyboard()):
        with pytest.raises(ConsoleEndedError, match="has ended"):
            gone.type(b"x")
