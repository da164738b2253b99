"""Every way a disk can be attached, read by the guest to the last byte; and every way to power off."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from osvlab.image.build import build
from osvlab.kernels import Kernel

pytestmark = pytest.mark.qemu

BIG = random.Random(3).randbytes(5_000_003)
MICROVM = "microvm,x-option-roms=off,pit=on,pic=off,rtc=on,acpi=off,auto-kernel-cmdline=on"
MODERN_MMIO = ["-global", "virtio-mmio.force-legacy=off"]
LEGACY_PCI = "disable-modern=on,disable-legacy=off"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("drivers")
    (tree / "big").write_bytes(BIG)
    shutil.copy("/bin/busybox", tree)
    path = tree.parent / "drivers.img"
    build(tree, command="/busybox sha256sum /big", output=path, check=False)
    return path


class Run:
    """One QEMU, started by hand, because these machines are stranger than `osvlab.Machine` makes them."""

    def __init__(
        self, folder: Path, *words: str | Path, command: str | None, reset_ends: bool = True
    ) -> None:
        report = folder / "report"
        argv: list[str | Path] = [
            "qemu-system-x86_64",
            "-accel",
            "tcg,tb-size=64",
            "-m",
            "64",
            "-nodefaults",
        ]
        argv += ["-no-user-config", "-display", "none", "-serial", "stdio"]
        argv += [
            "-chardev",
            f"file,id=report,path={report}",
            "-device",
            "isa-debugcon,iobase=0xe9,chardev=report",
        ]
        if command is not None:
            argv += ["-kernel", Kernel.lab().path, "-append", command]
        if reset_ends:
            argv += ["-no-reboot"]
        done = subprocess.run(
            [*argv, *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
        )
        self.console = done.stdout.decode()
        self.status = done.returncode
        self.events = [json.loads(line) for line in report.read_text().splitlines()]

    def exited(self, status: int = 0) -> None:
        assert self.events, self.console
        assert self.events[-1] == {"event": "exited", "status": status}, self.console


def drive(image: Path, name: str = "d", *, options: str = "snapshot=on") -> list[str]:
    return ["-drive", f"file={image},if=none,id={name},format=raw,{options}"]


DISKS = {
    "mmio": [*MODERN_MMIO, "-device", "virtio-blk-device,drive=d"],
    "mmio legacy": ["-device", "virtio-blk-device,drive=d", "-global", "virtio-mmio.force-legacy=on"],
    "mmio direct descriptors": [*MODERN_MMIO, "-device", "virtio-blk-device,drive=d,indirect_desc=off"],
    "mmio no event index": [*MODERN_MMIO, "-device", "virtio-blk-device,drive=d,event_idx=off"],
    "mmio smallest queue": [
        *MODERN_MMIO, "-device",
        "virtio-blk-device,drive=d,indirect_desc=off,event_idx=off,queue-size=4,seg-max-adjust=on",
    ],
    "pci": ["-device", "virtio-blk-pci,drive=d"],
    "pci modern only": ["-device", "virtio-blk-pci,drive=d,disable-legacy=on"],
    "pci legacy": ["-device", f"virtio-blk-pci,drive=d,{LEGACY_PCI}"],
    "pci interrupt line": ["-device", "virtio-blk-pci,drive=d,vectors=0"],
    "pci legacy interrupt line": ["-device", f"virtio-blk-pci,drive=d,vectors=0,{LEGACY_PCI}"],
    "pci behind a bridge": [
        "-device", "pci-bridge,id=bridge,chassis_nr=1,addr=6",
        "-device", "virtio-blk-pci,drive=d,bus=bridge,addr=3",
    ],
}  # fmt: skip
MACHINES = [
    (machine, disk)
    for disk in DISKS
    for machine in ([MICROVM] if disk.startswith("mmio") else ["pc", "q35"])
    if not (machine == "q35" and "bridge" in disk)
]


@pytest.mark.parametrize(("machine", "disk"), MACHINES)
def test_reads_every_byte(machine: str, disk: str, image: Path, tmp_path: Path) -> None:
    words = ["-M", machine, *drive(image), *DISKS[disk], "-device", "isa-debug-exit,iobase=0xf4"]
    run = Run(tmp_path, *words, command="--verbose /busybox sha256sum /big")
    run.exited()
    assert hashlib.sha256(BIG).hexdigest() in run.console
    assert ("(legacy)" in run.console) == ("legacy" in disk)


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_boots_from_its_own_disk_and_powers_off_by_acpi(machine: str, image: Path, tmp_path: Path) -> None:
    words = ["-M", machine, *drive(image), "-device", "virtio-blk-pci,drive=d"]
    run = Run(tmp_path, *words, command=None, reset_ends=False)
    run.exited()
    assert run.status == 0
    assert hashlib.sha256(BIG).hexdigest() in run.console


def test_without_any_exit_device_microvm_ends_by_a_reset(tmp_path: Path) -> None:
    run = Run(tmp_path, "-M", MICROVM, command="/nothing")
    run.exited(127)


def test_several_disks_share_interrupt_lines(image: Path, tmp_path: Path) -> None:
    words = ["-M", "pc", *drive(image), "-device", "virtio-blk-pci,drive=d,vectors=0,addr=4"]
    expected = []
    for number in range(1, 5):
        data = random.Random(number).randbytes(1 << 20)
        other = tmp_path / f"disk{number}"
        other.write_bytes(data)
        words += drive(other, f"e{number}", options="readonly=on")
        words += ["-device", f"virtio-blk-pci,drive=e{number},vectors=0,addr={4 + number}"]
        expected.append(f"{hashlib.sha256(data).hexdigest()}  /dev/vblk{number}")
    run = Run(
        tmp_path, *words, command="/busybox sha256sum " + " ".join(f"/dev/vblk{n}" for n in range(1, 5))
    )
    run.exited()
    assert [line for line in run.console.splitlines() if "/dev/" in line][-4:] == expected


def test_writes_and_flushes(image: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(8 << 20))
    words = ["-M", MICROVM, *MODERN_MMIO, *drive(image), *drive(target, "e", options="cache=writeback")]
    # QEMU lists the slots from the last: the one named second is found first.
    words += ["-device", "virtio-blk-device,drive=d,bus=virtio-mmio-bus.1"]
    words += ["-device", "virtio-blk-device,drive=e,bus=virtio-mmio-bus.0"]
    command = "/busybox dd if=/big of=/dev/vblk1 bs=64k conv=fsync,notrunc"
    run = Run(tmp_path, *words, command=command)
    run.exited()
    assert target.read_bytes()[: len(BIG)] == BIG, run.console


def test_a_read_only_disk_refuses_writes(image: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 65536)
    words = ["-M", "pc", *drive(image), *drive(other, "e", options="readonly=on")]
    words += ["-device", "virtio-blk-pci,drive=d", "-device", "virtio-blk-pci,drive=e"]
    run = Run(tmp_path, *words, command="/busybox dd if=/big of=/dev/vblk1 bs=4096 count=1")
    run.exited(1)
    assert "Read-only file system" in run.console
