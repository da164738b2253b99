"""What stands at both ends of a vdev: four labels, each with the configuration and a ring of uberblocks."""

from __future__ import annotations

from dataclasses import dataclass

from osvlab.filesystems.zfs.checksums import with_eck
from osvlab.filesystems.zfs.format import LABEL_SIZE, UBERBLOCK_HEAD, C
from osvlab.filesystems.zfs.writer.blocks import BIRTH, Disk
from osvlab.filesystems.zfs.writer.nvlist import Value, pack_nvlist
from osvlab.filesystems.zfs.writer.space import Geometry

__all__ = ["SYNCED", "Identity", "config_of", "vdev_tree", "write_labels"]

# Ahead of the blocks, as if some idle groups had followed: OpenZFS reads back what came in the last ones.
SYNCED = BIRTH + 4
_EXPORTED = 1
_MASK = (1 << 64) - 1
_PATH = "/dev/vblk0.1"


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a pool from others.

    Attributes
    ----------
    name, version
        Of the pool.
    guid, vdev_guid
        Numbers of the pool and of its only vdev.
    time
        When it was made, in seconds since 1970.
    features
        What has to be known to read it; None before version 5000.
    """

    name: str
    version: int
    guid: int
    vdev_guid: int
    time: int
    features: tuple[str, ...] | None


def vdev_tree(identity: Identity, geometry: Geometry, metaslab_array: int) -> dict[str, Value]:
    """Return the part of the configuration that describes the vdev."""
    return {
        "type": "disk",
        "id": 0,
        "guid": identity.vdev_guid,
        "path": _PATH,
        "whole_disk": 0,
        "create_txg": BIRTH,
        "metaslab_array": metaslab_array,
        "metaslab_shift": geometry.metaslab_shift,
        "ashift": geometry.ashift,
        "asize": geometry.asize,
        "is_log": 0,
    }


def config_of(identity: Identity) -> dict[str, Value]:
    """Return what labels and the configuration in the pool both say."""
    config: dict[str, Value] = {
        "version": identity.version,
        "name": identity.name,
        "state": _EXPORTED,
        "txg": BIRTH,
        "pool_guid": identity.guid,
    }
    if identity.features is not None:
        config["features_for_read"] = dict.fromkeys(identity.features, True)
    return config


def write_labels(
    disk: Disk, identity: Identity, geometry: Geometry, metaslab_array: int, root: bytes, *, sparse: bool
) -> None:
    """Write all four labels.

    Parameters
    ----------
    disk
        Where.
    identity, geometry, metaslab_array
        What they say.
    root
        Pointer to the objset of the pool's own objects.
    sparse
        Whether what is left out reads as zeros.
    """
    config = config_of(identity) | {
        "top_guid": identity.vdev_guid,
        "guid": identity.vdev_guid,
        "vdev_children": 1,
        "vdev_tree": vdev_tree(identity, geometry, metaslab_array),
    }
    packed = pack_nvlist(config)
    head = UBERBLOCK_HEAD.pack(
        *(C.UBERBLOCK_MAGIC, identity.version, SYNCED, identity.guid + identity.vdev_guid & _MASK),
        identity.time,
    )
    uberblock = head + root + identity.version.to_bytes(8, "little")
    slot = 1 << max(C.UBERBLOCK_SHIFT_MIN, geometry.ashift)
    slot_at = C.LABEL_UBERBLOCKS + SYNCED * slot % C.LABEL_UBERBLOCKS_SIZE
    for place in (0, LABEL_SIZE, geometry.size - 2 * LABEL_SIZE, geometry.size - LABEL_SIZE):
        nvlist_at = place + C.LABEL_NVLIST
        parts = {
            nvlist_at: with_eck(packed.ljust(C.LABEL_NVLIST_SIZE, b"\0"), nvlist_at),
            place + slot_at: with_eck(uberblock.ljust(slot, b"\0"), place + slot_at),
        }
        if not sparse:
            disk.write(place, bytes(LABEL_SIZE))
            disk.flush()
        for at, data in parts.items():
            disk.write(at, data)
