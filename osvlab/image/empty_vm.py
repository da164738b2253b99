"""Filling a disk inside an empty VM, as OSv's own build does it.

The VM has a kernel, a disk with an empty partition, and a network card; nothing else. Its command
formats the partition (`mkfs.so`), waits for a stream of files on port 10000 (`cpiod.so`), lets the
pool go (`zpool export`) and powers off. What is on the disk then, boots.

Source of the sequence: OSv, `scripts/upload_manifest.py`. There the host connects as soon as it
can, which behind QEMU's forwarding is before the guest listens; here it waits for the line that
the guest prints.

>>> import osvlab.filesystems
>>> from osvlab.filesystems.disk import TYPE_LINUX, Partition, make_boot_sector
>>> from osvlab.filesystems.tree import Content
>>> builder: Builder = lab_builder()
>>> with open("disk.img", "w+b", buffering=0) as file:
...     table = [Partition(1, TYPE_LINUX, 1 << 20, 1 << 20), Partition(2, TYPE_LINUX, 2 << 20, 64 << 20)]
...     _ = file.write(make_boot_sector(None, 0, table))
...     _ = file.seek(1 << 20)
...     _ = write_bootfs(builder.programs, file)
...     _ = file.truncate(66 << 20)
>>> said = fill(builder, Path("disk.img"), Directory({b"hello": Content(b"hi there")}))
>>> [line for line in said.splitlines() if "hello" in line]
['Adding /hello...']

The same step by step:

>>> with EmptyVm(builder, Path("disk.img")) as empty:
...     empty.boot()
...     empty.format()
...     upload = empty.fill(Directory({b"again": Content(b"hi")}), lambda done, size: None)
...     empty.seal()
>>> with osvlab.filesystems.open("disk.img") as fs:
...     [path.name for path in (fs / "/").iterdir()]
['again']
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.tree import Directory
from osvlab.guest.address import GuestError, GuestTimeoutError
from osvlab.guest.cpiod import PORT, WAITING, Upload, send
from osvlab.image.builders import Builder, EmptyVmError, lab_builder, osv_builder
from osvlab.kernels import Capability
from osvlab.vm.folder import Folder
from osvlab.vm.machine import Disk, DiskAccess, Machine, MachineKind
from osvlab.vm.network import Forward, Network
from osvlab.vm.outcome import Exited, Outcome
from osvlab.vm.vm import VM, StillRunningError

__all__ = ["Builder", "EmptyVm", "EmptyVmError", "fill", "lab_builder", "osv_builder"]

FORMATTING = "Running mkfs..."
"""What mkfs prints first."""

TIMEOUT = 600.0
_LAST_WORDS = 5.0  # seconds for a guest that broke the connection off to end, too


class EmptyVm:
    """A VM that formats and fills partition 2 of a disk; to be used in a `with`, method by method.

    Parameters
    ----------
    builder
        What it runs.
    disk
        A file with a partition table; it is written to.
    timeout
        Seconds for all of it.

    Raises
    ------
    EmptyVmError
        Of all methods: the VM ended early, or said that something failed.
    OSError
        Of all methods: the host has no room for what the VM writes.
    """

    def __init__(self, builder: Builder, disk: Path, *, timeout: float = TIMEOUT) -> None:
        self._builder = builder
        self._end = time.monotonic() + timeout
        folder = Folder(room=builder.memory)
        try:
            machine = _machine(builder, disk, folder)
        except BaseException:
            folder.remove()
            raise
        self.vm = VM(machine, timeout=timeout, folder=folder, kernel=builder.kernel)

    def boot(self) -> None:
        """Wait until its first program runs."""
        self._wait_for(FORMATTING)

    def format(self) -> None:
        """Wait until the partition holds an empty filesystem, and the VM listens."""
        self._wait_for(WAITING)
        # OSv goes on with its next command after one that failed.
        if _FAILED.search(self.vm.console.text) is not None:
            raise self._failure("cannot format the disk", patience=0)

    def fill(self, tree: Directory, progress: Callable[[int, int], object]) -> Upload:
        """Stream a tree into it; `progress` is told how many bytes are sent, of how many."""
        try:
            return send(
                self.vm.address(PORT), tree, progress, timeout=self._left(), root=self._builder.keeps_all
            )
        except GuestError as error:
            raise self._failure("did not take the files", error) from error

    def seal(self) -> None:
        """Wait until it has let the pool go and powered off."""
        outcome = self.vm.wait()
        if not (isinstance(outcome, Exited) and outcome.ok) or _FAILED.search(self.vm.console.text):
            raise self._failure("did not end well")

    def _left(self) -> float:
        return max(0.001, self._end - time.monotonic())

    def _wait_for(self, line: str) -> None:
        try:
            self.vm.wait_for(re.escape(line), self._left())
        except OsvlabError as error:
            raise self._failure(f"never said {line!r}") from error

    def _failure(
        self, what: str, error: OsvlabError | None = None, *, patience: float = _LAST_WORDS
    ) -> OSError | EmptyVmError:
        """Return what is to be raised when something failed, with all that is known about why."""
        outcome: Outcome | None = None
        with contextlib.suppress(StillRunningError):
            outcome = self.vm.wait(patience)
        if self.vm.disk_full:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        known = [error.message] if error is not None else []
        said = _FAILED.search(self.vm.console.text)
        if said is not None and not (known and said[0].removeprefix("cpiod: error: ") in known[0]):
            known.append(said[0].strip())
        if outcome is not None and not isinstance(outcome, Exited):
            known.append(str(outcome).partition("\n")[0])
        reasons = "; ".join(known) or str(outcome or "it still runs")
        hint = "Its console, above, tells more."
        if "o space left" in reasons or _NOT_MADE in self.vm.console.text:
            hint = "Give the filesystem more room, with size=."
        elif isinstance(error, GuestTimeoutError):  # OSv stops so when its disk is full, without a word
            hint = "If the files need more room than there is, give the filesystem more, with size=."
        return EmptyVmError(f"the empty VM {what}: {reasons}\n{self.vm.console.tail(8)}", hint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vm.stop()


def fill(
    builder: Builder,
    disk: Path,
    tree: Directory,
    *,
    timeout: float = TIMEOUT,
    started: Callable[[VM], object] | None = None,
) -> str:
    """Boot an empty VM on a disk, let it format partition 2, and stream a tree into it.

    The steps are published as events: boot, format, upload, seal.

    Parameters
    ----------
    builder
        What the VM runs.
    disk
        A file with a partition table; it is written to.
    tree
        The files.
    timeout
        Seconds for all of it.
    started
        Is called with the VM once it runs: to watch its console, for one.

    Returns
    -------
    str
        What the VM printed.

    Raises
    ------
    EmptyVmError
        The VM ended early, or said that something failed.
    OSError
        The host has no room for what the VM writes.
    """
    with EmptyVm(builder, disk, timeout=timeout) as empty:
        if started is not None:
            started(empty.vm)
        with step("boot an empty VM"):
            empty.boot()
        with step("format its disk"):
            empty.format()
        with step("upload") as running:
            running.bytes = empty.fill(tree, running.progress).size
        with step("seal the pool"):
            empty.seal()
        return empty.vm.console.text


def _machine(builder: Builder, disk: Path, folder: Folder) -> Machine:
    initrd = None
    if builder.programs is not None:
        initrd = folder.path / "programs"
        with open(initrd, "wb", buffering=0) as stream:
            write_bootfs(builder.programs, stream)
    microvm = builder.kernel.can(Capability.BOOTS_MICROVM_WITHOUT_KVM)
    return Machine(
        kind=MachineKind.MICROVM if microvm else MachineKind.PC,
        memory=builder.memory,
        disks=(Disk(disk, DiskAccess.WRITE, durable=False),),
        kernel=builder.kernel.path,
        command_line=builder.command_line,
        networks=(Network(forwards=(Forward(PORT),)),),
        initrd=initrd,
    )


_NOT_MADE = "chmod: No such file or directory"
"""What OSv's cpiod dies of when a file could not be made, since the disk is full."""

# mkfs's, zpool's, cpiod's and the kernel's own words; names of files do not count.
_FAILED = re.compile(
    r"^(?!Adding |Link ).*(?:command failed|mkfs: cannot|cannot export|cannot create|bad cpio magic"
    r"|cpiod: error|umount \S+ failed|unknown type|Failed to load object|No space left on device"
    r"|\[backtrace\]).*$",
    re.MULTILINE,
)
