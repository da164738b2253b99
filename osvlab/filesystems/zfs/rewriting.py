"""Write a pool again with another tree in it: with the name, options and properties that it has.

Only a pool that the lab made, and that nobody but a lab kernel wrote to since, is known to hold nothing
that a tree and these would lose. Others are told by their history, which every other system keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from osvlab.filesystems.base import Kind
from osvlab.filesystems.tree import Directory
from osvlab.filesystems.zfs.dsl import Dataset
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.format import DSL_DIR, VERSION_FEATURES, BlockPointer, Checksum, Compression
from osvlab.filesystems.zfs.reader import ZfsFilesystem
from osvlab.filesystems.zfs.writer.plan import ZfsDataset, ZfsPlan
from osvlab.filesystems.zfs.writer.pool import LZ4_FEATURE
from osvlab.filesystems.zfs.writer.write import plan_zfs, write_zfs
from osvlab.filesystems.zfs.zap import Zap
from osvlab.paths import format_size

__all__ = ["pool_writer"]

_ANEW = "Build a new image, or copy the files with the system that wrote it."
_WITH_ZFS_FUSE = 23
_FILESYSTEM = 2
_PROPERTIES = 10  # which word of a directory names the table


Progress = Callable[[int, int], object]


def pool_writer(fs: ZfsFilesystem) -> Callable[[Directory, BinaryIO, Progress], int]:
    """Return what writes another tree as the pool that a filesystem is in; it has the same size then.

    It is called with the tree, the stream, and what is told of the bytes of files stored so far and in all.

    Parameters
    ----------
    fs
        The only filesystem of the pool that has files. It is not used later.

    Raises
    ------
    PoolError
        The pool holds what would be lost; it is named.
    """
    pool = fs.pool
    _refuse(fs)
    size = pool.disks[0].source.length >> 18 << 18
    compat = None if pool.version >= VERSION_FEATURES else f"v{pool.version}"
    compression, checksum = _compression(fs), _checksum(fs)
    ashift, name = pool.blocks.vdevs[0].ashift, pool.name
    below, properties, empty = _below(fs), _properties(fs), _empty_ones(fs)

    def write(tree: Directory, stream: BinaryIO, progress: Progress) -> int:
        def plan(size: int | None) -> ZfsPlan:
            return plan_zfs(
                {**empty, below: ZfsDataset(tree, properties)},
                size=size,
                free=0,
                compat=compat,
                compression=compression,
                checksum=checksum,
                ashift=ashift,
                name=name,
            )

        least = plan(None).size
        if least > size:
            raise PoolError(
                f"the files may need {format_size(least)}, and the pool has {format_size(size)}",
                hint="Build a new image with a larger --size.",
            )
        return write_zfs(plan(size), stream, sparse=True, progress=progress)

    return write


def _refuse(fs: ZfsFilesystem) -> None:
    """Raise for whatever a pool has that one written by the lab has not."""
    pool = fs.pool
    if pool.state != "exported":
        raise PoolError(
            f"pool {pool.name} was not exported (it is {pool.state}): what its machine wrote last may be "
            "in its log only",
            hint="Let a guest that mounts it end in good order: osvlab run IMAGE --persist.",
        )
    wrong = [f"label {label.index} {label.problem}" for label in pool.disks[0].labels if label.problem]
    for problem in (*wrong, *pool.notes):
        raise PoolError(f"pool {pool.name} is damaged: {problem}", hint="See osvlab check.")
    foreign = next(_foreign(fs), None)
    if foreign is not None:
        raise PoolError(f"pool {pool.name} {foreign}, which would be lost", hint=_ANEW)


def _foreign(fs: ZfsFilesystem) -> Iterator[str]:
    pool = fs.pool
    if "history" in pool.directory or pool.version not in (_WITH_ZFS_FUSE, VERSION_FEATURES):
        yield "was made or changed by another system than the lab"
    if len(pool.blocks.vdevs) != 1 or len(pool.disks) != 1:
        yield f"has {len(pool.blocks.vdevs)} vdevs"
    others = sorted(set(pool.features) - {LZ4_FEATURE})
    if others:
        yield f"has the features {', '.join(others)}"
    for dataset in pool.datasets.values():
        if dataset.is_snapshot and not dataset.is_internal:
            yield f"has the snapshot {dataset.name}"
        elif dataset.number != fs.dataset.number and not dataset.is_internal and not _is_empty(fs, dataset):
            yield f"has the dataset {dataset.name} with files in it, too"


def _is_empty(fs: ZfsFilesystem, dataset: Dataset) -> bool:
    """Whether a dataset has nothing but a root directory that could be made again."""
    if dataset.pointer.is_hole or fs.pool.objects(dataset).kind != _FILESYSTEM:
        return False
    other = ZfsFilesystem(fs.pool, dataset.name)
    return not other.list(other.root) and not other.root.owner and not other.root.group


def _below(fs: ZfsFilesystem) -> str:
    """Return the name of a dataset without that of its pool, as those who write pools know it."""
    return fs.dataset.name.partition("/")[2]


def _empty_ones(fs: ZfsFilesystem) -> dict[str, ZfsDataset]:
    """Return the other datasets, which have no files."""
    found = {}
    for dataset in fs.pool.datasets.values():
        if dataset.number != fs.dataset.number and not dataset.is_internal:
            other = ZfsFilesystem(fs.pool, dataset.name)
            assert other.root.permissions is not None
            root = Directory(mode=other.root.permissions, mtime=other.root.modified or 0)
            found[_below(other)] = ZfsDataset(root, _properties(other))
    return found


def _compression(fs: ZfsFilesystem) -> str | None:
    """Return how the pool was made: blocks that a lab kernel wrote since may be less compressed."""
    if LZ4_FEATURE in fs.pool.features:
        return "lz4"
    known = {int(Compression[f"GZIP_{level}"]): f"gzip-{level}" for level in range(1, 10)}
    return next((known[one.compression] for one in _pointers(fs) if one.compression in known), None)


def _pointers(fs: ZfsFilesystem) -> Iterator[BlockPointer]:
    yield fs.dataset.pointer
    for entry in fs.walk():
        if entry.kind is Kind.FILE:
            for _, _, pointer in fs.files.objects.dnode(entry.number).runs():
                if pointer is not None:
                    yield pointer


def _checksum(fs: ZfsFilesystem) -> str:
    return "fletcher4" if fs.dataset.pointer.checksum == Checksum.FLETCHER4 else "sha256"


def _properties(fs: ZfsFilesystem) -> dict[str, str | int]:
    bonus = fs.pool.mos.dnode(fs.dataset.directory).bonus
    entries = Zap(fs.pool.mos.dnode(DSL_DIR.unpack_from(bonus)[_PROPERTIES])).entries()
    return {
        entry.name.decode("ascii", "replace"): entry.text if entry.size == 1 else entry.number
        for entry in entries
    }
