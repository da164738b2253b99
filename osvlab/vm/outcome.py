"""How a run ends: exactly one of exited, crashed, timed out, lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["CrashReport", "Crashed", "Exited", "Frame", "Lost", "Outcome", "TimedOut"]


@dataclass(frozen=True, slots=True)
class Exited:
    """The guest ran its command and powered off in good order.

    Parameters
    ----------
    status
        The command's exit status, 0 to 255. None when the kernel has no way to say
        (real OSv without ``verbose=True``): the guest powered off, more is not known.

    Examples
    --------
    >>> Exited(0).ok, Exited(3).ok, Exited(None).ok
    (True, False, True)
    >>> print(Exited(3))
    exited with status 3
    """

    status: int | None

    @property
    def ok(self) -> bool:
        """Whether nothing is known to have gone wrong."""
        return not self.status

    def __str__(self) -> str:
        if self.status is None:
            return "exited (this kernel reports no status)"
        return f"exited with status {self.status}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a backtrace: an address, and what lies there if that is known.

    Examples
    --------
    >>> print(Frame(0x1010, "main", 0x10, "/hello"))
    0x0000000000001010 main+0x10 in /hello
    """

    address: int
    symbol: str | None = None
    offset: int = 0
    object: str | None = None

    def __str__(self) -> str:
        place = f" {self.symbol}+{self.offset:#x}" if self.symbol else ""
        where = f" in {self.object}" if self.object else ""
        return f"{self.address:#018x}{place}{where}"


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What a kernel said about its own or the application's crash.

    Parameters
    ----------
    fault
        The fault in words: ``read of unmapped address 0x10``.
    thread
        The thread that faulted, if known.
    registers
        Register values by name.
    backtrace
        Innermost frame first.
    """

    fault: str
    thread: str | None = None
    registers: Mapping[str, int] = field(default_factory=dict)
    backtrace: tuple[Frame, ...] = ()

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> CrashReport:
        """Read the lab kernel's ``crashed`` line; parts that are missing stay empty.

        A kernel that crashes may send half a report: what can be read is kept.

        Examples
        --------
        >>> report = CrashReport.from_event({"fault": "read of unmapped address 0x10", "thread": "main",
        ...     "registers": {"rip": "0x1000"}, "backtrace": [{"address": "0x1000", "symbol": "f"}]})
        >>> print(report)
        read of unmapped address 0x10 in thread main
          0x0000000000001000 f+0x0
        """
        registers = event.get("registers")
        frames = event.get("backtrace")
        thread = event.get("thread")
        return cls(
            fault=str(event.get("fault", "crash without a description")),
            thread=None if thread is None else str(thread),
            registers={
                str(name): _number(value)
                for name, value in (registers.items() if isinstance(registers, dict) else ())
            },
            backtrace=tuple(
                Frame(
                    address=_number(frame.get("address")),
                    symbol=frame.get("symbol") or None,
                    offset=_number(frame.get("offset")),
                    object=frame.get("object") or None,
                )
                for frame in (frames if isinstance(frames, list) else ())
                if isinstance(frame, dict)
            ),
        )

    def __str__(self) -> str:
        head = self.fault
        if self.thread is not None and not head.endswith(f"thread {self.thread}"):
            head += f" in thread {self.thread}"
        return "\n  ".join([head, *map(str, self.backtrace)])


@dataclass(frozen=True, slots=True)
class Crashed:
    """The application or the kernel faulted, and the kernel said so.

    Examples
    --------
    >>> print(Crashed(CrashReport("read of unmapped address 0x10", "main")))
    crashed: read of unmapped address 0x10 in thread main
    """

    report: CrashReport

    ok = False

    def __str__(self) -> str:
        return f"crashed: {self.report}"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The guest was still running when its time was up, and was ended.

    Examples
    --------
    >>> print(TimedOut(2.5))
    timed out after 2.5 s
    """

    seconds: float

    ok = False

    def __str__(self) -> str:
        return f"timed out after {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Lost:
    """The virtual machine ended without a word from the guest.

    Parameters
    ----------
    reason
        What is known: killed by which signal, reset by a triple fault, stopped on
        request; with the end of QEMU's messages and of the console where they help.
    stopped
        True when it was `VM.stop` that ended it.

    Examples
    --------
    >>> print(Lost("QEMU was killed by SIGKILL"))
    lost: QEMU was killed by SIGKILL
    """

    reason: str
    stopped: bool = False

    ok = False

    def __str__(self) -> str:
        return f"lost: {self.reason}"


Outcome: TypeAlias = Exited | Crashed | TimedOut | Lost


def _number(value: object) -> int:
    """Read 12, "12" or "0x0c"; anything else is 0, because a crash report is best effort."""
    if isinstance(value, int):
        return value
    try:
        return int(str(value), 0)
    except ValueError:
        return 0
