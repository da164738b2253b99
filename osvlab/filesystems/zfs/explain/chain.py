"""The way from the label to one byte of a file, structure by structure."""

from __future__ import annotations

from collections.abc import Iterator

from osvlab.filesystems.base import Entry, Kind, show
from osvlab.filesystems.structure import Structure
from osvlab.filesystems.zfs.dsl import Dataset
from osvlab.filesystems.zfs.explain.labels import explain_pool
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.pool import Pool

__all__ = ["chain_to"]

_IT = ""  # the object that an entry of a table is about


def chain_to(pool: Pool, dataset: Dataset, entry: Entry, dnode: Dnode, byte: int) -> list[Structure]:
    """Return every structure on the way to a byte of a file, each pointing to the next.

    Parameters
    ----------
    pool, dataset
        Where it is.
    entry, dnode
        The file, or whatever it is; of what is no file the way ends at its dnode.
    byte
        Which byte.
    """
    found = [explain_pool(pool)]
    for name in (*_to_dataset(dataset), *_to_object(entry)):
        found.append(found[-1].follow(name) if name != _IT else found[-1].pointers[0].read())
    if entry.kind is Kind.FILE:
        for name in _to_byte(dnode, byte):
            if all(pointer.name != name for pointer in found[-1].pointers):
                break  # a hole: there is no block
            found.append(found[-1].follow(name))
    return found


def _to_dataset(dataset: Dataset) -> Iterator[str]:
    yield from ("uberblock", "MOS", "object directory", "entry root_dataset")
    names, _, snapshot = dataset.name.partition("@")
    yield _IT
    for name in names.split("/")[1:]:
        yield from ("children", f"entry {name}", _IT)
    yield "head dataset"
    if snapshot:
        yield from ("snapshots", f"entry {snapshot}", _IT)
    yield from ("object set", "master node", "entry ROOT", _IT)


def _to_object(entry: Entry) -> Iterator[str]:
    for name in entry.path.split(b"/"):
        if name:
            yield from (f"entry {show(name)}", _IT)


def _to_byte(dnode: Dnode, byte: int) -> Iterator[str]:
    number = byte // dnode.data_size
    shift = dnode.indirect_shift - 7
    for level in range(dnode.levels - 1, -1, -1):
        yield f"block pointer {number >> shift * level}"
        yield "block"
