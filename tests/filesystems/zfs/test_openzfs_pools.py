"""The pools that OpenZFS tests its upgrades with, by hands and machines of every kind since 2006."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from osvlab.filesystems.base import Kind
from osvlab.filesystems.zfs import Pool, ZfsFilesystem
from osvlab.filesystems.zfs.errors import PoolError, UnsupportedPoolError

# By pool: its files, its version, entries, bytes in files, and byte order.
READ = {
    **{f"zfs-pool-v{n}": (1, n, files, size, order) for n, files, size, order in (
        (1, 302, 1235, ">"), (2, 2, 44, "<"), (3, 2, 20, "<"), (4, 2, 31, "<"), (5, 6, 26, "<"),
        (6, 2, 2048, "<"), (7, 2, 2048, "<"), (8, 2, 2048, "<"), (9, 1, 0, ">"), (10, 1, 0, "<"),
        (11, 1, 0, "<"), (12, 1, 0, "<"), (13, 1, 0, "<"), (14, 1, 0, "<"), (15, 1, 0, ">"),
    )},
    "zfs-pool-v1mirror": (3, 1, 302, 1278, ">"),
    "zfs-pool-v1stripe": (3, 1, 302, 1278, ">"),
    "zfs-pool-v2mirror": (3, 2, 302, 1269, ">"),
    "zfs-pool-v2stripe": (3, 2, 102, 444, ">"),
    "zfs-pool-v3hotspare": (3, 3, 1, 0, "<"),
    "zfs-pool-v3mirror": (3, 3, 2, 64, "<"),
    "zfs-pool-v3stripe": (3, 3, 2, 64, "<"),
    "zfs-broken-mirror": (2, 2, 1, 0, ">"),
    "unclean_export": (1, 5000, 1, 0, "<"),
}  # fmt: skip


def unpack(folder: Path, name: str, count: int) -> list[bytes]:
    names = [name] if count == 1 else [f"{name}{number}" for number in range(1, count + 1)]
    found = []
    for one in names:
        paths = list(folder.rglob(f"{one}.dat.bz2"))
        assert len(paths) == 1, one
        found.append(bz2.decompress(paths[0].read_bytes()))
    return found


@pytest.mark.parametrize("name", READ)
def test_what_others_wrote_is_read(openzfs_pools: Path, name: str) -> None:
    count, version, entries, size, order = READ[name]
    pool = Pool(unpack(openzfs_pools, name, count))
    files = ZfsFilesystem(pool, pool.name)
    assert (pool.version, pool.uberblock.endian) == (version, order)
    assert pool.state == ("active" if name == "unclean_export" else "exported")
    found = list(files.walk())
    assert (len(found), sum(len(files.read(e)) for e in found if e.kind is Kind.FILE)) == (entries, size)
    broken = [note for note in pool.notes if "the mirror's other disk has it" in note]
    assert bool(broken) == (name == "zfs-broken-mirror")


@pytest.mark.parametrize(
    ("name", "count", "reason"),
    [
        ("zfs-pool-v3raidz", 3, "raidz"),
        ("zfs-pool-v3raidz2", 3, "raidz"),
        ("cryptv0", 1, "com.datto:encryption"),
        ("missing_ivset", 1, "com.datto:encryption"),
        ("zfs-pool-v999", 1, "version 999"),
    ],
)
def test_what_is_not_read_is_refused_by_name(
    openzfs_pools: Path, name: str, count: int, reason: str
) -> None:
    with pytest.raises(UnsupportedPoolError, match=reason):
        Pool(unpack(openzfs_pools, name, count))


def test_a_spare_is_no_pool(openzfs_pools: Path) -> None:
    spares = []
    for data in unpack(openzfs_pools, "zfs-pool-v3hotspare", 3):
        try:
            Pool([data])
        except PoolError as error:
            spares.append(error.message)
    assert any("only spares" in message for message in spares)
