"""The pool's own objects: its directory, its configuration, and the space maps.

Space maps say what everything takes, themselves and the blocks above them included. So the last part
is made twice: first to see what it takes, then with that. As nothing here is compressed, both take the
same.
"""

from __future__ import annotations

from collections.abc import Sequence

from osvlab.filesystems.zfs.format import DNODE_SIZE, SPACE_MAP, ObjectType
from osvlab.filesystems.zfs.writer.blocks import Blocks, Codec, Disk, NoDisk, Usage
from osvlab.filesystems.zfs.writer.datasets import Datasets, StoredDataset
from osvlab.filesystems.zfs.writer.labels import Identity, config_of, vdev_tree
from osvlab.filesystems.zfs.writer.mos import DEADLISTS, DIRECTORY, Mos
from osvlab.filesystems.zfs.writer.nvlist import pack_nvlist
from osvlab.filesystems.zfs.writer.objects import object_dnode, store_objset
from osvlab.filesystems.zfs.writer.space import Geometry, Space, space_map
from osvlab.filesystems.zfs.writer.zap import Entry

__all__ = ["LZ4_FEATURE", "store_pool"]

LZ4_FEATURE = "org.illumos:lz4_compress"
_LZ4_ABOUT = b"LZ4 compression algorithm support.\0"
_MOS = 1
_MAP_BLOCK = 4096
_CONFIG_BLOCK = 16 << 10

Runs = dict[int, list[tuple[int, int]]]


def store_pool(
    disk: Disk, space: Space, codec: Codec, identity: Identity, datasets: Sequence[StoredDataset]
) -> tuple[bytes, int]:
    """Store the pool's own objects.

    Parameters
    ----------
    disk, space
        Where, and what is taken of it already.
    codec
        Compresses nothing.
    identity
        Of the pool.
    datasets
        What is in it.

    Returns
    -------
    pointer, metaslab_array
        The pointer to the set of objects, for the uberblock, and the number of the one that labels name.
    """
    blocks = Blocks(disk, space, codec)
    mos = Mos(blocks, identity)
    directory = Datasets(mos, datasets)
    array = mos.number()
    _store_directory(mos, directory.root, array, space.geometry)
    runs, own = _try_out(mos, directory, array, codec)
    pointer = _store_rest(mos, directory, array, runs, own)
    blocks.flush()
    if space.by_metaslab() != runs or mos.blocks.usage != own:
        raise AssertionError("the space maps do not say what was taken")
    return pointer, array


def _store_directory(mos: Mos, root: int, array: int, geometry: Geometry) -> None:
    """Store the object that all others are found by, and those it names."""
    identity = mos.identity
    config = config_of(identity) | {
        "vdev_tree": {
            "type": "root",
            "id": 0,
            "guid": identity.guid,
            "children": [vdev_tree(identity, geometry, array)],
        }
    }
    packed = pack_nvlist(config)
    config_object = mos.number()
    mos.dnodes[config_object] = object_dnode(
        mos.blocks,
        packed,
        ObjectType.PACKED_NVLIST,
        _CONFIG_BLOCK,
        bonus_type=ObjectType.PACKED_NVLIST_SIZE,
        bonus=len(packed).to_bytes(8, "little"),
    )
    named = {
        "root_dataset": root,
        "config": config_object,
        "sync_bplist": mos.block_list(),
        "deflate": 1,
        "creation_version": identity.version,
    }
    if identity.version >= DEADLISTS:
        named["free_bpobj"] = mos.block_list()
    if identity.features is not None:
        needed = [Entry(name.encode(), (1,)) for name in identity.features]
        about = [Entry(name.encode(), _LZ4_ABOUT, 1) for name in identity.features]
        named["features_for_read"] = mos.zap(ObjectType.ZAP_METADATA, needed)
        named["features_for_write"] = mos.zap(ObjectType.ZAP_METADATA)
        named["feature_descriptions"] = mos.zap(ObjectType.ZAP_METADATA, about)
    entries = [Entry(name.encode(), (value,)) for name, value in named.items()]
    mos.zap(ObjectType.OBJECT_DIRECTORY, entries, number=DIRECTORY)


def _try_out(mos: Mos, directory: Datasets, array: int, codec: Codec) -> tuple[Runs, Usage]:
    """Return what will be taken in the end, by metaslab, and how much of that by the pool's own objects."""
    real, numbers, dnodes = mos.blocks, mos.last, dict(mos.dnodes)
    runs = real.space.by_metaslab()
    while True:
        mos.blocks = Blocks(NoDisk(), real.space.copy(), codec)
        mos.blocks.usage = real.usage + Usage()
        _store_rest(mos, directory, array, runs, Usage())
        found, own = mos.blocks.space.by_metaslab(), mos.blocks.usage
        mos.blocks, mos.last, mos.dnodes = real, numbers, dict(dnodes)
        if found.keys() == runs.keys():
            return found, own
        runs = found


def _store_rest(mos: Mos, directory: Datasets, array: int, runs: Runs, own: Usage) -> bytes:
    """Store space maps, the last directories, and the dnodes of all objects."""
    geometry = mos.blocks.space.geometry
    maps = bytearray(8 * geometry.metaslabs)
    for metaslab, taken in sorted(runs.items()):
        number = mos.number()
        maps[8 * metaslab : 8 * metaslab + 8] = number.to_bytes(8, "little")
        entries = space_map(taken, geometry.ashift)
        head = SPACE_MAP.pack(number, len(entries), sum(length for _, length in taken))
        mos.dnodes[number] = object_dnode(
            mos.blocks,
            entries,
            ObjectType.SPACE_MAP,
            _MAP_BLOCK,
            bonus_type=ObjectType.SPACE_MAP_HEADER,
            bonus=head,
        )
    size = len(maps) + 511 & ~511
    mos.dnodes[array] = object_dnode(mos.blocks, bytes(maps), ObjectType.OBJECT_ARRAY, size)
    directory.finish(own)
    dnodes = bytearray(DNODE_SIZE * (mos.last + 1))
    for number, dnode in mos.dnodes.items():
        dnodes[DNODE_SIZE * number : DNODE_SIZE * (number + 1)] = dnode
    return store_objset(mos.blocks, dnodes, _MOS, levels=1)
