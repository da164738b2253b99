"""What a check of a filesystem gathers: problems, instead of the first one raised, and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange, CheckReport

__all__ = ["Findings", "overlaps", "read_once"]

_KEPT = 1000
"""Problems that are told one by one: a damaged table must not fill the memory with its own report."""


class Findings:
    """Gathers what a check finds.

    Parameters
    ----------
    format
        What is checked.

    Examples
    --------
    >>> found = Findings("tape")
    >>> with found.gathering():
    ...     raise OsvlabError("the tape is torn")
    >>> found.count("metres", 3)
    >>> print(found.report())
    tape: 3 metres: 1 problem
      the tape is torn
    """

    def __init__(self, format: str) -> None:
        self._format = format
        self._problems: list[OsvlabError] = []
        self._more = 0
        self._counts: dict[str, int] = {}

    def add(self, problem: OsvlabError) -> None:
        """Take note of a problem."""
        if len(self._problems) < _KEPT:
            self._problems.append(problem)
        else:
            self._more += 1

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Take note of a problem that is raised in the block, and go on behind it."""
        try:
            yield
        except OsvlabError as problem:
            self.add(problem)

    def count(self, name: str, number: int = 1) -> None:
        """Count something that was looked at."""
        self._counts[name] = self._counts.get(name, 0) + number

    def report(self) -> CheckReport:
        """Return what was found so far."""
        rest = OsvlabError(f"and {self._more} more", hint="What damages so much is above.")
        more = [rest] if self._more else []
        return CheckReport(self._format, (*self._problems, *more), dict(self._counts))


def overlaps(places: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, str, str]]:
    """Find things that claim the same bytes.

    Parameters
    ----------
    places
        Of each thing: its first byte, the byte behind its last, and what it is.

    Yields
    ------
    tuple
        Where the two meet, the one that begins there, and the one that is there already.

    Examples
    --------
    >>> list(overlaps([(0, 10, "a"), (20, 30, "c"), (8, 12, "b")]))
    [(8, 'b', 'a')]
    """
    end, owner = -1, ""
    for start, stop, what in sorted(places):
        if start == stop:
            continue
        if start < end:
            yield start, what, owner
        if stop > end:
            end, owner = stop, what


def read_once(source: ByteRange, places: Iterable[tuple[int, int]], size: int = 1 << 20) -> int:
    """Read parts of a source, what several claim only once, and return how many bytes were there.

    Files that all claim the whole disk would otherwise make a check of a disk endless, and so would a hole
    of a terabyte, in which there is nothing to read.

    Examples
    --------
    >>> read_once(ByteRange(b"0123456789"), [(0, 4), (2, 6), (8, 20)])
    8
    """
    done = position = 0
    for start, end in sorted(places):
        start, end = max(position, start), min(end, source.length)
        position = max(position, end)
        done += max(0, end - start)
        for first, last in source.data_runs(start, end):
            done -= last - first - _read(source, first, last, size)
    return done


def _read(source: ByteRange, start: int, end: int, size: int) -> int:
    """Read what is between two bytes, in pieces, and return how much was there."""
    position = start
    while position < end and (data := source.read_at(position, min(size, end - position))):
        position += len(data)
    return position - start
