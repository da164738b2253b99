"""Labels explained: the configuration, the ring of uberblocks, and the way down from the one that counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from osvlab.filesystems.structure import Field, Pointer, Structure
from osvlab.filesystems.zfs.byteorder import little_endian
from osvlab.filesystems.zfs.explain.objects import explain_object_set
from osvlab.filesystems.zfs.explain.places import Place, declared, moment
from osvlab.filesystems.zfs.explain.pointers import brief, explain_pointer
from osvlab.filesystems.zfs.format import LABEL_SIZE, C, ObjectType
from osvlab.filesystems.zfs.labels import Label, Uberblock
from osvlab.filesystems.zfs.nvlist import KINDS, NVLIST, NVLIST_ARRAY, NvPair
from osvlab.filesystems.zfs.objects import ObjectSet
from osvlab.filesystems.zfs.pool import Pool
from osvlab.filesystems.zfs.vdevs import Disk

__all__ = ["explain_pool"]

_ROOT = C.uberblock.fields["rootbp"].offset
# What the names in a label mean; source: OpenZFS, module/zfs/vdev_label.c.
_MEANINGS = {
    "version": "of the format on disk, 1 to 28; 5000: features tell",
    "name": "of the pool",
    "state": "0: in use, or its machine died; 1: exported; 2: destroyed",
    "txg": "transaction group in which this was written",
    "pool_guid": "tells the pool from all others",
    "hostid": "of the machine that used it last",
    "hostname": "of the machine that used it last",
    "top_guid": "of the top-level vdev that this disk belongs to",
    "guid": "of this vdev; unique",
    "vdev_children": "how many top-level vdevs the pool has",
    "vdev_tree": "this disk's top-level vdev, and what is below it",
    "features_for_read": "what a reader has to know, besides version 5000",
    "type": "of the vdev: disk, file, mirror, raidz",
    "id": "its number among its siblings; addresses have it",
    "path": "where its last user had the disk",
    "whole_disk": "1: the pool made the disk's partitions itself",
    "create_txg": "transaction group in which it was added",
    "metaslab_array": "object that lists the space maps",
    "metaslab_shift": "log2 of the bytes that one space map is about",
    "ashift": "log2 of the smallest block in bytes",
    "asize": "bytes for blocks",
    "is_log": "1: it holds nothing but the intent log",
    "nparity": "how many disks of a RAID-Z may fail",
    "children": "the disks of a mirror or a RAID-Z",
}
_LABEL = (
    "One of four copies, two at either end of the disk: what pool this is, and where its newest state is."
)


def explain_pool(pool: Pool) -> Structure:
    """Return the first label of the first disk, from which everything is found."""
    return _label(pool, pool.disks[0], 0)


def _label(pool: Pool, disk: Disk, index: int) -> Structure:
    label = disk.labels[index]
    at = disk.source.offset + label.offset
    nvlist, ring = C.LABEL_NVLIST, C.LABEL_UBERBLOCKS
    return Structure(
        f"label {index} of {_disk_name(pool, disk)}",
        at,
        LABEL_SIZE,
        lambda: disk.source.read_at(label.offset, LABEL_SIZE),
        [
            Field("blank", 0, 8192, "left alone", "for a boot sector or disk label of others"),
            Field("boot header", 8192, 8192, "not used", "for what a boot loader wants to know"),
            Field(
                "configuration",
                nvlist,
                C.LABEL_NVLIST_SIZE,
                label.problem or f"{len(label.pairs)} pairs",
                "names and values (nvlist), with a SHA-256 at the end",
            ),
            Field(
                "uberblocks",
                ring,
                C.LABEL_UBERBLOCKS_SIZE,
                f"{len(label.uberblocks)} of {C.LABEL_UBERBLOCKS_SIZE // _slot_size(label)} hold one",
                "a ring: each transaction group writes its own into the next slot",
            ),
        ],
        lambda: _label_pointers(pool, disk, label),
        about=_LABEL,
    )


def _slot_size(label: Label) -> int:
    return max((block.length for block in label.uberblocks), default=1 << C.UBERBLOCK_SHIFT_MIN)


def _disk_name(pool: Pool, disk: Disk) -> str:
    number = pool.disks.index(disk)
    return f"pool {pool.name}" if len(pool.disks) == 1 else f"disk {number} of pool {pool.name}"


def _label_pointers(pool: Pool, disk: Disk, label: Label) -> Iterator[Pointer]:
    if label.pairs:
        yield Pointer("configuration", lambda: _configuration(disk, label))
    newest = pool.uberblock
    yield Pointer("uberblock", lambda: _uberblock(pool, newest, "the one that counts"))
    for one in sorted(label.uberblocks, key=lambda block: -block.txg):
        yield Pointer(f"uberblock of txg {one.txg} (slot {one.slot})", _of_txg(pool, one))
    for other in disk.labels:
        if other is not label:
            yield Pointer(f"label {other.index}", _of_label(pool, disk, other.index))
    for number, one_disk in enumerate(pool.disks):
        if one_disk is not disk:
            yield Pointer(f"disk {number}", _of_label(pool, one_disk, 0))


def _of_txg(pool: Pool, uberblock: Uberblock) -> Any:
    return lambda: _uberblock(pool, uberblock, "one of the ring")


def _of_label(pool: Pool, disk: Disk, index: int) -> Any:
    return lambda: _label(pool, disk, index)


# --- the configuration -------------------------------------------------------------------------------------


def _configuration(disk: Disk, label: Label) -> Structure:
    at = label.offset + C.LABEL_NVLIST
    return _pairs(
        label.pairs,
        "configuration",
        disk.source.read_at(at, C.LABEL_NVLIST_SIZE),
        disk.source.offset + at,
        (0, C.LABEL_NVLIST_SIZE),
    )


def _pairs(pairs: list[NvPair], name: str, region: bytes, base: int, part: tuple[int, int]) -> Structure:
    start, end = part
    fields = [
        Field(pair.name, pair.offset - start, pair.length, _value(pair), _meaning(pair)) for pair in pairs
    ]
    return Structure(
        name,
        base + start,
        end - start,
        region[start:end],
        fields,
        lambda: _nested(pairs, region, base),
        about="Names and values, packed as XDR: all integers are big-endian.",
    )


def _nested(pairs: list[NvPair], region: bytes, base: int) -> Iterator[Pointer]:
    for pair in pairs:
        part = (pair.offset, pair.offset + pair.length)
        if pair.kind == NVLIST:
            yield Pointer(pair.name, _of_pairs(pair.value, pair.name, region, base, part))
        elif pair.kind == NVLIST_ARRAY:
            for index, one in enumerate(pair.value):
                name = f"{pair.name}[{index}]"
                yield Pointer(name, _of_pairs(one, name, region, base, part))


def _meaning(pair: NvPair) -> str:
    return _MEANINGS.get(pair.name) or KINDS.get(pair.kind, "")


def _of_pairs(*arguments: Any) -> Any:
    return lambda: _pairs(*arguments)


def _value(pair: NvPair) -> Any:
    if pair.kind == NVLIST:
        return f"{len(pair.value)} pairs"
    if pair.kind == NVLIST_ARRAY:
        return f"{len(pair.value)} lists"
    return str(pair.value) if isinstance(pair.value, list) else pair.value


# --- uberblocks --------------------------------------------------------------------------------------------


def _uberblock(pool: Pool, uberblock: Uberblock, which: str) -> Structure:
    disk = next(disk for disk in pool.disks for label in disk.labels if uberblock in label.uberblocks)
    raw = disk.source.read_at(uberblock.offset - disk.source.offset, len(C.uberblock))
    if uberblock.endian == ">":
        raw = little_endian(raw, ObjectType.UINT64_OTHER, 0)
    place = Place(uberblock.offset)
    return declared(
        "uberblock",
        raw,
        place,
        [
            Pointer("MOS", lambda: _mos(pool, uberblock)),
            Pointer(
                "rootbp",
                lambda: explain_pointer(
                    pool, uberblock.root, place.at(_ROOT), name="rootbp", block=lambda: _mos(pool, uberblock)
                ),
            ),
        ],
        name=f"uberblock of transaction group {uberblock.txg}",
        about=f"The root of everything, as it was when transaction group {uberblock.txg} was done; {which}.",
        shown={"rootbp": lambda _: brief(uberblock.root), "timestamp": moment},
    )


def _mos(pool: Pool, uberblock: Uberblock) -> Structure:
    objects = pool.mos
    if uberblock.root != objects.pointer:
        objects = ObjectSet(pool.blocks, uberblock.root, f"{objects.name} in txg {uberblock.txg}")
    return explain_object_set(pool, objects, "The pool's own objects (meta object set, MOS).")
