"""Root filesystems as the host writes them: what goes into `/dev/vblk0.1`, format by format."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from osvlab.filesystems import disk
from osvlab.filesystems.bootfs import bootfs_size, write_bootfs
from osvlab.filesystems.rofs import plan_rofs, write_rofs
from osvlab.filesystems.tree import Directory
from osvlab.image.recipe import Filesystem

__all__ = ["Root", "RootOptions", "plan_root"]

Progress = Callable[[int, int], object]

NOAUTO, OFF = 2, 2
OSV_PROPERTIES: dict[str, str | int] = {"canmount": NOAUTO, "mountpoint": "/", "compression": OFF}
"""What OSv's own build leaves on its root dataset: the kernel mounts it, and guests do not compress."""

USUAL_DATASET = "osv"


@dataclass(frozen=True, slots=True)
class RootOptions:
    """How a root filesystem is made, where its format leaves a choice.

    Attributes
    ----------
    size
        Bytes; what the content needs, and some to write to, when None.
    compression
        ``lz4``, ``gzip``, ``gzip-1`` to ``gzip-9``, or None.
    ashift
        The smallest block has 2 to this power bytes: 9 or 12.
    """

    size: int | None = None
    compression: str | None = "lz4"
    ashift: int = 9


@dataclass(frozen=True, slots=True)
class Root:
    """A root filesystem that is planned.

    Attributes
    ----------
    size
        Bytes of its partition.
    fill
        Writes the contents of all files, and what leads to them, into a stream from its position on.
    seal
        Writes what makes that a filesystem, when `fill` is through.
    placed
        Is called when the image is in its place, with what the host knew of it before.
    format
        Is called with the image once all in front of the filesystem is written; what it starts is ended
        by the stack.
    verify
        Reads back what was written, from a path; None where the names in the root directory do.
    """

    size: int
    fill: Callable[[FileIO, Progress], object]
    seal: Callable[[], object] = lambda: None
    placed: Callable[[os.stat_result], object] = lambda _: None
    format: Callable[[FileIO, ExitStack], object] = lambda _, __: None
    verify: Callable[[Path], object] | None = None


def plan_root(
    tree: Directory,
    filesystem: Filesystem,
    options: RootOptions,
    output: Path,
    dataset: str = USUAL_DATASET,
) -> Root:
    """Plan a root filesystem.

    Parameters
    ----------
    tree
        What is in it.
    filesystem, options
        How it is made.
    output
        The image, which may be there already from a build before.
    dataset
        Which dataset of a ZFS pool gets the files: ``osv``, or ``osv/zfs`` and nothing above it.

    Raises
    ------
    TreeError
        A name or a link does not fit the format.
    OsvlabError
        An option is none, or the size does not do.
    """
    match filesystem:
        case Filesystem.ROFS:
            plan = plan_rofs(tree)
            return Root(plan.size, lambda stream, told: write_rofs(plan, stream, sparse=True, progress=told))
        case Filesystem.RAMFS:
            size = -(-bootfs_size(tree) // disk.SECTOR) * disk.SECTOR
            return Root(size, lambda stream, told: write_bootfs(tree, stream, sparse=True, progress=told))
        case Filesystem.ZFS:
            return _plan_zfs(tree, options, output, dataset)


def _plan_zfs(tree: Directory, options: RootOptions, output: Path, dataset: str) -> Root:
    from osvlab.filesystems.zfs.writer.plan import ZfsDataset
    from osvlab.filesystems.zfs.writer.reuse import Reuse
    from osvlab.filesystems.zfs.writer.write import PoolWriter, plan_zfs
    from osvlab.image.times import whole_seconds

    pool, _, below = dataset.partition("/")
    datasets = {below: ZfsDataset(tree, OSV_PROPERTIES)}
    if below:
        nothing = Directory(mode=tree.mode, mtime=tree.mtime)
        datasets[""] = ZfsDataset(nothing, {"canmount": NOAUTO, "compression": OFF})
    plan = plan_zfs(
        datasets,
        size=options.size,
        compression=options.compression,
        ashift=options.ashift,
        name=pool,
        clock=whole_seconds(),
    )
    reuse = Reuse(output, plan.options)
    writer = PoolWriter(plan, sparse=True, reuse=reuse)
    return Root(plan.size, writer.fill, writer.seal, reuse.save)
