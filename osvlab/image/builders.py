"""Builders: what an empty VM runs to format and fill its disk.

There are two. The lab kernel brings the programs `mkfs` and `cpiod` along as modules. OSv's build
makes a kernel with such programs linked in, `zfs_builder-stripped.elf`.

Source of OSv's commands: OSv, `scripts/upload_manifest.py`, of 0.57 and of the commit 0e34e4dc, since
which files go to the pool's root dataset and not to the one called ``zfs`` in it.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.tree import Directory
from osvlab.image.boot_modules import boot_modules
from osvlab.image.modules import chosen_modules
from osvlab.kernels import Capability, Kernel, KernelKind

__all__ = ["Builder", "EmptyVmError", "lab_builder", "osv_builder", "suitable_builder"]

NAMED = "OSVLAB_OSV_ZFS_BUILDER"
BESIDE = "zfs_builder-stripped.elf"


class EmptyVmError(OsvlabError):
    """A VM that should fill a disk did not, or cannot; the message has what it said."""


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
    keeps_all
        Whether its upload daemon gives files, and the root itself, the ages that they are sent with, all
        bits of their modes, and one file all of its names. OSv's writes contents, and what may be done
        with them by whom.
    own_folder
        A name in the root that it needs for itself; empty for none.
    """

    kernel: Kernel
    command_line: str
    memory: int
    root_dataset: str
    programs: Directory | None = None
    keeps_all: bool = False
    own_folder: bytes = b""

    def digest(self) -> str:
        """Return a digest of all that it consists of."""
        told = hashlib.sha256(repr((self.command_line, self.memory, self.root_dataset)).encode())
        with open(self.kernel.path, "rb") as file:
            told.update(hashlib.file_digest(file, "sha256").digest())
        if self.programs is not None:
            programs = io.BytesIO()
            write_bootfs(self.programs, programs)
            told.update(programs.getvalue())
        return told.hexdigest()


# What is mounted is let go in good order when the last program has ended.
_LAB = (
    "--nomount /tools/mkfs.so --compression={compression} --ashift={ashift}; "
    "/tools/cpiod.so --preserve-modification-time --verbose={verbose} --prefix /zfs/"
)
_LAB_MEMORY = 128 << 20

# An abort would halt without the first of these, and never end the run.
_OSV = (
    "--power-off-on-abort --console=serial --norandom --nomount --noinit --preload-zfs-library "
    "/tools/mkfs.so; {set_compression}/tools/cpiod.so --verbose {verbose} --prefix {prefix}; "
    "/zfs.so set compression=off osv{let_go}"
)
_OSV_LETS_GO = "; /tools/umount.so /zfs/zfs; /tools/umount.so /zfs; /zpool.so export osv"
_OSV_MEMORY = 512 << 20
_OSV_DEFAULT = "lz4"  # mkfs.so sets it
_OSV_COMPRESSIONS = ("lz4", "gzip", *(f"gzip-{level}" for level in range(1, 10)))


def lab_builder(
    kernel: Kernel | None = None, *, compression: str | None = "lz4", ashift: int = 9, verbose: bool = True
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
    verbose
        Whether it says of each file that it comes, which takes longer than small files themselves.

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
            hint="It knows lz4 and None (in a shell: off), 9 and 12. The host (via='host') knows gzip, too.",
        )
    kernel = kernel or Kernel.lab()
    programs = boot_modules(kernel, "zfs")
    for module in chosen_modules(["mkfs", "cpiod"]):
        for path, node in module.nodes().items():
            programs.add(path, node)
    line = _LAB.format(compression=compression or "off", ashift=ashift, verbose=int(verbose))
    return Builder(kernel, line, _LAB_MEMORY, "osv", programs, keeps_all=True)


