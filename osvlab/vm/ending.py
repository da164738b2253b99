"""How a run ended, from what QEMU left: its exit status, its messages, and the guest's console."""

from __future__ import annotations

from osvlab.errors import OsvlabError
from osvlab.kernels import Kernel
from osvlab.vm.console import Console
from osvlab.vm.discover import ImageInUseError, refuse_use
from osvlab.vm.machine import Machine
from osvlab.vm.network import refusal
from osvlab.vm.outcome import Crashed, CrashReport, Exited, Frame, Lost, Outcome
from osvlab.vm.qemu import QemuError, why_ended

__all__ = ["CRASH_STATUS", "judge", "why_refused"]

CRASH_STATUS = 2 * 0x7E + 1
"""QEMU's exit status when the lab kernel crashed: it writes 0x7E to isa-debug-exit."""

_LOCKED = "Is another process using the image"


def judge(
    status: int, reason: str | None, messages: str, kernel: Kernel | None, console: Console
) -> Outcome:
    """Say how a guest ended that did not say so itself.

    Parameters
    ----------
    status
        QEMU's exit status; negative for a signal.
    reason
        Why QEMU says that the machine stopped; None if it said nothing.
    messages
        What QEMU printed.
    kernel
        Knows how to read the console; None for a guest of which nothing is known.
    console
        What the guest printed.
    """
    if status == CRASH_STATUS:
        return Crashed(CrashReport("crash of which the kernel could not report more"))
    if status > 0 and status % 2 and reason is None and not messages:
        return Exited(status >> 1)  # straight through isa-debug-exit
    if status == 0 and reason in (None, "guest-shutdown") and kernel is not None:
        verdict = kernel.verdict(console.text)
        if verdict is not None and verdict.fault is not None:
            frames = (Frame(address, symbol, offset) for address, symbol, offset in verdict.backtrace)
            return Crashed(CrashReport(verdict.fault, backtrace=tuple(frames)))
        if verdict is not None:
            return Exited(verdict.status)
    parts = [why_ended(status, reason)]
    if messages:
        parts.append(f"QEMU said:\n{messages}")
    tail = console.tail()
    parts.append(f"The console's last lines:\n{tail}" if tail else "The console is empty.")
    return Lost("\n".join(parts))


def why_refused(messages: str, machine: Machine) -> OsvlabError:
    """Return the error behind what QEMU said when it did not start a machine.

    Parameters
    ----------
    messages
        What it said.
    machine
        The machine.
    """
    for network in machine.networks:
        if (refused := refusal(messages, network.forwards)) is not None:
            return refused
    if _LOCKED in messages:
        for disk in machine.disks:
            try:
                refuse_use(disk.path)
            except ImageInUseError as error:
                return error
    hint = "See what this host can do: osvlab doctor."
    if _LOCKED in messages:
        hint = "Let the program end that has the disk open (fuser names it), or take a copy of the image."
    return QemuError(f"QEMU refused to start: {messages}", hint)
