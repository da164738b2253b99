"""A running QEMU as the owner sees it: process, deadline, and how it ends.

Everything here runs on the owner's loop, except what is marked as readable from any
thread. The order at the end is the point of this file: QEMU is gone, what it still
had to say is read from the pipes, only then the outcome is judged, and only when
that is known are those who wait woken up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from dataclasses import dataclass
from typing import ClassVar

from osvlab.errors import OsvlabError
from osvlab.events import Event, publish
from osvlab.kernels import Kernel
from osvlab.paths import PathNotFoundError
from osvlab.vm.console import Console
from osvlab.vm.discover import record
from osvlab.vm.ending import judge, why_refused
from osvlab.vm.folder import Folder
from osvlab.vm.machine import Accelerator, DiskAccess, Machine
from osvlab.vm.network import Protocol, forwarded
from osvlab.vm.outcome import Lost, Outcome, TimedOut
from osvlab.vm.pipes import Keyboard, Output, named_pipe
from osvlab.vm.qemu import QemuError, arguments, die_with_python, find_qemu
from osvlab.vm.qmp import Monitor, MonitorError
from osvlab.vm.report import Report
from osvlab.vm.timeline import BootTimeline

__all__ = ["Session", "VmEnded", "VmStarted"]

LIMITS = "See what this process may use (ulimit -a): each guest takes 9 descriptors and a few threads."

START_DEADLINE = 30.0
"""Seconds for QEMU to answer its monitor; it takes 0.03 on an idle host."""

POWER_OFF_GRACE = 3.0
"""Seconds for QEMU to end after its guest has."""

_NO_ROOM = "the host has no room for what the guest writes to its disk"


@dataclass(frozen=True, slots=True)
class VmStarted(Event):
    """QEMU runs."""

    pid: int
    machine: Machine


@dataclass(frozen=True, slots=True)
class VmEnded(Event):
    """A virtual machine has ended, and how."""

    pid: int
    outcome: Outcome


class Session:
    """One QEMU from start to end.

    Parameters
    ----------
    machine, accelerator, folder
        What to run, how, and where; the folder is removed at the end.
    timeout
        Seconds after which the guest is ended, counted from the start of QEMU.
    kernel
        Knows how to read the console of its kind of guest; None for a guest of which
        nothing is known.
    """

    live: ClassVar[set[Session]] = set()

    def __init__(
        self,
        machine: Machine,
        accelerator: Accelerator,
        folder: Folder,
        *,
        timeout: float | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self.machine = machine
        self.accelerator = accelerator
        self.folder = folder
        self.timeout = timeout
        self._keyboard = Keyboard()
        self._printing = Output(self._printed)
        self._reporting = Output(self._reported)
        self.console = Console(self._keyboard.type)
        self.report = Report()
        self.outcome: Outcome | None = None
        self.disk_full = False
        self.keeper: object = None
        """Who shows this session to people; kept while the guest runs, so that it can be found again."""
        self.forwards = tuple(network.forwards for network in machine.networks)
        self.kernel = kernel
        self._application = kernel.application_line if kernel is not None else None
        self._shut_down = False
        self._ending: Lost | TimedOut | None = None
        self._first_output: float | None = None
        self._application_output: float | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start QEMU and return when its monitor answers (or its guest has already ended).

        Raises
        ------
        QemuError
            QEMU ended at once; the message is its own.
        NetworkError
            A port of the host could not be had.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._spawn()
        except BaseException as error:
            self.folder.remove()
            if isinstance(error, OSError) and not isinstance(error, OsvlabError):
                raise QemuError(f"cannot start QEMU: {error}", hint=LIMITS) from error
            raise
        Session.live.add(self)
        self._life = self._loop.create_task(self._live())
        try:
            async with asyncio.timeout(START_DEADLINE):
                await self._until_ready()
        except BaseException as error:
            self._end(Lost("its start was interrupted", stopped=True))
            if isinstance(error, TimeoutError):
                raise QemuError(
                    f"QEMU did not answer its monitor within {START_DEADLINE:g} s",
                    hint="Is the host overloaded? See what it can do: osvlab doctor.",
                ) from error
            raise
        if self._refused:
            raise why_refused(self._messages, self.machine)
        await self._learn_ports()
        self._leave_word()
        publish(VmStarted(self.pid, self.machine))

    async def _learn_ports(self) -> None:
        """Ask QEMU which free ports it has chosen, so that nobody can take them in between."""
        if all(forward.host for card in self.forwards for forward in card):
            return
        with contextlib.suppress(MonitorError):  # a guest that has ended needs no ports
            command = {"command-line": "info usernet"}
            text = await self.monitor.execute("human-monitor-command", command)
            self.forwards = tuple(
                forwarded(text, f"net{number}", card) for number, card in enumerate(self.forwards)
            )

    def _leave_word(self) -> None:
        """Tell other programs of this user that the guest runs, and how it is reached."""
        tcp = (each for card in self.forwards for each in card if each.protocol is Protocol.TCP)
        ports = {each.guest: each.reached_at for each in tcp if each.host}
        with contextlib.suppress(PathNotFoundError):  # a guest that has ended has no folder any more
            disks = {
                os.path.realpath(disk.path): disk.access is DiskAccess.WRITE for disk in self.machine.disks
            }
            record(self.folder.path, self.pid, str(self.machine), ports, disks)

    async def _until_ready(self) -> None:
        """Wait until the machine runs, or QEMU has ended."""
        ready = self._loop.create_task(self.monitor.until_ready())
        try:
            while not ready.done():
                await asyncio.wait({ready}, timeout=0.5)
                if self._triple_fault():
                    self._shutting_down()  # perhaps over before the monitor could say so
            with contextlib.suppress(MonitorError):
                ready.result()
                return
            await asyncio.shield(self._life)
        finally:
            ready.cancel()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.monitor = Monitor(ours, self._shutting_down, self._disk_full)
        try:
            self._printing.open(self.folder.path / "console.out")
            self._reporting.open(self.folder.path / "report.out")
            self._keyboard.open(self.folder.path / "console.in")
            os.close(named_pipe(self.folder.path / "report.in"))  # QEMU wants one, and nothing goes down it
            words = [os.fspath(find_qemu()), *arguments(self.machine, self.accelerator, theirs.fileno())]
            with open(self.folder.path / "qemu.log", "wb") as log:
                self.started = time.monotonic()
                self._process = await asyncio.create_subprocess_exec(
                    *(*die_with_python(), *words, "-pidfile", "qemu.pid"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder.path,
                    pass_fds=[theirs.fileno()],
                    # Ctrl-C in a terminal goes to the whole group: it is Python that decides what it means.
                    start_new_session=True,
                    # Where QEMU puts what a guest writes to a scratch disk.
                    env={**os.environ, "TMPDIR": os.fspath(self.folder.path)},
                )
        except BaseException:
            self.monitor.close()
            self._close_pipes()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._refused = False
        self._messages = ""
        self._printing.listen()
        self._reporting.listen()
        if self.timeout is not None:
            self._deadline = self._loop.call_later(self.timeout, self._end, TimedOut(self.timeout))

    # While it runs

    def _printed(self, data: bytes) -> None:
        now = time.monotonic()
        if self._first_output is None:
            self._first_output = now
        self.console.feed(data)
        # Output often comes byte by byte: it is looked at when a line is complete.
        if self._application_output is None and self._application is not None and b"\n" in data:
            if self._application.search(self.console.raw):
                self._application_output = now
            elif self.console.position > 1 << 16:
                self._application = None  # a kernel that talks that much is not worth searching

    def _reported(self, data: bytes) -> None:
        self.report.feed(data, time.monotonic())
        if self.report.outcome is not None:
            self._shutting_down()

    def _shutting_down(self) -> None:
        """Kill QEMU in a while, if it does not end by itself now that its guest has.

        A guest may fail to turn the power off. And QEMU 7.2 may wait for itself for ever
        when its guest turns the power off while a monitor command comes in (seen in one
        run of three hundred: `monitor_cleanup` polls, and nothing wakes it).
        """
        if self._grace is None:
            self._grace = self._loop.call_later(POWER_OFF_GRACE, self._kill_the_rest)

    def _kill_the_rest(self) -> None:
        self._shut_down = True
        self._kill()

    def _disk_full(self) -> None:
        """End the guest: if QEMU has stopped it, it would wait for ever for somebody to make room."""
        self.disk_full = True
        self._end(Lost(_NO_ROOM))

    def _end(self, reason: Lost | TimedOut) -> None:
        """Kill QEMU. Nothing is lost by it: what a guest wrote to its disk is in the host's hands."""
        if self._ending is None and self._process.returncode is None:
            self._ending = reason
            self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End the guest, if it runs, and wait until everything is cleaned up."""
        self._end(Lost("stopped on request", stopped=True))
        await self.over()

    async def over(self) -> None:
        """Wait until the guest has ended and everything is cleaned up."""
        await asyncio.shield(self._life)

    # The end

    async def _live(self) -> None:
        status = await self._process.wait()
        # What QEMU wrote before it died is in the pipes, all of it.
        for output in (self._reporting, self._printing):
            output.stop()
            output.drain()
        for alarm in (self._deadline, self._grace):
            if alarm is not None:
                alarm.cancel()
        self.monitor.close()
        self._messages = self._log_tail()
        # QEMU's own errors come with status 1, a message, and no life; a guest may choose that status too.
        unborn = self.report.version is None and self.console.position == 0
        self._refused = unborn and status == 1 and bool(self._messages)
        outcome = self._judge(status)
        self._clean_up()
        self.outcome = outcome
        self.console.end(str(outcome).partition("\n")[0])
        publish(VmEnded(self.pid, outcome))

    def _clean_up(self) -> None:
        self._close_pipes()
        self.folder.remove()
        Session.live.discard(self)
        self.keeper = None

    def _close_pipes(self) -> None:
        for pipe in (self._printing, self._reporting, self._keyboard):
            pipe.close()

    def _judge(self, status: int) -> Outcome:
        """Say how the run ended. What the guest said counts more than how QEMU ended."""
        if self.report.outcome is not None:
            return self.report.outcome
        if self._ending is not None:
            return self._ending
        if self._shut_down:
            status = 0  # the guest had ended; QEMU only had to be helped
        reason = "triple fault" if self._triple_fault() else self.monitor.shutdown_reason
        return judge(status, reason, self._messages, self.kernel, self.console)

    def _triple_fault(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return b"Triple fault" in (self.folder.path / "cpu.log").read_bytes()
        return False

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError), open(self.folder.path / "qemu.log", "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4000))
            return log.read().decode(errors="replace").strip()
        return ""

    # Readable from any thread

    @property
    def timeline(self) -> BootTimeline | None:
        """Where the time of the boot went, as far as it has come."""
        return BootTimeline.measured(self.report, self.started, self._first_output, self._application_output)


# A forked child has no guests: they stay the parent's, and nothing in the child may end them.
os.register_at_fork(after_in_child=Session.live.clear)
