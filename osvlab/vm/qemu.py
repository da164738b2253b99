"""QEMU: where it is, and the argument list that makes a `Machine` of it.

QEMU runs inside the VM's private folder, where everything it needs has a short
plain name (``kernel``, ``disk0``, ``memory``). So no path of the user's, with a
comma or a byte that is no UTF-8 in it, ever meets QEMU's option syntax.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.vm.machine import Accelerator, DiskAccess, Machine, MachineKind

__all__ = ["QemuError", "QemuMissingError", "arguments", "die_with_python", "find_qemu", "why_ended"]

INSTALL = "Install it: sudo apt-get install qemu-system-x86"


class QemuMissingError(OsvlabError, FileNotFoundError):
    """There is no QEMU on this host."""


class QemuError(OsvlabError, RuntimeError):
    """QEMU refused to start, or refused a command."""


def find_qemu() -> Path:
    """Return the path of ``qemu-system-x86_64``: `$OSVLAB_QEMU`, or the first on `$PATH`.

    Raises
    ------
    QemuMissingError
        There is none.
    """
    named = os.environ.get("OSVLAB_QEMU")
    found = shutil.which(named or "qemu-system-x86_64")
    if found is not None:
        return Path(found).resolve()
    if named:
        raise QemuMissingError(f"OSVLAB_QEMU names no program: {named}", hint="Correct it, or unset it.")
    raise QemuMissingError("no qemu-system-x86_64 on the PATH", hint=INSTALL)


def die_with_python() -> list[str]:
    """Return the words that start a child which the kernel kills when its parent thread ends.

    That holds after ``kill -9`` too, when no Python code can clean up any more.

    Raises
    ------
    QemuMissingError
        ``setpriv`` is not installed.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise QemuMissingError("no setpriv on the PATH", hint="Install it: sudo apt-get install util-linux")
    return [setpriv, "--pdeathsig", "KILL", "--"]


def arguments(machine: Machine, accelerator: Accelerator, monitor: int) -> list[str]:
    """Return QEMU's arguments for a machine, to be run in the VM's folder.

    Parameters
    ----------
    machine, accelerator
        What to run, and how.
    monitor
        The descriptor of QEMU's end of the monitor's socket pair.

    Examples
    --------
    >>> machine = Machine(kernel=Path("k"), command_line="/hello")
    >>> words = arguments(machine, Accelerator.TCG, monitor=3)
    >>> words[words.index("-append") + 1]
    '/hello'
    """
    return [
        *_board(machine),
        *_processor(machine, accelerator),
        *_memory(machine),
        *_boot(machine),
        *_disks(machine),
        *_networks(machine),
        *_channels(monitor),
        # A guest may reset before the monitor's first event; this log knows a triple fault all the same.
        *("-d", "cpu_reset", "-D", "cpu.log"),
        # The guest's way out: writing N to port 0xF4 ends QEMU with status 2 * N + 1.
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
    ]


def _board(machine: Machine) -> list[str]:
    options = {
        # Neither ACPI nor option ROMs: what is not there takes no time to set up.
        MachineKind.MICROVM: "microvm,x-option-roms=off,acpi=off,pit=on,pic=off,rtc=on,"
        "auto-kernel-cmdline=on",  # the kernel is told where the virtio devices are
        MachineKind.PC: "pc",
        MachineKind.Q35: "q35",
    }[machine.kind]
    return [
        *("-M", f"{options},memory-backend=memory"),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-global", "virtio-mmio.force-legacy=off"),
    ]


def _processor(machine: Machine, accelerator: Accelerator) -> list[str]:
    if accelerator is Accelerator.KVM:
        return ["-accel", "kvm", "-cpu", "host", "-smp", str(machine.cpus)]
    # By default TCG reserves 1 GiB for translated code, too much for a small container.
    return ["-accel", "tcg,tb-size=64", "-cpu", "max", "-smp", str(machine.cpus)]


