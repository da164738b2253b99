"""What is told on stderr."""

from __future__ import annotations

import io
import json

import pytest

from osvlab.cli.progress import Progress
from osvlab.events import step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, **options: bool) -> str:
    progress = Progress(stream, **options)
    with progress.shown():
        with step("write the image") as running:
            running.progress(1, 2)
            running.bytes = 4096
        progress.say("it runs", event="runs", pid=1)
    return stream.getvalue()


def test_a_log_gets_whole_lines() -> None:
    lines = told(io.StringIO()).splitlines()
    assert lines[0].startswith("osvlab: write the image: ")
    assert lines[0].endswith("4 KiB")
    assert lines[1:] == ["osvlab: it runs"]


def test_a_terminal_sees_progress_and_keeps_the_last_line() -> None:
    said = told(Terminal())
    assert "50 %" in said
    assert said.endswith("osvlab: it runs\n")


def test_json_is_json() -> None:
    events = [json.loads(line) for line in told(io.StringIO(), as_json=True).splitlines()]
    assert [event["event"] for event in events] == ["StepStarted", "StepProgress", "StepFinished", "runs"]


def test_quiet_is_quiet() -> None:
    assert told(io.StringIO(), quiet=True) == ""


def test_a_step_that_fails_leaves_no_half_line() -> None:
    stream = Terminal()
    with Progress(stream).shown(), pytest.raises(ValueError, match="broken"), step("write"):
        raise ValueError("broken")
    assert stream.getvalue().endswith("\r\x1b[K")
