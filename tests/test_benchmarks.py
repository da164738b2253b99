"""The bench itself: verdicts, tables, and that the baselines are what they claim to be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.__main__ import measured, report, table
from benchmarks.harness import Bound, Measured, Row, median_seconds, registered
from benchmarks.qemu import bare_kernel, command
from osvlab.errors import OsvlabError


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        (Bound(2.0, 1.3), 1.2, "aim"),
        (Bound(2.0, 1.3), 1.9, "at least"),
        (Bound(2.0, 1.3), 2.1, "SHORT"),
        (Bound(8, 15, more_is_better=True), 20, "aim"),
        (Bound(8, 15, more_is_better=True), 9, "at least"),
        (Bound(8, 15, more_is_better=True), 7, "SHORT"),
    ],
)
def test_a_value_meets_its_bounds_or_not(bound: Bound, value: float, verdict: str) -> None:
    assert bound.verdict(value) == verdict


def test_the_table_says_also_what_could_not_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OsvlabError("no such kernel")

    monkeypatch.setitem(registered, "broken", broken)
    rows = [Row("boot", "x", Bound(2, 1.3), Measured(1.5, {"seconds": 0.2})), *measured("broken")]
    text = table(rows)
    assert "| boot " in text
    assert "1.5x" in text
    assert "not measured: no such kernel" in text
    assert [row["verdict"] for row in report(rows)["rows"]] == ["at least", "not measured"]  # type: ignore[index,attr-defined]


def test_medians_are_taken_in_turns() -> None:
    order: list[str] = []
    first, second = median_seconds(
        lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0, times=3
    )
    assert order == ["a", "b"] * 3
    assert (first, second) == (1.0, 2.0)


@pytest.mark.qemu
def test_the_bare_kernel_only_ends_qemu(tmp_path: Path) -> None:
    ended = subprocess.run(
        command(bare_kernel(tmp_path / "bare")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2 * 1 + 1
    assert ended.stdout == b""
