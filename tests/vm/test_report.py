"""The report channel reads what a guest chose to write, and survives it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from osvlab.vm.outcome import Crashed, Exited
from osvlab.vm.report import LONGEST_LINE, Report
from osvlab.vm.timeline import BootTimeline


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_a_whole_run() -> None:
    report = Report()
    report.feed(
        lines(
            {"event": "kernel", "version": "0.1.0", "memory": 1 << 26},
            {"event": "boot", "step": "page tables", "us": 120},
            {"event": "booted", "us": 800, "free": 60 << 20, "total": 64 << 20},
            {"event": "started", "pid": 2, "command": "/hello"},
            {"event": "ended", "pid": 2, "status": 0},
            {"event": "exited", "status": 0},
        ),
        now=5.0,
    )
    assert report.version == "0.1.0"
    assert report.started
    assert report.booted_at == 5.0
    assert report.outcome == Exited(0)
    assert report.malformed == 0


def test_a_crash_counts_more_than_an_exit() -> None:
    report = Report()
    report.feed(lines({"event": "exited", "status": 0}, {"event": "crashed", "fault": "x"}), 0.0)
    report.feed(lines({"event": "exited", "status": 0}), 0.0)
    assert isinstance(report.outcome, Crashed)


def test_half_a_crash_report_is_kept() -> None:
    report = Report()
    report.feed(
        lines({"event": "crashed", "registers": {"rip": "what"}, "backtrace": [3, {"address": "0x10"}]}), 0.0
    )
    assert isinstance(report.outcome, Crashed)
    assert report.outcome.report.registers == {"rip": 0}
    assert [frame.address for frame in report.outcome.report.backtrace] == [16]


def test_a_line_without_end_is_not_kept() -> None:
    report = Report()
    for _ in range(10):
        report.feed(b"x" * LONGEST_LINE, 0.0)
    assert report.malformed
    report.feed(b"\n" + lines({"event": "exited", "status": 1}), 0.0)
    assert report.outcome == Exited(1)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_in_any_pieces(data: bytes, piece: int) -> None:
    report = Report()
    for start in range(0, len(data), piece):
        report.feed(data[start : start + piece], 0.0)
    report.feed(b"\n" + lines({"event": "exited", "status": 7}), 0.0)
    assert report.outcome == Exited(7)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    ),
    st.sampled_from(["kernel", "boot", "booted", "exited", "crashed", "started"]),
    st.sampled_from(["status", "us", "step", "registers", "backtrace", "free", "memory", "version"]),
)
def test_any_value_in_any_field(value: object, event: str, field: str) -> None:
    report = Report()
    report.feed(lines({"event": event, field: value, "us": value, "status": value}), 0.0)
    str(report.outcome)
    BootTimeline.measured(report, 0.0, None, None)


def test_timeline_has_no_gaps() -> None:
    report = Report(steps=[("a", 100.0), ("b", 250.0)], booted_us=300.0, booted_at=10.05)
    timeline = BootTimeline.measured(report, 10.0, 10.049, 10.06)
    assert timeline is not None
    assert [step.name for step in timeline.steps] == [
        "QEMU and firmware", "a", "b", "ready", "application to its first line",
    ]  # fmt: skip
    end = 0.0
    for step in timeline.steps:
        assert abs(step.start - end) < 1e-9
        end = step.start + step.duration
    assert abs(timeline.total - 0.06) < 1e-9
    assert timeline.total == end
    assert "QEMU and firmware" in str(timeline)


def test_no_timeline_before_the_kernel_is_ready() -> None:
    assert BootTimeline.measured(Report(), 0.0, 1.0, 2.0) is None
