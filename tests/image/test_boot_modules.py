"""The archive with what a kernel needs before it can mount its root."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.elf.program import Program
from osvlab.filesystems.bootfs import BootfsReader
from osvlab.image.boot_modules import boot_archive, boot_modules
from osvlab.kernel_build import built_module, core_modules, products
from osvlab.kernels import Boot, Kernel, KernelKind


def test_zfs_comes_as_a_module() -> None:
    data = boot_archive(Kernel.lab(), "zfs")
    assert len(data) % 512 == 0
    bootfs = BootfsReader(data)
    assert bootfs.read(bootfs.find("/usr/lib/fs/zfs.so")) == built_module("zfs").read_bytes()
    assert "modules/zfs.so" in products()


@pytest.mark.parametrize("filesystem", ["rofs", "ramfs", "ext4"])
def test_other_roots_need_none(filesystem: str) -> None:
    assert boot_archive(Kernel.lab(), filesystem) == b""


def test_osv_has_its_own_linked_in() -> None:
    osv = Kernel(Path("loader.elf"), KernelKind.OSV, Boot.PVH, None)
    assert boot_modules(osv, "zfs").children == {}


@pytest.mark.parametrize("name", sorted(core_modules()))
def test_modules_of_the_core_need_no_libraries(name: str) -> None:
    assert Program.open(built_module(name)).needed == ()
