"""Datasets: directories of names, filesystems under them, and the origin that all descend from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osvlab.filesystems.zfs.format import DSL_DATASET_HEAD, DSL_DIR, ObjectType
from osvlab.filesystems.zfs.writer.blocks import BIRTH, HOLE, Usage
from osvlab.filesystems.zfs.writer.mos import DEADLISTS, Mos
from osvlab.filesystems.zfs.writer.objects import make_dnode
from osvlab.filesystems.zfs.writer.plan import DatasetPlan
from osvlab.filesystems.zfs.writer.zap import Entry

__all__ = ["Datasets", "StoredDataset"]

_BREAKDOWN, _UNIQUE_IS_RIGHT = 1, 4
# The origin is older than everything, so what is freed of a filesystem never goes to its deadlist.
_ORIGIN_TXG = 1
_NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class StoredDataset:
    """A filesystem whose blocks are written.

    Attributes
    ----------
    plan
        What it was made of.
    pointer
        To its set of objects.
    usage
        What that takes.
    """

    plan: DatasetPlan
    pointer: bytes
    usage: Usage


class Datasets:
    """The directory of datasets.

    Parameters
    ----------
    mos
        Where it is added.
    stored
        The filesystems, the root first and parents before children.

    Attributes
    ----------
    root
        Object of the root directory, which is not there before `finish`.
    """

    def __init__(self, mos: Mos, stored: Sequence[StoredDataset]) -> None:
        self.mos = mos
        self.stored = {one.plan.name: one for one in stored}
        self._directories = {name: mos.number() for name in self.stored}
        self._heads = {name: mos.number() for name in self.stored}
        self.root = self._directories[""]
        self._own, self._origin, self._free = mos.number(), mos.number(), mos.number()
        self._snapshot = mos.number()
        self._children = {name: self._child_map(name) for name in self.stored}
        self._properties = {
            name: self._property_map(one.plan.properties) for name, one in self.stored.items()
        }
        self._own_maps = self._empty_maps()
        self._add_origin()
        if mos.identity.version >= DEADLISTS:
            children, properties = self._empty_maps()
            self._put_directory(self._free, parent=self.root, children=children, properties=properties)
        for name in self.stored:
            self._add_head(name)
            if name:
                self._add_directory(name, _NOTHING)

    def finish(self, own: Usage) -> None:
        """Add the last two directories: that of the pool's own objects, which take `own`, and the root."""
        children, properties = self._own_maps
        self._put_directory(self._own, own, parent=self.root, children=children, properties=properties)
        self._add_directory("", own)

    def _child_map(self, name: str) -> int:
        below = {
            child.rpartition("/")[2]: number
            for child, number in self._directories.items()
            if child and child.rpartition("/")[0] == name
        }
        if not name:
            below |= {"$MOS": self._own, "$ORIGIN": self._origin}
            if self.mos.identity.version >= DEADLISTS:
                below["$FREE"] = self._free
        entries = [Entry(child.encode(), (number,)) for child, number in below.items()]
        return self.mos.zap(ObjectType.DSL_DIR_CHILD_MAP, entries)

    def _property_map(self, properties: Mapping[str, str | int]) -> int:
        entries = [
            Entry(name.encode(), value.encode() + b"\0", 1)
            if isinstance(value, str)
            else Entry(name.encode(), (value,))
            for name, value in sorted(properties.items())
        ]
        return self.mos.zap(ObjectType.DSL_PROPERTIES, entries)

    def _empty_maps(self) -> tuple[int, int]:
        return self.mos.zap(ObjectType.DSL_DIR_CHILD_MAP), self.mos.zap(ObjectType.DSL_PROPERTIES)

    # --- filesystems

    def _add_head(self, name: str) -> None:
        one = self.stored[name]
        self._put_dataset(
            self._heads[name],
            self._directories[name],
            one.usage,
            pointer=one.pointer,
            previous=self._snapshot,
            names=self.mos.zap(ObjectType.DSL_DATASET_SNAPSHOT_MAP),
        )

    def _add_directory(self, name: str, more_below: Usage) -> None:
        below = more_below
        for other, one in self.stored.items():
            if other != name and (not name or other.startswith(f"{name}/")):
                below = below + one.usage
        self._put_directory(
            self._directories[name],
            self.stored[name].usage,
            below=below,
            head=self._heads[name],
            parent=self._directories[name.rpartition("/")[0]] if name else 0,
            origin=self._snapshot,
            children=self._children[name],
            properties=self._properties[name],
        )

    # --- the origin: an empty filesystem with a snapshot, of which all others are clones

    def _add_origin(self) -> None:
        clones = [Entry(b"%x" % number, (number,)) for number in self._heads.values()]
        head = self.mos.number()
        children, properties = self._empty_maps()
        by_directory = (
            self.mos.zap(ObjectType.DSL_CLONES, clones) if self.mos.identity.version >= DEADLISTS else 0
        )
        self._put_directory(
            self._origin,
            head=head,
            parent=self.root,
            children=children,
            properties=properties,
            clones=by_directory,
        )
        names = self.mos.zap(ObjectType.DSL_DATASET_SNAPSHOT_MAP, [Entry(b"$ORIGIN", (self._snapshot,))])
        self._put_dataset(head, self._origin, previous=self._snapshot, names=names)
        self._put_dataset(
            self._snapshot,
            self._origin,
            following=head,
            children=1 + len(clones),
            txg=_ORIGIN_TXG,
            clones=self.mos.zap(ObjectType.NEXT_CLONES, clones),
        )

    # --- their objects

    def _put_directory(
        self,
        number: int,
        usage: Usage = _NOTHING,
        *,
        below: Usage = _NOTHING,
        head: int = 0,
        parent: int = 0,
        origin: int = 0,
        children: int,
        properties: int,
        clones: int = 0,
    ) -> None:
        total = usage + below
        bonus = DSL_DIR.pack(
            *(self.mos.identity.time, head, parent, origin, children),
            *(total.used, total.compressed, total.uncompressed, 0, 0, properties, 0, _BREAKDOWN),
            *(usage.used, 0, below.used, 0, 0, clones),
        )
        self.mos.dnodes[number] = make_dnode(ObjectType.DSL_DIR, bonus_type=ObjectType.DSL_DIR, bonus=bonus)

    def _put_dataset(
        self,
        number: int,
        directory: int,
        usage: Usage = _NOTHING,
        *,
        pointer: bytes = HOLE,
        previous: int = 0,
        following: int = 0,
        names: int = 0,
        children: int = 0,
        txg: int = BIRTH,
        clones: int = 0,
    ) -> None:
        mos = self.mos
        head = DSL_DATASET_HEAD.pack(
            *(directory, previous, _ORIGIN_TXG if previous else 0, following, names, children),
            *(mos.identity.time, txg, mos.deadlist()),
            *(usage.used, usage.compressed, usage.uncompressed, usage.used),
            *(mos.unique(f"fsid {number}"), mos.unique(f"dataset {number}"), _UNIQUE_IS_RIGHT),
        )
        bonus = head + pointer + clones.to_bytes(8, "little").ljust(64, b"\0")
        mos.dnodes[number] = make_dnode(
            ObjectType.DSL_DATASET, bonus_type=ObjectType.DSL_DATASET, bonus=bonus
        )
