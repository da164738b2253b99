"""What OSv's console tells about a run: OSv powers off without a status, so its words must do.

Source of the lines: OSv, `loader.cc`, `core/app.cc`, `runtime.cc` and `core/debug.cc`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Verdict", "osv_verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a console says about a run that ended with the power off.

    Parameters
    ----------
    status
        The exit status, or None when the console does not tell.
    fault
        What the guest said about its fault, when it aborted; None otherwise.
    backtrace
        Address, symbol (None if unknown) and offset of each frame, innermost first.
    """

    status: int | None = None
    fault: str | None = None
    backtrace: tuple[tuple[int, str | None, int], ...] = ()


# An abort's backtrace is the last thing on the console; an application may print the same words before.
_OSV_ABORT = re.compile(
    r"^(?:\[backtrace\]\n(?:0x[0-9a-f]{16} .*\n?)*|Halting\.\s*)\s*(?:Powering off\.\s*)?\Z",
    re.MULTILINE,
)
_OSV_FAULT = re.compile(
    r"^(?:Aborted|Assertion failed: .*|page fault outside application.*|general protection fault.*"
    r"|Out of memory: .*|.*failed looking up symbol .*)$",
    re.MULTILINE,
)
_OSV_FRAME = re.compile(r"^0x([0-9a-f]{16}) <(.*)\+(\d+)>", re.MULTILINE)
_OSV_RETURNED = re.compile(r"^program (?:.* returned|exited with status) (-?\d+)\s*$", re.MULTILINE)
_OSV_NOT_STARTED = re.compile(
    r"^(?:.*\. Powering off\.|Failed to parse command line\.|This image has an empty command line\. .*"
    r"|unrecognized option: .*|not an option: .*)$",
    re.MULTILINE,
)


def osv_verdict(console: str) -> Verdict | None:
    """Say how a run of OSv that ended with the power off went; None if OSv never spoke."""
    start = re.search(r"^OSv v?\d", console, re.MULTILINE)
    if start is None:
        return None
    said = console[start.start() :]
    abort = _OSV_ABORT.search(said)
    if abort is not None:
        fault = [match.start() for match in _OSV_FAULT.finditer(said, 0, abort.start())]
        line_before = said.rfind("\n", 0, max(0, abort.start() - 1)) + 1
        return Verdict(
            fault=said[fault[-1] if fault else line_before : abort.start()].strip() or "abort",
            backtrace=tuple(
                (int(address, 16), *((None, 0) if symbol == "???" else (symbol, int(offset))))
                for address, symbol, offset in _OSV_FRAME.findall(abort[0])
            ),
        )
    # The application's lines look like the kernel's, so the kernel's last word is the one that counts.
    returned = _OSV_RETURNED.findall(said)
    if returned:
        return Verdict(status=int(returned[-1]) & 0xFF)
    if _OSV_NOT_STARTED.search(said):
        return Verdict(status=127)  # as a shell says it of a command it cannot start
    if re.search(r"^Powering off\.$", said, re.MULTILINE):
        return Verdict(status=0)  # verbose, and nothing complained
    return Verdict(status=None)
