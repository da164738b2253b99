"""A check finds nothing in what others left in order, and names what was broken."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.tree import Content, Directory
from osvlab.filesystems.zfs import Pool, open_zfs
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.check import check_pool
from osvlab.filesystems.zfs.format import DVA, BlockPointer
from osvlab.filesystems.zfs.objects import ObjectSet
from osvlab.filesystems.zfs.space import Claims, Run, differences
from tests.filesystems.zfs.trees import make_tree
from tests.filesystems.zfs.writer.pools import write_pool
from tests.filesystems.zfs.zfs_fuse import ZfsFuse, inside


def checked(*images: Path) -> str:
    pool = Pool(images)
    report = check_pool(pool)
    pool.close()
    return str(report)


def test_a_pool_with_everything_is_in_order(various: Path) -> None:
    pool = Pool([various])
    report = check_pool(pool)
    pool.close()
    assert not report.problems
    assert report.counts["files"] > 900
    assert report.counts["bytes in use"] > 10 << 20


@pytest.mark.parametrize("version", [1, 8, 15, 23])
def test_a_pool_that_was_worked_on(zfs_fuse: ZfsFuse, tmp_path: Path, version: int) -> None:
    """Snapshots, clones, removals, overwriting, and snapshots that are gone again."""
    name = f"worked{version}"
    files = zfs_fuse.create(name, tmp_path / "p.img", size=128 << 20, options=("-o", f"version={version}"))
    chance = random.Random(version)
    for step in range(6):
        make_tree(files / f"tree-{step}", files=200, seed=step)
        zfs_fuse.run("zfs", "snapshot", f"{name}@step-{step}")
        for path in sorted((files / f"tree-{step}").glob("folder-*/*")):
            if chance.random() < 0.4:
                path.unlink()
            elif chance.random() < 0.3:
                path.write_bytes(chance.randbytes(chance.randrange(9000)))
        if step in (2, 4):
            zfs_fuse.run("rm", "-r", f"{inside(zfs_fuse, files)}/tree-{step - 1}")
    zfs_fuse.run("zfs", "destroy", f"{name}@step-1")
    zfs_fuse.run("zfs", "destroy", f"{name}@step-4")
    zfs_fuse.run("zfs", "clone", f"{name}@step-2", f"{name}/clone")
    zfs_fuse.run("rm", "-r", f"{inside(zfs_fuse, files)}/clone/tree-0")
    zfs_fuse.run("sync")
    zfs_fuse.export(name)
    assert "no problem" in checked(tmp_path / "p.img")


def test_a_pool_in_use_is_in_order_too(zfs_fuse: ZfsFuse, tmp_path: Path) -> None:
    files = zfs_fuse.create("inuse", tmp_path / "p.img")
    make_tree(files / "tree")
    zfs_fuse.run("sh", "-c", f"cd {inside(zfs_fuse, files)} && dd if=/dev/zero of=x count=9 conv=fsync")
    zfs_fuse.run("sync")
    copy = tmp_path / "copy.img"
    copy.write_bytes((tmp_path / "p.img").read_bytes())
    zfs_fuse.export("inuse")
    said = checked(copy)
    assert "no problem" in said
    assert "not checked: what its machine wrote last, or writes now: the pool was not exported" in said
    assert "not checked" not in checked(tmp_path / "p.img")


def test_zdb_counts_the_same(various: Path, zdb: Callable[..., str]) -> None:
    said = zdb("-e", "-p", various.parent, "-bcc", "various")
    assert "No leaks" in said
    allocated = next(line for line in said.splitlines() if "bp allocated:" in line).split()[2]
    pool = Pool([various])
    assert check_pool(pool).counts["bytes in use"] == int(allocated)
    pool.close()


def test_damage_is_named(various: Path, tmp_path: Path) -> None:
    pool = Pool([various])
    objects = pool.objects(pool.datasets["various/sum-sha256"])
    big = max((d for d in objects.dnodes() if not isinstance(d, Exception)), key=lambda d: d.used)
    pointers = [pointer for level, _, pointer in big.walk() if not level]
    place = (4 << 20) + pointers[3].dvas[0].offset
    pool.close()
    hurt = tmp_path / "hurt.img"
    hurt.write_bytes(various.read_bytes())
    with open(hurt, "r+b") as file:
        file.seek(place + 100)
        file.write(b"?")
        file.seek(0x4000)
        file.write(bytes(100))
    pool = Pool([hurt])
    report = check_pool(pool)
    pool.close()
    assert [str(problem.message) for problem in report.problems] == [
        "damaged ZFS: label 0 at byte 0x0 has a wrong checksum",
        f"damaged ZFS: a block of object {big.number} of various/sum-sha256 at byte {place:#x} "
        "has a wrong checksum (sha256)",
    ]


class Surgeon:
    """Changes blocks that are stored as they are, for a reader that believes every checksum."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tree = Directory({name: Content(name * 70_000) for name in (b"a", b"b", b"c")})
        self.image = write_pool(tree, tmp_path / "p.img", size=64 << 20, compression=None)
        monkeypatch.setattr(Blocks, "_is_right", lambda self, pointer, data, what: True)

    def places_of(self, pool: Pool, objects: ObjectSet, number: int) -> list[int]:
        """Where the copies of a dnode are in the image."""
        index, slot = divmod(number, objects.slots)
        pointer = objects.meta.pointer_to(index)
        assert pointer is not None
        return [pool.blocks.place_of(dva) + slot * 512 for dva in pointer.dvas]

    def dnodes(self) -> dict[bytes, list[int]]:
        """Where the dnodes of the files are."""
        with open_zfs([self.image]) as files:
            objects = files.files.objects
            return {
                entry.name: self.places_of(files.pool, objects, entry.number)
                for entry in files.list(files.root)
            }

    def write(self, places: list[int], offset: int, data: bytes) -> None:
        with open(self.image, "r+b") as file:
            for place in places:
                file.seek(place + offset)
                file.write(data)

    def read(self, places: list[int], offset: int, length: int) -> bytes:
        with open(self.image, "rb") as file:
            file.seek(places[0] + offset)
            return file.read(length)


