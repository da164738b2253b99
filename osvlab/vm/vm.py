"""A virtual machine: a `Machine` that runs, as seen from Python."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from osvlab.errors import OsvlabError
from osvlab.guest.address import Address
from osvlab.kernels import Kernel
from osvlab.paths import open_bytes
from osvlab.vm.accelerator import acceleration
from osvlab.vm.console import Console
from osvlab.vm.folder import Folder, sweep
from osvlab.vm.machine import Accelerator, Machine, MachineError
from osvlab.vm.network import NetworkError, Protocol
from osvlab.vm.outcome import Outcome
from osvlab.vm.owner import owner
from osvlab.vm.session import Session
from osvlab.vm.timeline import BootTimeline

if TYPE_CHECKING:
    from osvlab.guest.rest import Rest
    from osvlab.guest.watch import Watch
    from osvlab.image.image import Image

__all__ = ["VM", "StillRunningError", "running", "stop_all"]


class StillRunningError(OsvlabError, TimeoutError):
    """The guest had not ended when the wait for it did."""


class VM:
    """A virtual machine that runs, or has run.

    It runs from the moment it is made. As a context manager (``with`` or ``async with``)
    it ends with the block; otherwise with `stop`, with its ``timeout``, or with Python,
    whichever is first. `running` lists those that run.

    Whatever waits has a twin for asyncio: ``await vm.wait_async()``.

    Parameters
    ----------
    machine
        What to run.
    timeout
        Seconds after which the guest is ended with `TimedOut`; None lets it run.
    image
        The image that its disk was made from, to be shown; None if there is none.
    folder
        A private folder that the machine's disks may lie in; it is the VM's from now
        on. None makes one.
    kernel
        What is known of the kernel that boots; None if nothing is.

    Raises
    ------
    QemuMissingError
        QEMU is not installed.
    QemuError
        QEMU refused to start; the message is its own.
    MachineError
        The kernel or a disk cannot be opened.

    Examples
    --------
    `osvlab.run` makes one of an image, a directory or a recipe:

    >>> import osvlab
    >>> vm: VM = osvlab.run(osvlab.Recipe.from_program("/bin/echo", ["hello"]), timeout=60)
    >>> print(vm.wait_for("Cmdline: .* hello")[0])
    Cmdline: /usr/bin/echo hello
    >>> vm.wait(), vm.running, vm.console.lines()[-1]
    (Exited(status=0), False, 'hello')
    """

    def __init__(
        self,
        machine: Machine,
        *,
        timeout: float | None = None,
        image: Image | None = None,
        folder: Folder | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self.machine = machine
        self.image = image
        self._rest: Rest | None = None
        self._watch: Watch | None = None
        folder = folder or Folder(room=machine.memory)
        try:
            self._lay_out(machine, folder)
            accelerator = machine.accelerator or acceleration().best
            self._session = Session(machine, accelerator, folder, timeout=timeout, kernel=kernel)
        except BaseException:
            folder.remove()
            raise
        self._session.keeper = self
        owner().call(self._session.start())
        _sweep_once()

    @staticmethod
    def _lay_out(machine: Machine, folder: Folder) -> None:
        if machine.kernel is not None:
            check_readable("kernel", machine.kernel)
            folder.link("kernel", machine.kernel)
        if machine.initrd is not None:
            check_readable("initrd", machine.initrd)
            folder.link("initrd", machine.initrd)
        for number, disk in enumerate(machine.disks):
            disk.check()
            folder.link(f"disk{number}", disk.path)
        for number, network in enumerate(machine.networks):
            if network.switch is not None:
                folder.link(f"switch{number}", network.switch)
            if network.capture is not None:
                check_writable(network.capture)
                folder.link(f"capture{number}", network.capture)

    @property
    def console(self) -> Console:
        """What the guest printed, and the way to type to it."""
        return self._session.console

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended; None while it runs."""
        return self._session.outcome

    @property
    def running(self) -> bool:
        """Whether the guest still runs."""
        return self._session.outcome is None

    @property
    def disk_full(self) -> bool:
        """Whether the host had no room for what the guest wrote to its disk, however the guest took that."""
        return self._session.disk_full

    @property
    def boot(self) -> BootTimeline | None:
        """Where the time of the boot went; None until the kernel has reported it, if it does."""
        return self._session.timeline

    @property
    def kernel(self) -> Kernel | None:
        """What is known of the kernel that runs; None if nothing is."""
        return self._session.kernel

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._session.pid

    @property
    def accelerator(self) -> Accelerator:
        """What runs the guest's instructions."""
        return self._session.accelerator

    @property
    def ports(self) -> Mapping[int, int]:
        """The host's port for each TCP port of the guest that is forwarded."""
        forwards = (forward for card in self._session.forwards for forward in card)
        return {each.guest: each.host for each in forwards if each.host and each.protocol is Protocol.TCP}

    def address(self, port: int | None = None) -> Address:
        """Return where the host reaches a TCP port of the guest.

        Parameters
        ----------
        port
            The guest's port; None for the only one that is forwarded.

        Raises
        ------
        NetworkError
            The port is not forwarded, or there is more than one to choose from.
        """
        forwards = {
            forward.guest: forward
            for card in self._session.forwards
            for forward in card
            if forward.protocol is Protocol.TCP and forward.host
        }
        if port is None and len(forwards) == 1:
            (port,) = forwards
        if port is None or port not in forwards:
            known = ", ".join(map(str, forwards)) or "none"
            wanted = "one port" if port is None else f"port {port}"
            raise NetworkError(
                f"{wanted} of the guest is wanted; forwarded: {known}",
                hint=f"Forward it: osvlab.run(..., ports={{{port or 8000}: None}}).",
            )
        return Address.parse(forwards[port].reached_at)

    def url(self, port: int | None = None, path: str = "/", scheme: str = "http") -> str:
        """Return the URL at which the host reaches a TCP port of the guest. See `address`."""
        return f"{scheme}://{self.address(port)}/{path.removeprefix('/')}"

    @property
    def rest(self) -> Rest:
        """The guest's REST API, on its port 8000; see `osvlab.guest.Rest`.

        Raises
        ------
        NetworkError
            The port is not forwarded: ``osvlab.run(..., ports={8000: None})``.
        """
        if self._rest is None:
            from osvlab.guest.rest import Rest

            self._rest = Rest(self, ended=self._ending)
        return self._rest

    def watch(self, interval: float = 0.5) -> Watch:
        """Watch the guest's free memory and its threads: live in a notebook; see `osvlab.guest.Watch`.

        A VM has one watch at a time. While that runs it is returned again, unless `interval`,
        the seconds between two samples, is another one.

        Raises
        ------
        NetworkError
            The REST API's port is not forwarded, see `rest`.
        """
        if self._watch is None or not self._watch.running or self._watch.interval != interval:
            from osvlab.guest.watch import Watch

            new = Watch(self.rest, interval=interval)
            if self._watch is not None:
                self._watch.stop()
            self._watch = new
        return self._watch

    def _ending(self) -> str | None:
        """Say in a line how the run ended; None while it runs."""
        outcome = self.outcome
        return None if outcome is None else str(outcome).partition("\n")[0]

    @property
    def folder(self) -> Path:
        """The VM's private folder, which goes when it ends: ``memory``, ``debugger.sock``, ``qemu.log``."""
        return self._session.folder.path

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until the guest has ended, and say how.

        Raises
        ------
        StillRunningError
            It has not ended within `timeout` seconds; it still runs.
        """
        if self._session.outcome is None:
            with contextlib.suppress(TimeoutError):
                owner().call(self._session.over(), timeout)
        return self._ended_within(timeout)

    async def wait_async(self, timeout: float | None = None) -> Outcome:
        """Wait as `wait` does, while the other tasks of the caller's asyncio loop go on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await owner().awaited(self._session.over())
        return self._ended_within(timeout)

    def _ended_within(self, timeout: float | None) -> Outcome:
        outcome = self._session.outcome
        if outcome is None:
            raise StillRunningError(
                f"the guest still runs after {timeout:g} s, and said last:\n{self.console.tail()}",
                hint="Wait longer, end it with vm.stop(), or give it a limit with run(..., timeout=).",
            )
        return outcome

    def wait_for(
        self, pattern: str | re.Pattern[str], timeout: float | None = 30, *, since: int = 0
    ) -> re.Match[str]:
        """Wait until the console contains a match of a regular expression; see `Console.wait_for`."""
        return self.console.wait_for(pattern, timeout, since=since)

    async def wait_for_async(
        self, pattern: str | re.Pattern[str], timeout: float | None = 30, *, since: int = 0
    ) -> re.Match[str]:
        """Wait as `wait_for` does, while the other tasks of the caller's asyncio loop go on."""
        return await self.console.wait_for_async(pattern, timeout, since=since)

    def write(self, text: str | bytes) -> int:
        """Type to the guest; returns the console's position before that, see `Console.write`."""
        return self.console.write(text)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Run a command of QEMU's monitor and return its value.

        Dashes in names of arguments are written as underscores.

        Raises
        ------
        MonitorError
            QEMU refused it, or has ended.
        """
        names = {name.replace("_", "-"): value for name, value in arguments.items()}
        return owner().call(self._session.monitor.execute(command, names))

    def stop(self) -> Outcome:
        """End the guest if it runs, clean up, and say how it ended."""
        owner().call(self._session.stop())
        return self.wait()

    async def stop_async(self) -> Outcome:
        """End the guest as `stop` does, while the other tasks of the caller's asyncio loop go on."""
        await owner().awaited(self._session.stop())
        return self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_async()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = self._ending() or f"runs as process {self.pid}"
        urls = "".join(f", {self.url(port)} is its port {port}" for port in self.ports if self.running)
        return f"<VM {self.machine}, {self.accelerator}: {state}{urls}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        # The one way up the house: only who shows things knows how, and only IPython asks.
        from osvlab.widgets.display import vm_bundle

        return vm_bundle(self)


