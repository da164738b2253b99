"""Write a fresh ZFS pool from trees: everything in one transaction group, front to back.

The order is that of what points to what: contents of files, their dnodes, each filesystem's set of
objects, the pool's own objects with the space maps, and the labels last, without which there is no pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import BinaryIO

from osvlab.filesystems.tree import Directory
from osvlab.filesystems.zfs.writer.blocks import Blocks, Codec, Disk, Usage
from osvlab.filesystems.zfs.writer.dataset import store_dataset
from osvlab.filesystems.zfs.writer.datasets import StoredDataset
from osvlab.filesystems.zfs.writer.labels import Identity, write_labels
from osvlab.filesystems.zfs.writer.plan import Clock, Options, ZfsDataset, ZfsPlan, make_plan
from osvlab.filesystems.zfs.writer.pool import LZ4_FEATURE, store_pool
from osvlab.filesystems.zfs.writer.reuse import Reuse
from osvlab.filesystems.zfs.writer.space import Space

__all__ = ["PoolWriter", "Trees", "plan_zfs", "write_zfs"]

_FREE = 64 << 20
Trees = Directory | Mapping[str, ZfsDataset]


def plan_zfs(
    trees: Trees,
    *,
    size: int | None = None,
    free: int = _FREE,
    compat: str | None = None,
    compression: str | None = "lz4",
    checksum: str = "sha256",
    ashift: int = 9,
    name: str = "osv",
    clock: Clock | None = None,
) -> ZfsPlan:
    """Say what a pool will hold and how large its vdev is, before any file is read.

    Parameters
    ----------
    trees, size, free, compat, compression, checksum, ashift, name
        Those of `write_zfs`.
    clock
        What makes of the time at which something changed, in nanoseconds since 1970, the one that is
        stored. When not given, it stays, but is never later than `SOURCE_DATE_EPOCH`.

    Examples
    --------
    >>> plan = plan_zfs(Directory())
    >>> plan.size >> 20, plan.geometry.metaslabs
    (127, 122)
    """
    datasets = {"": ZfsDataset(trees)} if isinstance(trees, Directory) else trees
    return make_plan(datasets, Options(name, compat, compression, checksum, ashift), size, free, clock)


def write_zfs(
    trees: Trees | ZfsPlan,
    stream: BinaryIO,
    *,
    size: int | None = None,
    free: int = _FREE,
    compat: str | None = None,
    compression: str | None = "lz4",
    checksum: str = "sha256",
    ashift: int = 9,
    name: str = "osv",
    sparse: bool = False,
    reuse: Reuse | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Write a tree, or several as datasets, as a ZFS pool on one vdev and return its size in bytes.

    The same trees give the same bytes, whatever threads do.

    Parameters
    ----------
    trees
        What the pool's root dataset holds; or all datasets by their names under the pool's, the
        root's being empty; or the plan already made of it, and then all parameters up to `name`
        are taken from that.
    stream
        A binary stream that can seek; the vdev begins at its position. An unbuffered file is fastest.
    size
        Bytes of the vdev; when not given, what the trees may need, `free` and what kernels keep to
        themselves, at least 64 MiB.
    free
        Bytes that a guest shall be able to write.
    compat
        ``v23`` for a pool that also zfs-fuse can use: version 23, ZPL 4. Otherwise version 5000 and ZPL 5.
    compression
        ``lz4``, which makes the pool need that feature; ``gzip`` or ``gzip-1`` to ``gzip-9``; or None.
    checksum
        ``sha256`` or ``fletcher4``, of every block.
    ashift
        log2 of the smallest allocation: 9, or 12.
    name
        Of the pool. OSv mounts the one called ``osv``.
    sparse
        The stream is a new file: what is skipped reads as zeros.
    reuse
        What can be taken from the image that this one is to replace. The bytes are the same without.
    progress
        Called with the bytes of files stored so far and in all, after each file.

    Raises
    ------
    TreeError
        A name or link does not fit.
    OsvlabError
        An option is none, the size does not do, or names cannot be stored together.
    ChangedFileError
        A file changed since the tree was made, or while it was read.
    OSError
        The stream cannot be written: the disk is full.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.tree import Content
    >>> stream = io.BytesIO()
    >>> write_zfs(Directory({b"hello": Content(b"hi")}), stream) >> 20
    127
    """
    if isinstance(trees, ZfsPlan):
        plan = trees
    else:
        plan = plan_zfs(
            trees,
            size=size,
            free=free,
            compat=compat,
            compression=compression,
            checksum=checksum,
            ashift=ashift,
            name=name,
        )
    writer = PoolWriter(plan, sparse=sparse, reuse=reuse)
    writer.fill(stream, progress)
    writer.seal()
    return plan.size


class PoolWriter:
    """Writes a pool in two steps: all blocks, and then the labels, without which there is no pool.

    Parameters
    ----------
    plan
        What is in it.
    sparse, reuse
        As of `write_zfs`.
    """

    def __init__(self, plan: ZfsPlan, *, sparse: bool = False, reuse: Reuse | None = None) -> None:
        self.plan = plan
        self._sparse = sparse
        self._reuse = reuse
        self._seal: Callable[[], object] = lambda: None

    def fill(self, stream: BinaryIO, progress: Callable[[int, int], object] | None = None) -> None:
        """Write all blocks of the pool; its vdev begins at the stream's position."""
        plan, options = self.plan, self.plan.options
        disk = Disk(stream)
        space = Space(plan.geometry, plan.copies_room)
        blocks = Blocks(disk, space, Codec(options.compression, options.checksum, options.ashift))
        done = 0

        def stored(size: int) -> None:
            nonlocal done
            done += size
            if progress is not None:
                progress(done, plan.content_bytes)

        datasets = []
        try:
            for dataset in plan.datasets:
                blocks.usage = Usage()
                pointer = store_dataset(blocks, dataset, options, self._reuse, stored)
                datasets.append(StoredDataset(dataset, pointer, blocks.usage))
            blocks.flush()
        finally:
            if self._reuse is not None:
                self._reuse.close()
        identity = _identity(plan, datasets)
        plain = Codec(None, options.checksum, options.ashift)
        root, array = store_pool(disk, space, plain, identity, datasets)

        # Without the writer in it, which would never let go of the plan by itself.
        self._seal = partial(_seal, disk, identity, plan, array, root, sparse=self._sparse)

    def seal(self) -> None:
        """Write the labels. The stream's position is behind the vdev then."""
        self._seal()


def _seal(disk: Disk, identity: Identity, plan: ZfsPlan, array: int, root: bytes, *, sparse: bool) -> None:
    write_labels(disk, identity, plan.geometry, array, root, sparse=sparse)
    disk.finish(plan.size)


def _identity(plan: ZfsPlan, datasets: list[StoredDataset]) -> Identity:
    """Make numbers for the pool from all that is in it: pools that differ never have the same."""
    options = plan.options
    told = hashlib.sha256(f"osvlab {options} {plan.geometry}".encode())
    for one in datasets:
        told.update(f"{one.plan.name}\0{sorted(one.plan.properties.items())}\0".encode() + one.pointer)
    digest = told.digest()
    features = (LZ4_FEATURE,) if options.compression == "lz4" else ()
    return Identity(
        name=options.name,
        version=options.version,
        # Not more than 63 bits: some tools print them signed.
        guid=int.from_bytes(digest[:8], "little") >> 1 | 1,
        vdev_guid=int.from_bytes(digest[8:16], "little") >> 1 | 1,
        time=plan.time,
        features=features if options.version >= 5000 else None,
    )
