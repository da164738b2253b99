"""Pools that zfs-fuse made are read as what was copied into them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import Kind
from osvlab.filesystems.zfs import Pool, ZfsFilesystem, open_zfs
from osvlab.filesystems.zfs.errors import PoolError, UnsupportedPoolError
from tests.filesystems.zfs.conftest import CHECKSUMS, COMPRESSIONS
from tests.filesystems.zfs.trees import assert_same
from tests.filesystems.zfs.zfs_fuse import ZfsFuse, inside

SECOND = 10**9  # zfs-fuse sets times to the second


@pytest.mark.parametrize("name", [*COMPRESSIONS, *(f"sum-{name}" for name in CHECKSUMS), "small"])
def test_what_zfs_fuse_wrote_is_read(various: Path, tree: Path, name: str) -> None:
    with open_zfs([various], f"various/{name}") as files:
        assert assert_same(files, tree, resolution=SECOND) > 100
        assert files.pool.version == 23
        assert files.pool.state == "exported"
        assert not files.pool.notes


def test_a_pool_says_what_it_holds(various: Path) -> None:
    pool = Pool([various])
    assert pool.name == "various"
    children = sorted([*COMPRESSIONS, *(f"sum-{name}" for name in CHECKSUMS), "small"])
    assert sorted(name for name in pool.datasets if "$" not in name) == [
        "various",
        *(f"various/{name}" for name in children),
    ]
    assert pool.uberblocks[0] == pool.uberblock
    assert pool.uberblock.txg >= pool.uberblocks[-1].txg
    pool.close()


def test_any_piece_of_a_file(various: Path, tree: Path) -> None:
    with open_zfs([various], "various/lzjb") as files:
        entry = files.find("text-1500000")
        whole = (tree / "text-1500000").read_bytes()
        for offset, length in (
            (0, 1),
            (131_071, 2),
            (131_072, 131_072),
            (5, 400_000),
            (1_499_999, 9),
            (2**40, 5),
        ):
            assert files.read(entry, offset, length) == whole[offset : offset + length]
        assert b"".join(files.read_pieces(entry, 100_000)) == whole


def test_a_dataset_that_is_not_there(various: Path) -> None:
    with pytest.raises(PoolError, match="no dataset various/nope") as caught:
        open_zfs([various], "various/nope")
    assert "various/lzjb" in (caught.value.hint or "")


def test_a_name_that_is_not_there_and_one_that_is_no_file(various: Path) -> None:
    with open_zfs([various], "various/lzjb") as files:
        assert not (files / "nope").exists()
        assert (files / "deep/level-0/level-1").is_dir()
        with pytest.raises(OsvlabError, match="not a file"):
            files.read(files.find("empty"))
        with pytest.raises(OsvlabError, match="not a directory"):
            files.list(files.find("fifo"))


def test_snapshots_stay_as_they_were(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    files = zfs_fuse.create("snap", tmp_path / "snap.img")
    (files / "changed").write_bytes(b"before" * 1000)
    (files / "removed").write_bytes(b"was here")
    zfs_fuse.run("zfs", "snapshot", "snap@first")
    (files / "changed").write_bytes(b"after" * 1000)
    (files / "removed").unlink()
    zfs_fuse.run("zfs", "snapshot", "snap@second")
    (files / "added").write_bytes(b"new")
    zfs_fuse.run("zfs", "clone", "snap@first", "snap/clone")
    zfs_fuse.export("snap")
    found = {}
    for name in ("snap@first", "snap@second", "snap", "snap/clone"):
        with open_zfs([tmp_path / "snap.img"], name) as opened:
            found[name] = {
                entry.name: opened.read(entry) for entry in opened.walk() if entry.kind is Kind.FILE
            }
    before, after = b"before" * 1000, b"after" * 1000
    assert found == {
        "snap@first": {b"changed": before, b"removed": b"was here"},
        "snap@second": {b"changed": after},
        "snap": {b"changed": after, b"added": b"new"},
        "snap/clone": {b"changed": before, b"removed": b"was here"},
    }


@pytest.mark.parametrize("version", [1, 2, 5, 9, 14, 15, 20, 23])
def test_older_versions(zfs_fuse: ZfsFuse, tree: Path, tmp_path: Path, version: int) -> None:
    name = f"old{version}"
    files = zfs_fuse.create(
        name, tmp_path / "pool.img", size=128 << 20, options=("-o", f"version={version}")
    )
    zfs_fuse.run("cp", "-a", f"{tree}/.", inside(zfs_fuse, files))
    zfs_fuse.export(name)
    with open_zfs([tmp_path / "pool.img"]) as opened:
        assert opened.pool.version == version
        assert opened.dataset.name == name
        assert_same(opened, tree, resolution=SECOND)


@pytest.mark.parametrize("ashift", ["9", "12", "13"])
def test_sectors(zfs_fuse: ZfsFuse, tree: Path, tmp_path: Path, ashift: str) -> None:
    files = zfs_fuse.create(
        "sectors", tmp_path / "p.img", size=256 << 20, options=("-o", f"ashift={ashift}")
    )
    zfs_fuse.run("cp", "-a", f"{tree}/.", inside(zfs_fuse, files))
    zfs_fuse.export("sectors")
    with open_zfs([tmp_path / "p.img"]) as opened:
        assert_same(opened, tree, resolution=SECOND)


def test_a_stripe_needs_all_its_disks(zfs_fuse: ZfsFuse, tree: Path, tmp_path: Path) -> None:
    images = [tmp_path / f"{name}.img" for name in "abc"]
    files = zfs_fuse.create("stripe", *images)
    zfs_fuse.run("cp", "-a", f"{tree}/.", inside(zfs_fuse, files))
    zfs_fuse.export("stripe")
    with open_zfs(images[::-1]) as opened:
        assert_same(opened, tree, resolution=SECOND)
        assert {dva.vdev for file in ("noise-1500000",) for dva in places(opened, file)} > {0}
    with pytest.raises(OsvlabError) as caught, open_zfs(images[1:]) as opened:
        assert_same(opened, tree, resolution=SECOND)
    assert "vdev 0, which is not there" in caught.value.message


def places(files: ZfsFilesystem, path: str) -> list:
    dnode = files.files.objects.dnode(files.find(path).number)
    return [dva for _, _, pointer in dnode.walk() for dva in pointer.dvas]


def test_a_mirror_heals(zfs_fuse: ZfsFuse, tree: Path, tmp_path: Path) -> None:
    images = [tmp_path / f"{name}.img" for name in "ab"]
    files = zfs_fuse.create("twofold", *images, kind="mirror", size=128 << 20)
    zfs_fuse.run("cp", "-a", f"{tree}/.", inside(zfs_fuse, files))
    zfs_fuse.export("twofold")
    for image in images:
        with open_zfs([image]) as opened:
            assert_same(opened, tree, resolution=SECOND)
            assert opened.pool.notes == ["1 of 2 disks of vdev 0 are not there"]
            assert opened.check().unchecked == ("1 of 2 disks of vdev 0",)
    for image, half in zip(images, (slice(0, None, 2), slice(1, None, 2)), strict=True):
        with open_zfs(images) as opened:
            hurt = places(opened, "noise-1500000")[half]
        with open(image, "r+b") as file:
            for dva in hurt:
                file.seek((4 << 20) + dva.offset + dva.asize // 2)
                file.write(b"damaged!")
    with open_zfs(images) as opened:
        assert_same(opened, tree, resolution=SECOND)
        assert any("the mirror's other disk has it" in note for note in opened.pool.notes)
    with open_zfs(images[:1]) as opened, pytest.raises(OsvlabError, match="wrong checksum"):
        opened.read(opened.find("noise-1500000"))


def test_raidz_is_refused_by_name(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    images = [tmp_path / f"{name}.img" for name in "abc"]
    zfs_fuse.create("parity", *images, kind="raidz")
    zfs_fuse.export("parity")
    with pytest.raises(UnsupportedPoolError, match="raidz"):
        open_zfs(images)


def test_a_pool_in_use_says_so(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    files = zfs_fuse.create("busy", tmp_path / "busy.img")
    (files / "file").write_bytes(b"here")
    zfs_fuse.run("sync")
    try:
        pool = Pool([tmp_path / "busy.img"])
        assert pool.state == "active"
        pool.close()
    finally:
        zfs_fuse.export("busy")


def test_a_directory_with_many_files(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    files = zfs_fuse.create("many", tmp_path / "many.img", size=256 << 20)
    zfs_fuse.run("sh", "-c", f"cd {inside(zfs_fuse, files)} && seq -f file-%.0f 20000 | xargs touch")
    zfs_fuse.export("many")
    with open_zfs([tmp_path / "many.img"]) as opened:
        listed = opened.list(opened.root)
        assert {entry.name for entry in listed} == {b"file-%d" % number for number in range(1, 20001)}
        assert opened.root.size == 20000
        for number in (1, 777, 20000):
            found = opened.lookup(opened.root, b"file-%d" % number)
            assert found is not None
            assert found in listed
        assert opened.lookup(opened.root, b"file-20001") is None


def test_two_pools_and_none(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    for name in ("one", "two"):
        zfs_fuse.create(name, tmp_path / f"{name}.img")
        zfs_fuse.export(name)
    with pytest.raises(PoolError, match="two pools: one and two"):
        Pool([tmp_path / "one.img", tmp_path / "two.img"])
    for data in (b"", bytes(1000), bytes(5 << 20), os.urandom(1 << 20)):
        with pytest.raises(PoolError, match="no ZFS pool"):
            Pool([data])


def test_labels_of_two_pools_on_one_disk(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    for name in ("older", "newer"):
        zfs_fuse.create(name, tmp_path / f"{name}.img")
        zfs_fuse.export(name)
    disk = bytearray((tmp_path / "newer.img").read_bytes())
    disk[-(256 << 10) :] = (tmp_path / "older.img").read_bytes()[-(256 << 10) :]
    with pytest.raises(PoolError, match=r"two pools on one disk: the file has newer .* and older"):
        Pool([bytes(disk)])


def test_the_newest_uberblock_that_leads_anywhere_is_taken(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    image = tmp_path / "p.img"
    files = zfs_fuse.create("rings", image)
    for number in range(3):
        (files / f"file-{number}").write_bytes(b"x" * 100)
        zfs_fuse.run("zfs", "snapshot", f"rings@s{number}")
    zfs_fuse.export("rings")
    with open_zfs([image]) as opened:
        newest, before = opened.pool.uberblocks[:2]
    assert Pool([image], before.txg).uberblock == before
    with open(image, "r+b") as file:
        for dva in newest.root.dvas:
            file.seek((4 << 20) + dva.offset)
            file.write(b"torn")
    with open_zfs([image]) as opened:
        assert opened.pool.uberblock == before
        assert f"transaction group {newest.txg} leads nowhere" in opened.pool.notes[-1]
        assert opened.warnings[-1] == opened.pool.notes[-1]
        (problem,) = opened.check().problems
        assert "the pool's own objects" in problem.message
        assert opened.find("file-0").size == 100


BIG = """
import sys
from pathlib import Path
from osvlab.filesystems.zfs import open_zfs

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