def _memory(machine: Machine) -> list[str]:
    # Shared, so that a debugger in Python maps the guest's memory while it runs.
    return [
        *("-m", f"{machine.memory >> 20}M"),
        *("-object", f"memory-backend-file,id=memory,size={machine.memory},mem-path=memory,share=on"),
    ]


def _boot(machine: Machine) -> list[str]:
    if machine.kernel is None:
        return []
    initrd = [] if machine.initrd is None else ["-initrd", "initrd"]
    return ["-kernel", "kernel", *initrd, "-append", machine.command_line]


def _disks(machine: Machine) -> list[str]:
    model = "virtio-blk-device" if machine.kind is MachineKind.MICROVM else "virtio-blk-pci"
    words = []
    first = ",bootindex=0" if machine.kernel is None else ""  # with a kernel, QEMU boots that first
    for number, disk in enumerate(machine.disks):
        access = {
            DiskAccess.READ_ONLY: "readonly=on",
            DiskAccess.SCRATCH: "snapshot=on",
            DiskAccess.WRITE: "readonly=off",
        }[disk.access]
        access += "" if disk.durable else ",cache.no-flush=on"
        words += [
            *("-drive", f"if=none,id=disk{number},file=disk{number},format=raw,{access}"),
            *("-device", f"{model},drive=disk{number}" + (first if number == 0 else "")),
        ]
    return words


def _networks(machine: Machine) -> list[str]:
    # Without its option ROM a card cannot boot the machine, which nobody wants, and starts faster.
    model = "virtio-net-device" if machine.kind is MachineKind.MICROVM else "virtio-net-pci,romfile="
    words = []
    for number, network in enumerate(machine.networks):
        if network.switch is not None:
            backend = f"stream,id=net{number},server=off,addr.type=unix,addr.path=switch{number}"
        else:
            rules = "".join(f",hostfwd={forward.rule}" for forward in network.forwards)
            restrict = "off" if network.outbound else "on"
            backend = f"user,id=net{number},ipv6=off,restrict={restrict}{rules}"
        mac = f",mac={network.mac}" if network.mac is not None else ""
        words += ["-netdev", backend, "-device", f"{model},netdev=net{number}{mac}"]
        if network.capture is not None:
            words += ["-object", f"filter-dump,id=capture{number},netdev=net{number},file=capture{number}"]
    return words


def _channels(monitor: int) -> list[str]:
    return [
        # QEMU writes byte by byte what a guest prints. A pipe packs the bytes into pages, where a
        # socket would spend a buffer on each and be full after three hundred.
        *("-chardev", "pipe,id=console,path=console", "-serial", "chardev:console"),
        *("-chardev", "pipe,id=report,path=report"),
        *("-device", "isa-debugcon,iobase=0xe9,chardev=report"),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        # A second monitor for a debugger: each serves one client at a time.
        *("-chardev", "socket,id=debugger,path=debugger.sock,server=on,wait=off"),
        *("-mon", "chardev=debugger,mode=control"),
    ]


def why_ended(status: int, reason: str | None) -> str:
    """Say in words how QEMU ended, from its exit status and the reason that its monitor gave.

    Examples
    --------
    >>> why_ended(-9, None)
    'QEMU was killed by SIGKILL'
    """
    if status < 0:
        name = signal.Signals(-status).name if -status in signal.valid_signals() else str(-status)
        return f"QEMU was killed by {name}"
    if reason == "triple fault":
        return "the guest reset the machine by a triple fault: a fault while it could not handle faults"
    if reason == "guest-reset":
        return "the guest reset the machine without a report, as a triple fault does"
    if reason == "guest-shutdown":
        return "the guest powered off without reporting how its command ended"
    if reason == "host-signal":
        return "QEMU was told to end by another process"
    if status == 0:
        return "the guest turned the machine off, or reset it, without a report"
    return f"QEMU ended with status {status}" + (f" ({reason})" if reason else "")
