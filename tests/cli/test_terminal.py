"""The guest's console on a terminal, and on what is none."""

from __future__ import annotations

import io
import os
import pty
import signal
import termios
import threading
from collections.abc import Callable
from subprocess import Popen
from typing import Any

import pytest

from osvlab.cli.terminal import Screen, keyboard
from osvlab.vm.console import Console
from tests.vm.guests import Guest


def shown(*pieces: bytes) -> bytes:
    console, stream = Console(), io.BytesIO()
    screen = Screen(console, stream)
    for piece in pieces:
        console.feed(piece)
    screen.end()
    screen.show()
    return stream.getvalue()


def test_files_get_plain_newlines() -> None:
    assert shown(b"one\r\ntwo\r\n") == b"one\ntwo\n"


def test_a_line_end_may_come_in_two_pieces() -> None:
    assert shown(b"one\r", b"\ntwo", b"\r\n") == b"one\ntwo\n"


def test_a_lone_carriage_return_stays() -> None:
    assert shown(b"50 %\r100 %\r") == b"50 %\r100 %\r"


def test_bytes_stay_bytes() -> None:
    assert shown(b"\xff\xfe\x00") == b"\xff\xfe\x00"


class Terminal:
    """A terminal with `osvlab run` in its foreground, as in a shell."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()

    def options(self) -> dict[str, Any]:
        return {
            "stdin": self.theirs,
            "stdout": self.theirs,
            "stderr": self.theirs,
            "start_new_session": True,
            "preexec_fn": self._take,
        }

    def _take(self) -> None:
        import fcntl

        fcntl.ioctl(self.theirs, termios.TIOCSCTTY, 0)

    def read_until(self, text: bytes) -> bytes:
        said = b""
        while text not in said:
            said += os.read(self.ours, 4096)
        return said

    def flags(self) -> int:
        return termios.tcgetattr(self.ours)[3] & (termios.ICANON | termios.ECHO)

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.mark.qemu
def test_keys_reach_the_guest_at_once_and_are_not_echoed_twice(
    running: Callable[..., Popen[bytes]],
) -> None:
    terminal = Terminal()
    try:
        before = terminal.flags()
        process = running(Guest().say("ready\n").echo_line().exit(0), **terminal.options())
        terminal.read_until(b"ready")
        assert terminal.flags() == 0
        os.write(terminal.ours, b"a")
        assert terminal.read_until(b"a").strip() == b"a"
        os.write(terminal.ours, b"b\n")
        assert process.wait(timeout=20) == 0
        assert terminal.flags() == before
    finally:
        terminal.close()


@pytest.mark.qemu
def test_control_c_on_a_terminal_ends_the_guest(running: Callable[..., Popen[bytes]]) -> None:
    terminal = Terminal()
    try:
        before = terminal.flags()
        process = running(**terminal.options())
        terminal.read_until(b"ready")
        os.write(terminal.ours, b"\x03")
        assert process.wait(timeout=20) == 128 + signal.SIGINT
        assert terminal.flags() == before
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("piped", "end", "expected"),
    [
        (b"Ada\n", b"\x04", b"Ada\n\x04"),
        (b"Ada\n", b"", b"Ada\n"),
        (b"", b"\x04", b"\x04"),
        (b"Ada", b"\x04", b"Ada\x04\x04"),  # the first ends the line
    ],
)
def test_the_end_of_a_pipe_is_told_to_kernels_that_understand_it(
    monkeypatch: pytest.MonkeyPatch, piped: bytes, end: bytes, expected: bytes
) -> None:
    typed: list[bytes] = []
    console = Console(typed.append)
    read, write = os.pipe()
    with open(read) as stdin, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        os.write(write, piped)
        os.close(write)
        with keyboard(console, end):
            console.feed(b"name? ")
            for reader in threading.enumerate():
                if reader.name == "osvlab-keyboard":
                    reader.join(20)
    assert b"".join(typed) == expected
