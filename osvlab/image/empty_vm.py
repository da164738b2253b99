"""Filling a disk inside an empty VM, as OSv's own build does it.

The VM has a kernel, a disk with an empty partition, and a network card; nothing else. Its command
formats the partition (`mkfs.so`), waits for a stream of files on port 10000 (`cpiod.so`), lets the
pool go (`zpool export`) and powers off. What is on the disk then, boots.

Source of the sequence: OSv, `scripts/upload_manifest.py`. There the host connects as soon as it
can, which behind QEMU's forwarding is before the guest listens; here it waits for the line that
the guest prints. The steps are published as events: boot, format, upload, seal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.filesystems.tree import Directory
from osvlab.guest.cpiod import PORT, WAITING, upload
from osvlab.kernels import Kernel, KernelKind
from osvlab.vm.machine import Disk, DiskAccess, Machine, MachineKind
from osvlab.vm.network import Forward, Network
from osvlab.vm.outcome import Exited
from osvlab.vm.vm import VM

__all__ = ["Builder", "EmptyVmError", "fill", "osv_builder"]

FORMATTING = "Running mkfs..."
"""What mkfs prints first."""


class EmptyVmError(OsvlabError):
    """A VM that should fill a disk did not; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Builder:
    """What an empty VM runs to format and fill its disk.

    Attributes
    ----------
    kernel
        A kernel that brings the programs along.
    command_line
        What it is told.
    memory
        Bytes of memory that it needs.
    root_dataset
        Which dataset of the pool gets the files: ``osv``, or ``osv/zfs`` as OSv did up to 0.57.
    archive
        A bootfs with the programs, for a kernel that has none of its own.
    """

    kernel: Kernel
    command_line: str
    memory: int
    root_dataset: str
    archive: Path | None = None


# Up to OSv 0.57 the files went to the dataset osv/zfs, and cpiod itself unmounted that.
_OSV_OLD = (
    "--console=serial --norandom --nomount --noinit --preload-zfs-library "
    "/tools/mkfs.so; /tools/cpiod.so --prefix /zfs/zfs/; /zfs.so set compression=off osv"
)
_OSV = (
    "--console=serial --norandom --nomount --noinit --preload-zfs-library "
    "/tools/mkfs.so; /tools/cpiod.so --prefix /zfs/; /zfs.so set compression=off osv; "
    "/tools/umount.so /zfs/zfs; /tools/umount.so /zfs; /zpool.so export osv"
)
_OSV_MEMORY = 512 << 20


def osv_builder(path: str | Path) -> Builder:
    """Return the builder that OSv's ``zfs_builder-stripped.elf`` is.

    Which dataset becomes the root changed after OSv 0.57. It is told by the builder's own programs:
    only the later one brings a `umount` along.

    Raises
    ------
    KernelError
        The file is no kernel.
    EmptyVmError
        It is one, and does not bring mkfs and cpiod along.
    """
    kernel = Kernel.open(path)
    content = kernel.path.read_bytes()
    missing = [
        name for name in ("/tools/mkfs.so", "/tools/cpiod.so") if name[1:].encode() + b"\0" not in content
    ]
    if kernel.kind is not KernelKind.OSV or missing:
        raise EmptyVmError(
            f"{kernel.path.name} cannot format a disk: it has no {' and no '.join(missing) or 'OSv in it'}",
            hint="OSv's build makes one for that: zfs_builder-stripped.elf, with fs=zfs.",
        )
    if b"tools/umount.so\0" in content:
        return Builder(kernel, _OSV, _OSV_MEMORY, "osv")
    return Builder(kernel, _OSV_OLD, _OSV_MEMORY, "osv/zfs")


def fill(
    builder: Builder,
    disk: Path,
    tree: Directory,
    *,
    timeout: float = 600,
    started: Callable[[VM], object] | None = None,
) -> str:
    """Boot an empty VM on a disk, let it format partition 2, and stream a tree into it.

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
    UploadError, GuestTimeoutError
        The stream broke off.
    """
    card = Network(forwards=(Forward(PORT),))
    machine = Machine(
        kind=MachineKind.PC,
        memory=builder.memory,
        disks=(Disk(disk, DiskAccess.WRITE),),
        kernel=builder.kernel.path,
        command_line=builder.command_line,
        networks=(card,),
    )
    with VM(machine, timeout=timeout, kernel=builder.kernel) as vm:
        if started is not None:
            started(vm)
        with step("boot an empty VM"):
            _wait_for(vm, FORMATTING)
        with step("format its disk"):
            _wait_for(vm, WAITING)
        upload(vm, tree, timeout=timeout)
        with step("seal the pool"):
            outcome = vm.wait()
        said = vm.console.text
        failed = _FAILED.search(said)
        if not (isinstance(outcome, Exited) and outcome.ok) or failed is not None:
            why = failed[0].strip() if failed is not None else str(outcome)
            raise _unable(vm, f"the empty VM could not fill {disk.name}: {why}")
    return said


# mkfs's, zpool's, cpiod's and the kernel's own words.
_FAILED = re.compile(
    r"^.*(?:command failed|cannot export|cannot create|bad cpio magic|unknown type|Failed to load object"
    r"|No space left on device|\[backtrace\]).*$",
    re.MULTILINE,
)


def _wait_for(vm: VM, line: str) -> None:
    try:
        vm.wait_for(re.escape(line))
    except OsvlabError as error:
        raise _unable(vm, f"the empty VM ended before it said {line!r}") from error


def _unable(vm: VM, message: str) -> EmptyVmError:
    return EmptyVmError(f"{message}\n{vm.console.tail(8)}", hint="Its console, above, tells more.")
