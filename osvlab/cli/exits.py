"""Exit statuses: the guest's own, and the ones that say that it has none."""

from __future__ import annotations

import os

from osvlab.vm.outcome import Crashed, Exited, Lost, Outcome, TimedOut

__all__ = [
    "EXIT_STATUSES",
    "FAILURE",
    "INTERRUPTED",
    "LAB_ERROR",
    "PIPE_CLOSED",
    "SIGNALLED",
    "exit_status",
]

FAILURE = 1  # a command other than run could not do it
TIMED_OUT = 124  # as timeout(1)
LAB_ERROR = 125  # as docker run: it is not the guest that says so
INTERRUPTED = 130  # 128 + SIGINT, as shells count
CRASHED = 134  # 128 + SIGABRT
LOST = 137  # 128 + SIGKILL
PIPE_CLOSED = 141  # 128 + SIGPIPE
SIGNALLED = 128  # plus the number of the signal: 143 for SIGTERM

EXIT_STATUSES = f"""exit status of run and of demo:
  the guest's own, and
  {TIMED_OUT}  the guest was still running when --timeout had passed
  {LAB_ERROR}  the lab could not run it: wrong option, no such image, no QEMU, a library that nobody supplies
  {INTERRUPTED}  you pressed Ctrl-C, which ends the guest
  {CRASHED}  the guest crashed; its report is on the console
  {LOST}  the virtual machine was lost: killed, or reset without a word
of the other commands: 0, {FAILURE} when it could not be done, 2 for a wrong option"""


def exit_status(outcome: Outcome) -> int:
    """Return the exit status that stands for the way a run ended.

    Examples
    --------
    >>> exit_status(Exited(3)), exit_status(TimedOut(10))
    (3, 124)
    """
    match outcome:
        case Exited(status=None):
            return os.EX_OK  # real OSv: it powered off in good order, more is not known
        case Exited(status=int(status)):
            return status
        case Crashed():
            return CRASHED
        case TimedOut():
            return TIMED_OUT
        case Lost():
            return LOST
    raise AssertionError(outcome)
