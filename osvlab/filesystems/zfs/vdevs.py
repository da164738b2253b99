"""Vdevs: the disks of a pool, mirrored or not, and the byte in a file that an address stands for.

A pool spreads its blocks over top-level vdevs. Each is a disk, or a mirror of disks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.zfs.errors import PoolError, UnsupportedPoolError
from osvlab.filesystems.zfs.format import DVA, VDEV_DATA
from osvlab.filesystems.zfs.labels import Label, read_labels
from osvlab.filesystems.zfs.nvlist import NvList

__all__ = ["EMPTY", "Disk", "Vdev", "best_config", "find_disks", "top_level_vdevs"]

_DISKS = ("disk", "file")
_MIRRORS = ("mirror", "replacing", "spare")
# Take a number, and hold no blocks.
EMPTY = ("hole", "missing", "log_missing")
# States in the label of a spare, of a disk that only caches.
_NO_BLOCKS = (3, 4)
_DESTROYED = 2
MAX_VDEVS = 1 << 16


@dataclass
class Disk:
    """One of the files that were opened, and what its labels say."""

    source: ByteRange
    labels: list[Label]
    config: NvList

    @property
    def newest(self) -> tuple[int, int]:
        """Transaction group and time of its best uberblock: how far behind the disk is."""
        found = [(block.txg, block.timestamp) for label in self.labels for block in label.uberblocks]
        return max(found, default=(0, 0))


@dataclass
class Vdev:
    """A top-level vdev.

    Attributes
    ----------
    number
        What addresses call it.
    kind
        ``disk``, ``file``, ``mirror``, ``hole``.
    ashift
        log2 of its smallest block.
    asize
        Bytes for blocks.
    metaslab_array, metaslab_shift
        Object with the space maps, and log2 of the bytes that one of them is about.
    disks
        Those of its disks that are there, the most current first.
    expected
        How many it should have.
    """

    number: int
    kind: str
    ashift: int = 9
    asize: int = 0
    metaslab_array: int = 0
    metaslab_shift: int = 0
    disks: list[Disk] = field(default_factory=list)
    expected: int = 1

    def copies(self, dva: DVA, size: int) -> Iterator[tuple[ByteRange, int]]:
        """Yield where the bytes of an address are: disk, and position in it; none outside a disk."""
        position = VDEV_DATA + dva.offset
        for disk in self.disks:
            if position + size <= disk.source.length:
                yield disk.source, position


def find_disks(sources: list[ByteRange]) -> list[Disk]:
    """Read the labels of all files, which must be disks of one pool.

    Raises
    ------
    PoolError
        A file has no label that can be believed, or two pools are there.
    """
    disks: list[Disk] = []
    for number, source in enumerate(sources, 1):
        which = f"file {number} of {len(sources)}" if len(sources) > 1 else "the file"
        labels = read_labels(source)
        configs = [label.config for label in labels if label.config is not None]
        if not configs:
            problems = ", ".join(f"label {label.index} {label.problem}" for label in labels)
            raise PoolError(
                f"no ZFS pool: {which} has no good label: {problems or 'it is too small'}",
                hint="Name the disk or the partition of it that holds the pool: osvlab inspect.",
            )
        config = _believed(labels, which)
        if _number(config, "state") not in _NO_BLOCKS:
            disks.append(Disk(source, labels, config))
    if not disks:
        raise PoolError(
            "no ZFS pool: there are only spares and caches, which hold no blocks of it",
            hint="Name the pool's other disks.",
        )
    _refuse_two_pools([disk.config for disk in disks])
    return disks


def _refuse_two_pools(configs: list[NvList]) -> None:
    guids = {_number(config, "pool_guid"): config.get("name", "?") for config in configs}
    if len(guids) > 1:
        raise PoolError(
            f"two pools: {' and '.join(sorted(map(str, guids.values())))}",
            hint="Open them one by one.",
        )


def _believed(labels: list[Label], which: str) -> NvList:
    """Return what the labels of a disk say, and leave out those that an older pool left.

    A pool that was written over part of a larger one leaves the labels at its end. Which of the two is
    meant cannot be known, as long as neither was destroyed.
    """
    good = [label for label in labels if label.config is not None]
    living = [label for label in good if _number(label.config or {}, "state") != _DESTROYED] or good
    pools: dict[int, list[Label]] = {}
    for label in living:
        pools.setdefault(_number(label.config or {}, "pool_guid"), []).append(label)
    if len(pools) > 1:
        listed = " and ".join(map(_named, pools.values()))
        raise PoolError(
            f"two pools on one disk: {which} has {listed}",
            hint="One was written over the other: cut the file to the size of the right one, or clear the "
            "other's labels.",
        )
    sums = {block.guid_sum for label in living for block in label.uberblocks}
    for label in labels:
        if label not in living:
            label.uberblocks = [
                block for block in label.uberblocks if label.config is None and block.guid_sum in sums
            ]
    newest = max(living, key=lambda label: _number(label.config or {}, "txg")).config
    assert newest is not None
    return newest


def _named(labels: list[Label]) -> str:
    name = (labels[0].config or {}).get("name", "?")
    return f"{name} (label {', '.join(str(label.index) for label in labels)})"


def best_config(disks: list[Disk]) -> NvList:
    """Return the newest configuration that a label holds."""
    return max((disk.config for disk in disks), key=lambda config: _number(config, "txg"))


def _number(config: NvList, name: str) -> int:
    value = config.get(name, 0)
    return value if isinstance(value, int) else 0


def top_level_vdevs(disks: list[Disk], trees: list[Any]) -> dict[int, Vdev]:
    """Return the top-level vdevs by number.

    Parameters
    ----------
    disks
        What was opened.
    trees
        The descriptions of top-level vdevs (`vdev_tree` of a label, or its children in the MOS). One
        that is there twice counts as it is the second time.

    Raises
    ------
    UnsupportedPoolError
        One is a RAID-Z, or of another kind that is not read here.
    PoolError
        A description cannot be right.
    """
    by_guid = {_number(disk.config, "guid"): disk for disk in disks}
    found: dict[int, Vdev] = {}
    for tree in trees:
        if not isinstance(tree, dict):
            raise PoolError("no ZFS pool: a label has no description of its vdev", hint="Copy it again.")
        vdev = _vdev(tree, by_guid)
        found[vdev.number] = vdev
    return found


def _vdev(tree: NvList, by_guid: dict[int, Disk]) -> Vdev:
    kind = str(tree.get("type", ""))
    vdev = Vdev(_number(tree, "id"), kind)
    if kind in EMPTY:
        return vdev
    vdev.ashift = _number(tree, "ashift")
    vdev.asize = _number(tree, "asize")
    vdev.metaslab_array = _number(tree, "metaslab_array")
    vdev.metaslab_shift = _number(tree, "metaslab_shift")
    if vdev.number >= MAX_VDEVS or not 9 <= vdev.ashift <= 24:
        raise PoolError(
            f"a label cannot be right: vdev {vdev.number} has blocks of 2**{vdev.ashift} bytes",
            hint="Copy the image again.",
        )
    leaves = list(_leaves(tree, kind))
    vdev.expected = len(leaves)
    there = [disk for leaf in leaves if (disk := by_guid.get(_number(leaf, "guid"))) is not None]
    vdev.disks = sorted(there, key=lambda disk: disk.newest, reverse=True)
    return vdev


def _leaves(tree: NvList, kind: str, depth: int = 0) -> Iterator[NvList]:
    if kind in _DISKS:
        yield tree
        return
    children = tree.get("children", [])
    if kind not in _MIRRORS or depth > 4 or not isinstance(children, list):
        raise UnsupportedPoolError(
            f"the pool has a vdev of the kind {kind or '?'}, which is not read here",
            hint="Pools on single disks, stripes over disks and mirrors are read.",
        )
    for child in children:
        if isinstance(child, dict):
            yield from _leaves(child, str(child.get("type", "")), depth + 1)
