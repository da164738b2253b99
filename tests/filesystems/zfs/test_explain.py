"""From the label to one byte of a file, by pointers alone."""

from __future__ import annotations

import bz2
from itertools import pairwise
from pathlib import Path

import pytest

from osvlab.filesystems.base import Kind
from osvlab.filesystems.structure import Structure
from osvlab.filesystems.zfs import Pool, ZfsFilesystem, open_zfs
from osvlab.filesystems.zfs.nvlist import KINDS


def stored_as_it_is(structure: Structure) -> bool:
    return not structure.within and "packed" not in structure.about and "pointer" not in structure.about


@pytest.mark.parametrize("dataset", ["various/lzjb", "various/gzip-6", "various/small", "various/sum-off"])
def test_the_way_to_a_byte(various: Path, tree: Path, dataset: str) -> None:
    image = various.read_bytes()
    with open_zfs([various], dataset) as files:
        for path, byte in (("text-1500000", 700_000), ("noise-300000", 1), ("deep/level-0/level-1", 0)):
            entry = files.find(path)
            way = files.explain_path(entry, byte)
            assert way[0].name == "label 0 of pool various"
            assert [name for name in ("uberblock of", "object set of the pool", f"object set of {dataset}")
                    if not any(step.name.startswith(name) for step in way)] == []  # fmt: skip
            for before, after in pairwise(way):
                assert any(pointer.read().name == after.name for pointer in before.pointers[:200])
            for step in way:
                if stored_as_it_is(step):
                    assert image[step.offset : step.offset + step.length] == step.raw
            if entry.kind is Kind.FILE:
                block = 4096 if dataset == "various/small" else 131_072
                start = byte // block * block
                assert way[-1].raw == (tree / path).read_bytes()[start : start + block]
            else:
                assert way[-1]["type"] == "directory contents"


def test_a_hole_ends_the_way(various: Path) -> None:
    with open_zfs([various], "various/lzjb") as files:
        way = files.explain_path(files.find("sparse"), 1_000_000)
        assert not way[-1].name.startswith("block 7")
        start = files.explain_path(files.find("sparse"), 3_000_000)
        assert start[-1].name.startswith("block 22")


def test_an_entry_is_explained_by_its_dnode(various: Path) -> None:
    with open_zfs([various], "various/lzjb") as files:
        entry = files.find("text-512")
        dnode = (
            (files / "text-512").explain() if hasattr(files / "x", "explain") else files.explain_entry(entry)
        )
        assert (dnode["mode"], dnode["size"], dnode["owner"]) == ("0o100644", 512, 1234)
        block = dnode.follow("block pointer 0").follow("block")
        assert block.raw == files.read(entry)


def test_everything_near_the_label_can_be_walked(various: Path) -> None:
    with open_zfs([various], "various/lzjb") as files:
        seen = [structure for _, structure in files.explain().walk(3)]
        assert len(seen) > 100
        names = {structure.name for structure in seen}
        assert {"configuration", "vdev_tree", "label 3 of pool various"} <= names
        for structure in seen:
            assert str(structure)
            assert structure._repr_mimebundle_()["text/html"]
            assert len({pointer.name for pointer in structure.pointers}) == len(structure.pointers)
            assert all(field.offset + field.length <= structure.length for field in structure.fields)
        configuration = files.explain() / "configuration"
        assert configuration["name"] == "various"
        assert (configuration / "vdev_tree")["type"] == "file"
        # All that a pool's label says is told with what it means, not with its kind alone.
        told = [field for one in (configuration, configuration / "vdev_tree") for field in one.fields]
        assert [field.name for field in told if field.meaning in KINDS.values()] == []
        assert "of 32 hold one" in files.explain()["uberblocks"]


def test_fields_are_told_in_the_order_of_their_bytes_and_with_what_they_mean(various: Path) -> None:
    with open_zfs([various], "various/lzjb") as files:
        seen = [structure for _, structure in files.explain().walk(7)]
        assert any(structure.name.endswith("(dsl dataset)") for structure in seen)
        for structure in seen:
            assert [field.name for field in structure.fields if not field.meaning] == [], structure.name
            if structure.length == 128:  # a block pointer
                places = [field.offset for field in structure.fields]
                assert places == sorted(places)


def test_snapshots_and_big_endian_pools_are_explained(openzfs_pools: Path) -> None:
    packed = next(openzfs_pools.rglob("zfs-pool-v1.dat.bz2"))
    pool = Pool([bz2.decompress(packed.read_bytes())])
    files = ZfsFilesystem(pool, pool.name)
    for entry in list(files.walk())[:20]:
        way = files.explain_path(entry)
        if entry.kind is Kind.FILE and entry.size:
            assert way[-1].raw[: entry.size] == files.read(entry)
