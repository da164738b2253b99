"""A machine: memory, CPUs, disks, kernel; a frozen description of what QEMU will be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.paths import open_bytes
from osvlab.vm.network import Network

__all__ = ["Accelerator", "Disk", "DiskAccess", "Machine", "MachineError", "MachineKind"]

MIB = 1 << 20


class MachineError(OsvlabError, ValueError):
    """A machine that cannot be: no memory, no CPU, nothing to boot."""


class MachineKind(StrEnum):
    """The board QEMU pretends to be.

    ``microvm`` has no PCI and no firmware worth the name and starts fastest; ``pc``
    (1996) and ``q35`` (2009) have PCI, ACPI and a BIOS that can boot from a disk.

    Examples
    --------
    >>> MachineKind.named("q35")
    <MachineKind.Q35: 'q35'>
    """

    MICROVM = "microvm"
    PC = "pc"
    Q35 = "q35"

    @classmethod
    def named(cls, name: str) -> MachineKind:
        """Return the kind of that name. Raises MachineError when there is none."""
        try:
            return cls(name)
        except ValueError:
            raise MachineError(f"no such machine: {name}", hint=f"There are: {', '.join(cls)}.") from None


class Accelerator(StrEnum):
    """How guest instructions run: on the CPU (``kvm``) or translated (``tcg``).

    Examples
    --------
    >>> Machine(kernel=Path("k"), accelerator=Accelerator.TCG).accelerator.value
    'tcg'
    """

    KVM = "kvm"
    TCG = "tcg"


class DiskAccess(StrEnum):
    """What the guest's writes do to a disk.

    ``read-only`` refuses them, ``scratch`` keeps them until the VM ends and never
    touches the file, ``write`` changes the file.
    """

    READ_ONLY = "read-only"
    SCRATCH = "scratch"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk file (raw bytes) and what the guest may do to it.

    Attributes
    ----------
    path
        The file.
    access
        What the guest's writes do to it.
    durable
        Whether a guest that asks for its writes to be on the medium waits until they are. Where the file
        is thrown away when anything fails, that is only slow.

    Examples
    --------
    >>> disk = Disk(Path("data.img"), DiskAccess.SCRATCH)
    >>> Machine(disks=(disk,), kind=MachineKind.PC).disks[0].access.value
    'scratch'
    """

    path: Path
    access: DiskAccess = DiskAccess.READ_ONLY
    durable: bool = True

    def check(self) -> None:
        """Raise `MachineError` unless the file is there and can be opened as asked."""
        try:
            os.close(open_bytes(self.path))
            if self.access is DiskAccess.WRITE:
                with open(self.path, "r+b"):
                    pass
        except OSError as error:
            raise MachineError(
                f"cannot open the disk {self.path}: {error.strerror}",
                hint="Check the path and its permissions.",
            ) from error


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that could run.

    Parameters
    ----------
    kind
        The board.
    memory
        Bytes of RAM, at least 1 MiB.
    cpus
        Number of CPUs.
    disks
        In the order in which the guest sees them; the first is the boot disk.
    kernel
        A PVH kernel for ``-kernel``, or None to boot the first disk through the BIOS.
    command_line
        What the kernel is told; only with ``kernel``.
    accelerator
        KVM, TCG, or None: the best that was seen to work on this host.
    networks
        Its network cards, in the order in which the guest sees them.
    initrd
        A bootfs that is put into memory beside the kernel, which unpacks it into its first root;
        only with ``kernel``.

    Raises
    ------
    MachineError
        When such a machine cannot be.

    Examples
    --------
    >>> from pathlib import Path
    >>> machine = Machine(kernel=Path("lab-kernel.elf"), memory=64 << 20, command_line="--verbose /hello")
    >>> print(machine)
    microvm, 64 MiB, 1 CPU, kernel lab-kernel.elf
    """

    kind: MachineKind = MachineKind.MICROVM
    memory: int = 64 * MIB
    cpus: int = 1
    disks: tuple[Disk, ...] = ()
    kernel: Path | None = None
    command_line: str = ""
    accelerator: Accelerator | None = None
    networks: tuple[Network, ...] = ()
    initrd: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", MachineKind.named(self.kind))  # a plain "pc" is welcome
        if self.memory < MIB or self.memory % MIB:
            raise MachineError(
                f"a machine cannot have {self.memory} bytes of memory",
                hint="Ask for whole MiB, as in memory='64M'.",
            )
        if not 1 <= self.cpus <= 255:
            raise MachineError(f"a machine cannot have {self.cpus} CPUs", hint="Ask for 1 to 255.")
        if self.kernel is None and not self.disks:
            raise MachineError(
                "a machine needs a kernel or a disk to boot from", hint="Give it kernel= or disks=."
            )
        if self.kernel is None and self.kind is MachineKind.MICROVM:
            raise MachineError(
                "a microvm has no BIOS to boot a disk with",
                hint="Use machine='pc' or 'q35', or give it a kernel.",
            )
        if self.initrd is not None and self.kernel is None:
            raise MachineError(
                f"the initrd {self.initrd} goes beside a kernel, and there is none", hint="Give it kernel=."
            )
        if "\0" in self.command_line:
            raise MachineError("a kernel command line cannot contain a NUL character", hint="Take it out.")

    def files(self) -> Iterable[Path]:
        """Every file of the host that the machine needs."""
        if self.kernel is not None:
            yield self.kernel
        if self.initrd is not None:
            yield self.initrd
        yield from (disk.path for disk in self.disks)

    def __str__(self) -> str:
        cpus = "1 CPU" if self.cpus == 1 else f"{self.cpus} CPUs"
        boot = f"kernel {self.kernel.name}" if self.kernel else f"boots {self.disks[0].path.name}"
        return f"{self.kind}, {self.memory // MIB} MiB, {cpus}, {boot}"
