"""Machines that cannot be are refused, and QEMU's words are what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.vm.machine import Accelerator, Disk, DiskAccess, Machine, MachineError, MachineKind
from osvlab.vm.qemu import arguments

KERNEL = Path("kernel.elf")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"memory": 0}, "0 bytes"),
        ({"memory": (1 << 20) + 1}, "1048577 bytes"),
        ({"memory": -(1 << 20)}, "bytes of memory"),
        ({"cpus": 0}, "0 CPUs"),
        ({"cpus": 1000}, "1000 CPUs"),
        ({"kernel": None}, "kernel or a disk"),
        ({"kernel": None, "disks": (Disk(Path("d")),)}, "no BIOS"),
        ({"command_line": "a\0b"}, "NUL"),
        ({"kernel": None, "kind": "pc", "disks": (Disk(Path("d")),), "initrd": Path("i")}, "initrd i"),
    ],
)
def test_refused(options: dict[str, object], named: str) -> None:
    with pytest.raises(MachineError, match=named) as caught:
        Machine(**{"kernel": KERNEL, **options})  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


def test_shown() -> None:
    disk = Disk(Path("images/hello.img"))
    assert str(Machine(kernel=KERNEL, cpus=2)) == "microvm, 64 MiB, 2 CPUs, kernel kernel.elf"
    assert str(Machine(kind=MachineKind.Q35, disks=(disk,))) == "q35, 64 MiB, 1 CPU, boots hello.img"
    assert list(Machine(kernel=KERNEL, disks=(disk,)).files()) == [KERNEL, disk.path]


def test_a_kind_may_be_given_by_name() -> None:
    assert Machine(kernel=KERNEL, kind="pc").kind is MachineKind.PC  # type: ignore[arg-type]
    with pytest.raises(MachineError, match="vax"):
        Machine(kernel=KERNEL, kind="vax")  # type: ignore[arg-type]


def option(words: list[str], name: str) -> list[str]:
    return [words[n + 1] for n, word in enumerate(words) if word == name]


def test_words_for_qemu() -> None:
    disks = (Disk(Path("a,b")), Disk(Path("c"), DiskAccess.SCRATCH), Disk(Path("d"), DiskAccess.WRITE))
    machine = Machine(kernel=KERNEL, disks=disks, memory=8 << 20, cpus=3, command_line="--verbose /a, b")
    words = arguments(machine, Accelerator.TCG, monitor=5)
    assert option(words, "-append") == ["--verbose /a, b"]
    assert option(words, "-m") == ["8M"]
    assert option(words, "-smp") == ["3"]
    assert option(words, "-accel") == ["tcg,tb-size=64"]
    assert [text.rpartition(",")[2] for text in option(words, "-drive")] == [
        "readonly=on", "snapshot=on", "readonly=off",
    ]  # fmt: skip
    assert "virtio-blk-device,drive=disk2" in option(words, "-device")
    assert not any("a,b" in word for word in option(words, "-drive"))


def test_words_for_an_initrd() -> None:
    machine = Machine(kernel=KERNEL, initrd=Path("a,b"))
    assert list(machine.files()) == [KERNEL, Path("a,b")]
    assert option(arguments(machine, Accelerator.TCG, monitor=5), "-initrd") == ["initrd"]


def test_words_for_a_disk_that_boots_itself() -> None:
    machine = Machine(kind=MachineKind.PC, disks=(Disk(Path("d")), Disk(Path("e"))))
    words = arguments(machine, Accelerator.KVM, monitor=5)
    assert "-kernel" not in words
    assert "virtio-blk-pci,drive=disk0,bootindex=0" in option(words, "-device")
    assert "virtio-blk-pci,drive=disk1" in option(words, "-device")
    assert option(words, "-cpu") == ["host"]
