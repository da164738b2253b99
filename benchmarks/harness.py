"""Rows of the table: what is measured, in which unit, against what, and how much is good enough."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Bound", "Measured", "Row", "measures", "median_seconds", "registered"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A value that must not be exceeded (or fallen short of, when more is better)."""

    at_least: float
    aim: float
    more_is_better: bool = False

    def verdict(self, value: float) -> str:
        """Say which of the two bounds a value meets."""
        good = (lambda limit: value >= limit) if self.more_is_better else (lambda limit: value <= limit)
        if good(self.aim):
            return "aim"
        return "at least" if good(self.at_least) else "SHORT"


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, and the raw figures it was made from."""

    value: float
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, once it was measured; without a bound it is only there to be known."""

    name: str
    unit: str
    bound: Bound | None
    measured: Measured | None
    trouble: str | None = None

    @property
    def verdict(self) -> str:
        """How the value stands to its bounds."""
        if self.measured is None:
            return "not measured"
        return "for information" if self.bound is None else self.bound.verdict(self.measured.value)

    @property
    def good(self) -> bool:
        """Whether it was measured and falls short of nothing."""
        return self.verdict not in ("not measured", "SHORT")

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON can hold it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "at_least": None if self.bound is None else self.bound.at_least,
            "aim": None if self.bound is None else self.bound.aim,
            "value": None if self.measured is None else self.measured.value,
            "verdict": self.verdict,
            "raw": {} if self.measured is None else self.measured.raw,
            "trouble": self.trouble,
        }


Measure = Callable[[], Iterator[tuple[str, str, Bound | None, Measured]]]
registered: dict[str, Measure] = {}


def measures(name: str) -> Callable[[Measure], Measure]:
    """Register a function that measures and yields rows: their name, unit, bounds and value."""

    def register(measure: Measure) -> Measure:
        registered[name] = measure
        return measure

    return register


def median_seconds(*works: Callable[[], object], times: int) -> list[float]:
    """Return the median duration of each work, taken in turns, so that a busy host disturbs all alike.

    A work that returns a float has measured itself.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            result = work()
            taken.append(result if isinstance(result, float) else time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]