with open_zfs([sys.argv[1]]) as files:
    print(sum(map(len, files.read_pieces(files.find("big")))), peak())
"""


@pytest.mark.slow
def test_five_gigabytes_take_sixty_megabytes(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    files = zfs_fuse.create("big", tmp_path / "p.img", size=512 << 20)
    with open(files / "big", "wb") as file:
        for place in (0, 1 << 30, 5 << 30):
            file.seek(place)
            file.write(os.urandom(40 << 20))
    zfs_fuse.export("big")
    ended = subprocess.run(
        [sys.executable, "-c", BIG, tmp_path / "p.img"], capture_output=True, text=True, check=True
    )
    size, megabytes = map(int, ended.stdout.split())
    assert size == (5 << 30) + (40 << 20)
    assert megabytes < 60


def test_zdb_agrees(various: Path, zdb: Callable[..., str]) -> None:
    pool = Pool([various])
    said = zdb("-e", "-p", various.parent, "-d", "various")
    for name, dataset in pool.datasets.items():
        if not dataset.is_internal:
            objects = pool.objects(dataset)
            count = sum(1 for _ in objects.dnodes())
            assert f"Dataset {name} [ZPL]" in said
            line = next(line for line in said.splitlines() if f"Dataset {name} [ZPL]" in line)
            assert f", {count} objects" in line
    pool.close()
