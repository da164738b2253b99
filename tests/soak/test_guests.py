"""Many guests, and guests with damaged disks: each ends, in one of the four ways, and leaves nothing."""

from __future__ import annotations

import collections
import gc
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import osvlab
from osvlab.errors import OsvlabError
from osvlab.filesystems.disk import KERNEL
from osvlab.vm.machine import Disk, MachineKind
from osvlab.vm.run import run
from tests.soak.conftest import SECONDS
from tests.soak.damage import damaged

pytestmark = [pytest.mark.soak, pytest.mark.qemu, pytest.mark.timeout(0)]

GUESTS = int(os.environ.get("OSVLAB_SOAK_GUESTS", "200"))
BOTH = "/busybox ls -lR /; /hello"

GROWTH = 16 << 20
"""Bytes by which Python may grow between the first fifty guests and the last."""


def children() -> list[str]:
    """The names of this process's child processes."""
    tasks = Path("/proc/self/task").iterdir()
    numbers = " ".join((task / "children").read_text() for task in tasks).split()
    return [Path(f"/proc/{number}/comm").read_text().strip() for number in numbers]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_many_guests_leave_nothing_behind(
    image: osvlab.Image, chance: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ends: dict[str, Callable[[osvlab.VM], object]] = {
        "/hello": lambda vm: vm.wait(60),
        "/busybox false": lambda vm: vm.wait(60),
        "/busybox sleep 100": lambda vm: vm.wait_for("Cmdline: ", 60),
        "/busybox cat": lambda vm: vm.wait_for("[$]", since=vm.write("typed $\n"), timeout=60),
        "/busybox yes": lambda vm: vm.wait_for("y\ny\n", 60),
        "/nothing": lambda vm: None,
    }
    outcomes: collections.Counter[str] = collections.Counter()
    start = None
    for number in range(GUESTS):
        if number == min(50, GUESTS // 4):
            gc.collect()
            start = len(os.listdir("/proc/self/fd")), threading.active_count(), resident()
        command = chance.choice(list(ends))
        with run(image, command, memory="16M", machine=chance.choice(["microvm", "pc", "q35"])) as vm:
            if command == "/busybox cat":
                vm.wait_for("Cmdline: ", 60)
            ends[command](vm)
        outcomes[type(vm.outcome).__name__] += 1
        assert not vm.folder.exists()
    print(dict(outcomes))
    assert start is not None
    assert set(outcomes) == {"Exited", "Lost"}
    del vm
    gc.collect()
    assert children() == []
    assert osvlab.running() == []
    assert list((tmp_path / "osvlab" / "vms").iterdir()) == []
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == start[:2]
    assert resident() - start[2] < GROWTH


def soak(
    image: osvlab.Image,
    chance: random.Random,
    folder: Path,
    parts: list[range],
    boot: Callable[[Path], osvlab.VM],
    may_hang: bool = True,
) -> None:
    """Boot disks with damage in some parts; only what runs damaged code may hang."""
    original = image.path.read_bytes()
    ended: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + SECONDS
    copy = folder / "damaged.img"
    while time.monotonic() < end:
        copy.write_bytes(damaged(original, chance, parts))
        try:
            with boot(copy) as vm:
                outcome = vm.wait(60)
        except OsvlabError:
            ended["refused"] += 1
            continue
        ended[type(outcome).__name__] += 1
        assert may_hang or not isinstance(outcome, osvlab.TimedOut), vm.console.text
    print(dict(ended))
    assert ended


def test_damaged_tables_never_hang_a_guest(
    image: osvlab.Image, chance: random.Random, tmp_path: Path
) -> None:
    root = image.root_partition
    tables = image.files._reader._structure_start  # type: ignore[attr-defined]
    inodes = range(root.offset + tables, root.offset + root.size)
    parts = [range(0x1BE, 0x1FE), range(0x200, 0x240), range(root.offset, root.offset + 64), inodes, inodes]

    def boot(disk: Path) -> osvlab.VM:
        return run(disk, BOTH, memory="32M", timeout=20)

    soak(image, chance, tmp_path, parts, boot, may_hang=False)


def test_damaged_programs_end_in_one_of_the_four_ways(
    image: osvlab.Image, chance: random.Random, tmp_path: Path
) -> None:
    root = image.root_partition
    parts = [range(root.offset + 512, root.offset + root.size)]
    soak(image, chance, tmp_path, parts, lambda disk: run(disk, BOTH, memory="32M", timeout=20))


def test_damaged_kernels_end_in_one_of_the_four_ways(
    image: osvlab.Image, chance: random.Random, tmp_path: Path
) -> None:
    # The kernel on a disk is only run when the disk boots itself.
    def boot(disk: Path) -> osvlab.VM:
        machine = osvlab.Machine(kind=MachineKind.PC, memory=32 << 20, disks=(Disk(disk),))
        return osvlab.VM(machine, timeout=10)

    soak(image, chance, tmp_path, [range(512), range(KERNEL, image.root_partition.offset)], boot)
