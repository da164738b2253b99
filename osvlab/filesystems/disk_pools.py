"""The ZFS pools on one disk: whoever writes to it without saying which is asked.

>>> import io
>>> from osvlab.filesystems.disk import TYPE_LINUX, Partition, make_boot_sector
>>> from osvlab.filesystems.opening import volume_of
>>> from osvlab.filesystems.tree import Directory
>>> from osvlab.filesystems.zfs import write_zfs
>>> image, size = io.BytesIO(), 64 << 20
>>> table = [Partition(slot, TYPE_LINUX, slot * size, size) for slot in (1, 2)]
>>> _ = image.write(make_boot_sector(None, 0, table))
>>> for partition, name in zip(table, ("data", "osv"), strict=True):
...     _ = image.seek(partition.offset)
...     _ = write_zfs(Directory(), image, name=name, size=size)
>>> volume = volume_of(image.getvalue())
>>> found: list[DiskPool] = pools_on(volume)
>>> print(*found, sep=", ")
data in partition 1, osv in partition 2
>>> refuse_two_pools(volume)
Traceback (most recent call last):
...
osvlab.errors.OsvlabError: two pools on one disk: the image has data in partition 1 and osv in partition 2
hint: Say which is meant: partition=2, or --partition 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.opening import Volume, volume_in
from osvlab.filesystems.recognise import Content

__all__ = ["DiskPool", "namesakes", "pools_on", "refuse_two_pools"]


@dataclass(frozen=True, slots=True)
class DiskPool:
    """A pool in a partition.

    Attributes
    ----------
    slot
        Of the partition.
    name, guid
        Of the pool.
    """

    slot: int
    name: str
    guid: int

    def __str__(self) -> str:
        return f"{self.name} in partition {self.slot}"


def pools_on(volume: Volume) -> list[DiskPool]:
    """Return the pools in the partitions of a disk, by their labels; those without a good one are left out.

    Parameters
    ----------
    volume
        A disk; of anything else there are none.
    """
    if volume.content is not Content.DISK:
        return []
    found = []
    for partition in disk.partitions_in(volume.source):
        if partition.size and (part := volume_in(volume, partition)).content is Content.ZFS:
            found += _pool_in(part, partition.slot)
    return found


def _pool_in(volume: Volume, slot: int) -> list[DiskPool]:
    from osvlab.filesystems.zfs.errors import PoolError
    from osvlab.filesystems.zfs.vdevs import find_disks

    try:
        config = find_disks([volume.source])[0].config
    except PoolError:
        return []  # told by whoever opens it
    guid = config.get("pool_guid")
    return [DiskPool(slot, str(config.get("name", "?")), guid if isinstance(guid, int) else 0)]


def refuse_two_pools(volume: Volume) -> None:
    """Raise if a disk has more than one pool.

    Raises
    ------
    OsvlabError
        It has. All are named.
    """
    pools = pools_on(volume)
    if len(pools) > 1:
        count = "two" if len(pools) == 2 else str(len(pools))
        raise OsvlabError(
            f"{count} pools on one disk: {volume.name} has {' and '.join(map(str, pools))}",
            hint="Say which is meant: partition=2, or --partition 2.",
        )


def namesakes(pools: list[DiskPool]) -> list[list[DiskPool]]:
    """Return pools that kernels take for each other: those of one name.

    Examples
    --------
    >>> pools = [DiskPool(1, "osv", 5), DiskPool(2, "data", 6), DiskPool(3, "osv", 7)]
    >>> [[str(pool) for pool in same] for same in namesakes(pools)]
    [['osv in partition 1', 'osv in partition 3']]
    """
    by_name: dict[str, list[DiskPool]] = {}
    for pool in pools:
        by_name.setdefault(pool.name, []).append(pool)
    return [same for same in by_name.values() if len(same) > 1]