def check_readable(what: str, path: Path) -> None:
    """Raise `MachineError` unless a file can be read."""
    try:
        os.close(open_bytes(path))
    except OSError as error:
        raise MachineError(
            f"cannot open the {what} {path}: {error.strerror}", hint="Check the path."
        ) from error


def running() -> list[VM]:
    """Return the virtual machines of this Python that run, the oldest first.

    A VM runs until it is stopped, also when nobody remembers it: a notebook's cell that
    was run again, a name that was given to another. Here it is found again.

    Examples
    --------
    >>> for vm in running():
    ...     vm.stop()
    """
    found = [(session.started, session.keeper) for session in list(Session.live)]
    return [vm for _, vm in sorted(found, key=lambda pair: pair[0]) if isinstance(vm, VM)]


PCAP_MAGIC = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")


def check_writable(capture: Path) -> None:
    """Raise `MachineError` unless a file can be written; it is empty then.

    Only an older capture is written over: an image of this guest's, or anything else, would be lost.
    """
    try:
        if capture.is_file() and _head(capture) not in (b"", *PCAP_MAGIC):
            raise MachineError(
                f"the capture would take the place of {capture}, which holds something else",
                hint="Write it to another file, or remove that one.",
            )
        capture.open("wb").close()
    except OSError as error:
        raise MachineError(
            f"cannot write the capture {capture}: {error.strerror}", hint="Check the path."
        ) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def stop_all() -> None:
    """End every guest of this Python.

    Examples
    --------
    >>> stop_all()
    >>> running()
    []
    """
    for session in list(Session.live):
        owner().call(session.stop())


atexit.register(stop_all)

_swept = False


def _sweep_once() -> None:
    """Clean up after Pythons that were killed, once per process and off the way of the first boot."""
    global _swept
    if not _swept:
        _swept = True
        owner().loop.call_soon_threadsafe(sweep)
