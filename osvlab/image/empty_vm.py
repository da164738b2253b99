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
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.tree import Directory
from osvlab.guest.cpiod import PORT, WAITING, upload
from osvlab.image.boot_modules import boot_modules
from osvlab.image.modules import chosen_modules
from osvlab.kernels import Capability, Kernel, KernelKind
from osvlab.vm.folder import Folder
from osvlab.vm.machine import Disk, DiskAccess, Machine, MachineKind
from osvlab.vm.network import Forward, Network
from osvlab.vm.outcome import Exited
from osvlab.vm.vm import VM

__all__ = ["Builder", "EmptyVmError", "fill", "lab_builder", "osv_builder"]

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
    programs
        The programs, for a kernel that does not bring them along: they are put into memory beside it.
    keeps_times
        Whether its upload daemon gives files, and the root itself, the ages they are sent with.
    """

    kernel: Kernel
    command_line: str
    memory: int
    root_dataset: str
    programs: Directory | None = None
    keeps_times: bool = False


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
# What is mounted is let go in good order when the last program has ended.
_LAB = (
    "--nomount /tools/mkfs.so --compression={compression} --ashift={ashift}; "
    "/tools/cpiod.so --preserve-modification-time --prefix /zfs/"
)
_LAB_MEMORY = 128 << 20


def lab_builder(
    kernel: Kernel | None = None, *, compression: str | None = "lz4", ashift: int = 9
) -> Builder:
    """Return the builder that the lab kernel is, with its modules mkfs, cpiod and zfs.

    Parameters
    ----------
    kernel
        A lab kernel; the lab's own when not given.
    compression
        Of what is written: ``lz4``, or None.
    ashift
        The smallest block has 2 to this power bytes: 9 or 12.

    Raises
    ------
    KernelBuildError
        Kernel or modules have to be compiled, and that failed.
    EmptyVmError
        There is no such compression, or no such block size.
    """
    if compression not in ("lz4", None) or ashift not in (9, 12):
        raise EmptyVmError(
            f"the empty VM cannot format with compression {compression!r} and ashift {ashift!r}",
            hint="It knows lz4 and None, 9 and 12. The host's way (via='host') also knows gzip.",
        )
    kernel = kernel or Kernel.lab()
    programs = boot_modules(kernel, "zfs")
    for module in chosen_modules(["mkfs", "cpiod"]):
        for path, node in module.nodes().items():
            programs.add(path, node)
    line = _LAB.format(compression=compression or "off", ashift=ashift)
    return Builder(kernel, line, _LAB_MEMORY, "osv", programs, keeps_times=True)


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
    folder = Folder(room=builder.memory)
    try:
        machine = _machine(builder, disk, folder)
    except BaseException:
        folder.remove()
        raise
    with VM(machine, timeout=timeout, folder=folder, kernel=builder.kernel) as vm:
        if started is not None:
            started(vm)
        with step("boot an empty VM"):
            _wait_for(vm, FORMATTING)
        with step("format its disk"):
            _wait_for(vm, WAITING)
        upload(vm, tree, timeout=timeout, root=builder.keeps_times)
        with step("seal the pool"):
            outcome = vm.wait()
        said = vm.console.text
        failed = _FAILED.search(said)
        if not (isinstance(outcome, Exited) and outcome.ok) or failed is not None:
            why = failed[0].strip() if failed is not None else str(outcome)
            raise _unable(vm, f"the empty VM could not fill {disk.name}: {why}")
    return said


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
        disks=(Disk(disk, DiskAccess.WRITE),),
        kernel=builder.kernel.path,
        command_line=builder.command_line,
        networks=(Network(forwards=(Forward(PORT),)),),
        initrd=initrd,
    )


# mkfs's, zpool's, cpiod's and the kernel's own words.
_FAILED = re.compile(
    r"^.*(?:command failed|mkfs: cannot|cannot export|cannot create|bad cpio magic|unknown type"
    r"|Failed to load object|No space left on device|\[backtrace\]).*$",
    re.MULTILINE,
)


def _wait_for(vm: VM, line: str) -> None:
    try:
        vm.wait_for(re.escape(line))
    except OsvlabError as error:
        raise _unable(vm, f"the empty VM ended before it said {line!r}") from error


def _unable(vm: VM, message: str) -> EmptyVmError:
    return EmptyVmError(f"{message}\n{vm.console.tail(8)}", hint="Its console, above, tells more.")
