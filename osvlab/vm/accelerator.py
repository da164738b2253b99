"""Which accelerator works on this host: not asked, tried.

`/dev/kvm` can be absent, forbidden to this user, or open and still not run guests.
The last is found out by booting a tiny probe (`osvlab.vm._probe`) under a deadline.
What the probe found is remembered for this boot of the host and this QEMU; that the
device is there and may be opened is looked up afresh each time, which costs nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from osvlab.errors import OsvlabError
from osvlab.paths import cache_dir, replacing
from osvlab.vm._probe import ARRIVED, probe_elf
from osvlab.vm.machine import Accelerator
from osvlab.vm.qemu import die_with_python, find_qemu

__all__ = ["Acceleration", "KvmState", "acceleration", "probe"]

KVM_DEVICE = Path("/dev/kvm")
DEADLINE = 5.0
"""Seconds for the probe, which takes 0.05 where it works."""


class KvmState(StrEnum):
    """What is the matter with KVM."""

    WORKS = "works"
    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Acceleration:
    """What was found out about this host.

    Parameters
    ----------
    kvm
        Whether KVM works, or in which way it does not.
    detail
        The evidence in one line.
    """

    kvm: KvmState
    detail: str

    @property
    def best(self) -> Accelerator:
        """KVM where it was seen to work, TCG everywhere else."""
        return Accelerator.KVM if self.kvm is KvmState.WORKS else Accelerator.TCG

    @property
    def hint(self) -> str | None:
        """What can be done about it, if anything."""
        return {
            KvmState.WORKS: None,
            KvmState.ABSENT: "Guests run translated (TCG), slower. To load the module: sudo modprobe kvm",
            KvmState.FORBIDDEN: "Join the group that owns it: sudo usermod -aG kvm $USER, then log in anew",
            KvmState.BROKEN: "Guests run translated (TCG). If this host is itself a virtual machine, "
            "its nested virtualisation is incomplete.",
        }[self.kvm]

    def __str__(self) -> str:
        return f"KVM {self.kvm}: {self.detail}"


def acceleration(device: Path = KVM_DEVICE) -> Acceleration:
    """Say which accelerator works here, probing at the first call after a boot of the host.

    `$OSVLAB_ACCELERATOR` (``kvm`` or ``tcg``) overrides what was found.

    Raises
    ------
    QemuMissingError
        There is no QEMU to probe with.
    OsvlabError
        `$OSVLAB_ACCELERATOR` names no accelerator.
    """
    forced = os.environ.get("OSVLAB_ACCELERATOR", "")
    if forced == Accelerator.KVM:
        return Acceleration(KvmState.WORKS, "OSVLAB_ACCELERATOR says so")
    if forced == Accelerator.TCG:
        return Acceleration(KvmState.FORBIDDEN, "OSVLAB_ACCELERATOR asks for TCG")
    if forced:
        raise OsvlabError(
            f"OSVLAB_ACCELERATOR is no accelerator: {forced!r}", hint="Use kvm or tcg, or unset it."
        )
    return _refused(device) or _remembered(find_qemu())


def _refused(device: Path) -> Acceleration | None:
    """Tell absent from forbidden by opening the device; None when it opens."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return Acceleration(KvmState.FORBIDDEN, f"{device} may not be opened: {error.strerror}")
        return Acceleration(KvmState.ABSENT, f"{device}: {error.strerror}")
    return None


def _remembered(qemu: Path) -> Acceleration:
    found = qemu.stat()
    key = [_boot_id(), str(qemu), found.st_mtime_ns, found.st_size]
    try:
        cache = cache_dir() / "accelerator.json"
    except OsvlabError:
        return probe(qemu)  # a home that cannot be written to costs a moment at each start, not the guest
    try:
        known: dict[str, Any] = json.loads(cache.read_text())
        if known["key"] == key:
            return Acceleration(KvmState(known["kvm"]), str(known["detail"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing known, or the file is damaged: look afresh and write it anew
    result = probe(qemu)
    with contextlib.suppress(OsvlabError, OSError), replacing(cache) as temporary:
        temporary.write_text(json.dumps({"key": key, "kvm": result.kvm, "detail": result.detail}))
    return result


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def probe(qemu: Path, deadline: float = DEADLINE) -> Acceleration:
    """Boot the probe under KVM and say how far it came.

    Parameters
    ----------
    qemu
        The program to probe with.
    deadline
        Seconds after which a guest that has not arrived counts as stuck.
    """
    with tempfile.TemporaryDirectory(prefix="osvlab-probe-") as folder:
        kernel, log = Path(folder, "probe"), Path(folder, "log")
        kernel.write_bytes(probe_elf())
        command = [
            *die_with_python(), os.fspath(qemu),
            *("-M", "microvm,x-option-roms=off,acpi=off", "-accel", "kvm", "-cpu", "host", "-m", "16M"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-kernel", os.fspath(kernel), "-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        ]  # fmt: skip
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True
            )
        try:
            return _watch(process, log, deadline)
        finally:
            process.kill()
            process.wait()


def _watch(process: subprocess.Popen[bytes], log: Path, deadline: float) -> Acceleration:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            status = process.wait(0.05)
        except subprocess.TimeoutExpired:
            # After an internal error QEMU pauses the guest and stays: no need to wait out the deadline.
            if b"KVM internal error" in log.read_bytes():
                return Acceleration(KvmState.BROKEN, _first_complaint(log))
            continue
        if status == ARRIVED:
            return Acceleration(KvmState.WORKS, "the probe ran")
        return Acceleration(KvmState.BROKEN, _first_complaint(log) or f"QEMU ended with status {status}")
    return Acceleration(KvmState.BROKEN, _first_complaint(log) or f"the probe hung for {deadline:g} s")


def _first_complaint(log: Path) -> str:
    """Return the most telling line of QEMU's messages: an error before a warning."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "warning:" not in line]
    return (errors or lines or [""])[0].strip()
