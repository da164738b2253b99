"""The report channel: JSON lines that a kernel writes to I/O port 0xE9 for the host.

QEMU's ``isa-debugcon`` device answers reads of the port with 0xE9, which tells a
kernel that somebody listens, and sends every byte written to it down a socket. One
object per line, told apart by its ``event``:

======== ======================================================================
kernel   ``version``, ``memory`` (bytes): first words
boot     ``step``, ``us``: a boot step done, microseconds after the kernel's entry
booted   ``us``, ``free``, ``total``: ready to run the command
started  ``pid``, ``command``: a command starts
ended    ``pid``, ``status``: and ends
exited   ``status``: the run's exit status, just before the power goes off
crashed  ``fault``, ``thread``, ``registers``, ``backtrace``
======== ======================================================================

What arrives is what a guest chose to write: nothing here trusts it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from osvlab.vm.outcome import Crashed, CrashReport, Exited

__all__ = ["Report"]

LONGEST_LINE = 256 << 10
MOST_STEPS = 256


@dataclass(slots=True)
class Report:
    r"""What a kernel has said about its run so far.

    Parameters
    ----------
    version
        The kernel's version, once it has spoken.
    steps
        Boot steps done: name, and microseconds from the kernel's entry to their end.
    booted_us
        Microseconds from the kernel's entry until it was ready.
    booted_at
        When the host read that, on the monotonic clock, in seconds.
    started
        Whether a command has started.
    outcome
        `Exited` or `Crashed`, as soon as the kernel has said so.
    malformed
        Lines that were no JSON object of a known form.

    Examples
    --------
    >>> report = Report()
    >>> report.feed(b'{"event":"boot","step":"page tables","us":123}\n{"event":"exi', now=1.0)
    >>> report.feed(b'ted","status":3}\n', now=1.0)
    >>> report.steps, report.outcome
    ([('page tables', 123.0)], Exited(status=3))
    """

    version: str | None = None
    memory: int | None = None
    free: int | None = None
    steps: list[tuple[str, float]] = field(default_factory=list)
    booted_us: float | None = None
    booted_at: float | None = None
    started: bool = False
    outcome: Exited | Crashed | None = None
    malformed: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes, now: float) -> None:
        """Read more of the channel. Bytes after the last line end wait for the rest."""
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line.strip():
                self._line(bytes(line), now)
        if len(self._rest) > LONGEST_LINE:
            self.malformed += 1
            self._rest.clear()

    def _line(self, line: bytes, now: float) -> None:
        try:
            event = json.loads(line)
            self._take(event["event"], event, now)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.malformed += 1

    def _take(self, name: str, event: dict[str, Any], now: float) -> None:
        if name == "kernel":
            self.version, self.memory = str(event["version"]), int(event["memory"])
        elif name == "boot":
            if len(self.steps) < MOST_STEPS:
                self.steps.append((str(event["step"]), float(event["us"])))
        elif name == "booted":
            self.booted_us, self.booted_at = float(event["us"]), now
            self.free = int(event["free"])
        elif name == "started":
            self.started = True
        elif name == "exited" and self.outcome is None:
            self.outcome = Exited(int(event["status"]) & 0xFF)
        elif name == "crashed" and not isinstance(self.outcome, Crashed):
            # Also after `exited`: a kernel that faults while it shuts down has crashed.
            self.outcome = Crashed(CrashReport.from_event(event))