def osv_builder(
    path: str | os.PathLike[str],
    *,
    compression: str | None = _OSV_DEFAULT,
    ashift: int = 9,
    verbose: bool = True,
) -> Builder:
    """Return the builder that OSv's ``zfs_builder-stripped.elf`` is.

    Which dataset becomes the root changed after OSv 0.57. It is told by the builder's own programs:
    only the later one brings a `umount` along.

    Parameters
    ----------
    path
        The file.
    compression
        Of what is written: ``lz4``, ``gzip``, ``gzip-1`` to ``gzip-9``, or None.
    ashift
        9, which is all that its mkfs makes.
    verbose
        Whether it says of each file that it comes.

    Raises
    ------
    KernelError
        The file is no kernel.
    EmptyVmError
        It is one, and does not bring mkfs and cpiod along; or it cannot format like that.
    """
    kernel = Kernel.open(path)
    content = kernel.path.read_bytes()
    missing = [
        name for name in ("/tools/mkfs.so", "/tools/cpiod.so") if name[1:].encode() + b"\0" not in content
    ]
    if kernel.kind is not KernelKind.OSV or missing:
        raise EmptyVmError(
            f"{kernel.path.name} cannot format a disk: it has no {' and no '.join(missing) or 'OSv in it'}",
            hint=f"OSv's build makes one for that: {BESIDE}, with fs=zfs.",
        )
    if compression not in (None, *_OSV_COMPRESSIONS) or ashift != 9:
        raise EmptyVmError(
            f"OSv's builder cannot format with compression {compression!r} and ashift {ashift!r}",
            hint="It knows lz4, gzip and None (in a shell: off), and an ashift of 9. The host (via='host') "
            "knows 12, too.",
        )
    new = b"tools/umount.so\0" in content
    wanted = "" if compression == _OSV_DEFAULT else f"/zfs.so set compression={compression or 'off'} osv; "
    line = _OSV.format(
        set_compression=wanted,
        verbose=int(verbose),
        prefix="/zfs/" if new else "/zfs/zfs/",
        let_go=_OSV_LETS_GO if new else "",
    )
    if new:  # the dataset osv/zfs is mounted in the root, and gets nothing
        return Builder(kernel, line, _OSV_MEMORY, "osv", own_folder=b"zfs")
    return Builder(kernel, line, _OSV_MEMORY, "osv/zfs")


def suitable_builder(
    kernel: Kernel,
    named: str | os.PathLike[str] | None = None,
    *,
    compression: str | None = "lz4",
    ashift: int = 9,
) -> Builder:
    """Return the builder whose disks a kernel boots from.

    Parameters
    ----------
    kernel
        The kernel. The lab's builds its own disks.
    named
        The builder: a lab kernel, or OSv's ``zfs_builder-stripped.elf``. Without it OSv's is the one that
        `$OSVLAB_OSV_ZFS_BUILDER` names, or the one beside the kernel.
    compression, ashift
        How it shall format.

    Raises
    ------
    EmptyVmError
        There is none; it cannot format like that; or it fills a dataset that the kernel does not mount.
    KernelError, KernelNotFoundError
        What is named is no kernel, or not there.
    """
    if named is None and not kernel.can(Capability.RUNS_MODULES):
        beside = kernel.path.with_name(BESIDE)
        named = os.environ.get(NAMED) or (beside if beside.is_file() else None)
        if named is None:
            raise EmptyVmError(
                f"{kernel.path.name} has no builder, which formats and fills a disk in an empty VM",
                hint=f"Name OSv's {BESIDE} with builder=; or let the host fill it, with via='host'.",
            )
    opened = kernel if named is None else Kernel.open(named)
    if opened.can(Capability.RUNS_MODULES):
        builder = lab_builder(opened, compression=compression, ashift=ashift, verbose=False)
    else:
        builder = osv_builder(opened.path, compression=compression, ashift=ashift, verbose=False)
    _compare_roots(kernel, builder)
    return builder


def _compare_roots(kernel: Kernel, builder: Builder) -> None:
    """Refuse a builder whose files the kernel would not find; say when that is not known."""
    name = builder.kernel.path.name
    if kernel.zfs_root is None:
        publish(
            Note(
                f"{name} fills the dataset {builder.root_dataset}; {kernel.path.name} does not tell whether "
                "it is the one that it mounts"
            )
        )
    elif kernel.zfs_root != builder.root_dataset:
        raise EmptyVmError(
            f"{name} fills the dataset {builder.root_dataset}, and {kernel.path.name} mounts "
            f"{kernel.zfs_root}: they are of different versions of OSv",
            hint="Take kernel and builder from one build of OSv.",
        )