def test_a_block_that_nothing_points_to_has_leaked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surgeon = Surgeon(tmp_path, monkeypatch)
    places = surgeon.dnodes()[b"b"]
    lost = BlockPointer.unpack(surgeon.read(places, 64, 128)).dvas[0]
    surgeon.write(places, 64, bytes(128))
    said = checked(surgeon.image)
    assert "1 problem" in said
    where = (4 << 20) + lost.offset
    assert f"space of vdev 0 ({lost.asize} bytes) at byte {where:#x} has leaked" in said


def test_what_a_dataset_had_that_is_being_destroyed_has_not_leaked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surgeon = Surgeon(tmp_path, monkeypatch)
    surgeon.write(surgeon.dnodes()[b"b"], 64, bytes(128))
    with closing(Pool([surgeon.image])) as pool:
        pool.features["com.delphix:async_destroy"] = 0
        assert "has leaked" in str(check_pool(pool))
        pool.features["com.delphix:async_destroy"] = 1
        assert str(check_pool(pool)).splitlines()[1:] == [
            "  not checked: whether space has leaked: a dataset is being destroyed"
        ]


def test_a_block_of_two_files_is_taken_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surgeon = Surgeon(tmp_path, monkeypatch)
    places = surgeon.dnodes()
    with open_zfs([surgeon.image]) as files:
        numbers = {entry.name: entry.number for entry in files.list(files.root)}
    surgeon.write(places[b"b"], 64, surgeon.read(places[b"a"], 64, 128))
    said = checked(surgeon.image)
    first, second = sorted((numbers[b"a"], numbers[b"b"]))
    assert f"is taken twice: by object {first} of osv and by object {second} of osv" in said
    assert "has leaked" in said


def test_what_is_not_checked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surgeon = Surgeon(tmp_path, monkeypatch)
    places = surgeon.dnodes()
    surgeon.write(places[b"b"], 64, surgeon.read(places[b"a"], 64, 128))
    # Such pools take another system to make, and are read as any other.
    for feature, says in (
        ("com.delphix:log_spacemap", ["is taken twice"]),
        ("com.fudosecurity:block_cloning", []),
    ):
        with closing(Pool([surgeon.image])) as pool:
            pool.features[feature] = 1
            report = check_pool(pool)
        assert [says[0] in problem.message for problem in report.problems] == [True] * len(says)
        (told,) = report.unchecked
        assert told == f"whether all space is accounted for: the pool uses {feature}"
        assert str(report).endswith(f"\n  not checked: {told}")


def test_a_space_map_that_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surgeon = Surgeon(tmp_path, monkeypatch)
    pool = Pool([surgeon.image])
    table = pool.mos.dnode(pool.blocks.vdevs[0].metaslab_array)
    number = next(number for number in struct.unpack("<32Q", table.read(0, 256)) if number)
    bonus = 64 + 128 * pool.mos.dnode(number).pointer_count
    surgeon.write(surgeon.places_of(pool, pool.mos, number), bonus, struct.pack("<3Q", number, 0, 0))
    pool.close()
    assert "is free, but in use by" in checked(surgeon.image)


def test_names_and_links_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surgeon = Surgeon(tmp_path, monkeypatch)
    with open_zfs([surgeon.image]) as files:
        entry = files.find("b")
        registry = files.files.registry
        assert registry is not None
        dnode = files.files.objects.dnode(entry.number)
        starts = {name: start + 192 for name, start, _ in registry.places(dnode.bonus, dnode)}
    places = surgeon.dnodes()[b"b"]
    surgeon.write(places, starts["ZPL_LINKS"], struct.pack("<Q", 5))
    said = checked(surgeon.image)
    assert f"object {entry.number} of osv at" in said
    assert "(file) has 5 links and should have 1" in said
    surgeon.write(places, starts["ZPL_MODE"], struct.pack("<Q", 0o010644))
    assert "is of type 8" in checked(surgeon.image)


runs = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12)


@given(runs, runs)
def test_differences_are_those_of_sets(claimed: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    claims = Claims()
    for start, size in claimed:
        claims.add(DVA(0, start, size), 1)
    state = np.zeros(80, bool)
    for start, size in taken:
        state[start : start + size] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], state, [False]]).astype(int))).reshape(-1, 2)
    leaked, unmapped = differences(claims, [Run(int(a), int(b)) for a, b in edges])
    held = {byte for start, size in claimed for byte in range(start, start + size)}
    mapped = set(np.flatnonzero(state).tolist())
    assert {byte for run in leaked for byte in range(run.start, run.end)} == mapped - held
    assert {byte for run in unmapped for byte in range(run.start, run.end)} == held - mapped


@given(runs)
def test_what_is_claimed_twice_is_found(claimed: list[tuple[int, int]]) -> None:
    claims = Claims()
    counts = np.zeros(80, int)
    for number, (start, size) in enumerate(claimed):
        claims.add(DVA(0, start, size), number)
        counts[start : start + size] += 1
    found: set[int] = set()
    for start, end, first, second in claims.twice():
        assert first != second
        for owner in (first, second):
            at, size = claimed[owner]
            assert at <= start < end <= at + size
        found |= set(range(start, end))
    assert found == set(np.flatnonzero(counts > 1).tolist())
