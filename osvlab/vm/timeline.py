"""Where the time of a boot went, from starting QEMU to the application's first line."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from osvlab.vm.report import Report

__all__ = ["BootStep", "BootTimeline"]


@dataclass(frozen=True, slots=True)
class BootStep:
    """A stretch of a boot: when it began, counted from the start of QEMU, and how long it took (seconds).

    Examples
    --------
    >>> step = BootStep("drivers", start=0.098, duration=0.0015)
    >>> print(f"{step.name}: {step.duration * 1000} ms")
    drivers: 1.5 ms
    """

    name: str
    start: float
    duration: float


@dataclass(frozen=True, slots=True)
class BootTimeline:
    """The steps of a boot in order, without gaps, all times in seconds.

    The kernel counts in microseconds from its own entry; the host's clock says when
    the kernel was ready. Together they say when the kernel was entered, and so how
    long QEMU and the firmware took before it.

    Parameters
    ----------
    steps
        QEMU itself, the kernel's boot steps, the application up to its first line.
    first_output
        From the start of QEMU to the first byte on the console, or None.
    application_output
        From the start of QEMU to the application's first line, or None.

    Examples
    --------
    >>> steps = [("page tables", 500.0), ("drivers", 2000.0)]
    >>> report = Report(steps=steps, booted_us=2500.0, booted_at=10.1)
    >>> timeline = BootTimeline.measured(report, started=10.0, first_output=10.08, application_output=10.11)
    >>> print(timeline)
       start  duration
         0.0      97.5 ms  QEMU and firmware
        97.5       0.5 ms  page tables
        98.0       1.5 ms  drivers
        99.5       0.5 ms  ready
       100.0      10.0 ms  application to its first line
    """

    steps: tuple[BootStep, ...]
    first_output: float | None = None
    application_output: float | None = None

    @classmethod
    def measured(
        cls, report: Report, started: float, first_output: float | None, application_output: float | None
    ) -> BootTimeline | None:
        """Build a timeline from what was measured; all times on the monotonic clock.

        Returns None when the kernel has not reported that it booted.
        """
        if report.booted_us is None or report.booted_at is None:
            return None
        booted = report.booted_at - started
        # Reading a line takes the host a moment; entry cannot lie before the start all the same.
        entry = max(0.0, booted - report.booted_us / 1e6)
        ends = [(name, entry + us / 1e6) for name, us in report.steps]
        if not ends or report.booted_us > report.steps[-1][1]:
            ends.append(("ready", booted))
        marks = [("QEMU and firmware", entry), *ends]
        output = None if application_output is None else application_output - started
        if output is not None:
            marks.append(("application to its first line", max(output, booted)))
        return cls(
            steps=tuple(
                BootStep(name, start, max(0.0, end - start))
                for (_, start), (name, end) in pairwise([("", 0.0), *marks])
            ),
            first_output=None if first_output is None else first_output - started,
            application_output=output,
        )

    @property
    def total(self) -> float:
        """Seconds from the start of QEMU to the end of the last step."""
        return self.steps[-1].start + self.steps[-1].duration if self.steps else 0.0

    def __str__(self) -> str:
        rows = [f"{s.start * 1e3:8.1f}  {s.duration * 1e3:8.1f} ms  {s.name}" for s in self.steps]
        return "\n".join([f"{'start':>8}  {'duration':>8}", *rows])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        # The one way up the house: only who shows things knows how, and only IPython asks.
        from osvlab.widgets.display import timeline_bundle

        return timeline_bundle(self)
