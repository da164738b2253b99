"""What a kernel needs before it can mount its root: modules, in a bootfs in the first partition.

The lab kernel reads ROFS by itself. ZFS comes as a module, which the kernel unpacks from the
partition `/dev/vblk0.0` into its first root, a ramfs, and loads from `/usr/lib/fs` there. Real OSv has
its modules linked in, so it needs no such partition.
"""

from __future__ import annotations

import io

from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.tree import Directory, HostFile
from osvlab.kernel_build import built_module, core_modules
from osvlab.kernels import Capability, Kernel

__all__ = ["boot_archive", "boot_modules"]

SLOT = 1  # of the partition table: /dev/vblk0.0


def boot_modules(kernel: Kernel, filesystem: str) -> Directory:
    """Return the first root that a kernel needs to mount a root filesystem; empty if it needs none.

    Raises
    ------
    KernelBuildError
        The module has to be compiled, and that failed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from osvlab.kernels import Boot, KernelKind
    >>> boot_modules(Kernel(Path("loader.elf"), KernelKind.OSV, Boot.PVH, None), "zfs").children
    {}
    """
    if not kernel.can(Capability.LOADS_FILESYSTEMS) or filesystem not in core_modules():
        return Directory({})
    folder = Directory({f"{filesystem}.so".encode(): HostFile.at(built_module(filesystem))})
    return Directory({b"usr": Directory({b"lib": Directory({b"fs": folder})})})


def boot_archive(kernel: Kernel, filesystem: str) -> bytes:
    """Return the bytes of the first partition: a bootfs in whole sectors; none if it is not needed.

    Raises
    ------
    KernelBuildError
        The module has to be compiled, and that failed.

    Examples
    --------
    >>> boot_archive(Kernel.lab(), "rofs")
    b''
    """
    tree = boot_modules(kernel, filesystem)
    if not tree.children:
        return b""
    stream = io.BytesIO()
    write_bootfs(tree, stream)
    size = len(stream.getvalue())
    return stream.getvalue() + bytes(-size % 512)
