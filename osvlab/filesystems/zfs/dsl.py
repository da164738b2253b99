"""Datasets: their tree of names, their snapshots, and where their objects are.

Names hang on directories (DSL dirs). Each has a head dataset, which is what is seen under the name; a
snapshot is a dataset that hangs on the table of its head. What begins with ``$`` is the pool's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import (
    DSL_DATASET_HEAD,
    DSL_DIR,
    BlockPointer,
    C,
)
from osvlab.filesystems.zfs.objects import Dnode, ObjectSet
from osvlab.filesystems.zfs.zap import Zap

__all__ = ["Dataset", "dataset_of", "datasets"]

_POINTER = C.dsl_dataset.fields["pointer"].offset
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Dataset:
    """A filesystem, volume or snapshot of a pool.

    Attributes
    ----------
    name
        Its full name, such as ``osv/data`` or ``osv@monday``.
    number
        Its object in the MOS.
    directory
        The object of its directory.
    is_snapshot
        Whether it is one.
    created
        When, in seconds since 1970.
    created_txg
        In which transaction group.
    referenced
        Bytes of disk space that it can reach.
    used
        Bytes of disk space with all below; of a snapshot those that only it reaches.
    guid
        What identifies it.
    previous_txg
        When the snapshot before it was taken: what is older belongs to that one too.
    deadlist
        The object that lists what the snapshot before has and this one no longer.
    pointer
        To its objects.
    """

    name: str
    number: int
    directory: int
    is_snapshot: bool
    created: int
    created_txg: int
    referenced: int
    used: int
    guid: int
    previous_txg: int
    deadlist: int
    pointer: BlockPointer

    @property
    def is_internal(self) -> bool:
        """Whether it is the pool's own, such as ``$ORIGIN``."""
        return "/$" in self.name


def datasets(mos: ObjectSet, root: int, pool: str) -> Iterator[Dataset]:
    """Yield all datasets, a parent before its children, a head before its snapshots.

    Parameters
    ----------
    mos
        The pool's own objects.
    root
        Object of the root's directory.
    pool
        The pool's name, which the root's is.

    Raises
    ------
    DamagedError
        A directory or dataset cannot be right, or is its own parent.
    """
    seen: set[int] = set()
    pending = [(pool, root, 0)]
    while pending:
        name, number, depth = pending.pop()
        dnode = _expect(mos, number, C.dsl_dir.size, f"directory of {name}")
        if number in seen or depth > MAX_DEPTH:
            raise damaged(f"directory of {name} ({dnode.name})", dnode.offset, "is its own parent")
        seen.add(number)
        _, head, _, _, children, used, *_ = DSL_DIR.unpack_from(dnode.bonus)
        if head:
            yield from _head(mos, name, head, used)
        if children:
            below = list(Zap(mos.dnode(children)).entries())
            pending += [(f"{name}/{show(one.name)}", one.number, depth + 1) for one in reversed(below)]


def show(name: bytes) -> str:
    """Return the name of a dataset as text."""
    return name.decode("utf-8", "backslashreplace")


def _expect(mos: ObjectSet, number: int, size: int, what: str) -> Dnode:
    dnode = mos.dnode(number)
    if len(dnode.bonus) < size:
        raise damaged(f"{what} ({dnode.name})", dnode.offset, f"has {len(dnode.bonus)} bytes, not {size}")
    return dnode


def _head(mos: ObjectSet, name: str, number: int, used: int) -> Iterator[Dataset]:
    head, snapshots = _dataset(mos, name, number, used=used)
    yield head
    if snapshots:
        for entry in sorted(Zap(mos.dnode(snapshots)).entries(), key=lambda entry: entry.number):
            yield _dataset(mos, f"{name}@{show(entry.name)}", entry.number)[0]


def _dataset(mos: ObjectSet, name: str, number: int, used: int | None = None) -> tuple[Dataset, int]:
    dnode = _expect(mos, number, C.dsl_dataset.size, f"dataset {name}")
    return dataset_of(dnode, name, used), DSL_DATASET_HEAD.unpack_from(dnode.bonus)[4]


def dataset_of(dnode: Dnode, name: str = "", used: int | None = None) -> Dataset:
    """Return the dataset that an object is.

    Parameters
    ----------
    dnode
        The object.
    name
        What it is called; after its number when that is not known.
    used
        Of a head, the disk space with all below; None for a snapshot.

    Raises
    ------
    DamagedError
        It is too short.
    """
    if len(dnode.bonus) < C.dsl_dataset.size:
        raise damaged(f"dataset {name} ({dnode.name})", dnode.offset, f"has {len(dnode.bonus)} bytes")
    bonus = dnode.bonus
    head = DSL_DATASET_HEAD.unpack_from(bonus)
    directory, _, previous_txg, _, _, _, created, created_txg, deadlist, referenced = head[:10]
    unique, _, guid, _ = head[12:]
    return Dataset(
        name or f"dataset {dnode.number}",
        dnode.number,
        directory,
        used is None,
        created,
        created_txg,
        referenced,
        unique if used is None else used,
        guid,
        previous_txg,
        deadlist,
        BlockPointer.unpack(bonus, _POINTER),
    )
