"""What is planned is enough: no tree takes more room than was reckoned for it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs.writer.blocks import Blocks, Codec, NoDisk
from osvlab.filesystems.zfs.writer.dataset import store_dataset
from osvlab.filesystems.zfs.writer.space import Geometry, Space
from osvlab.filesystems.zfs.writer.write import plan_zfs
from tests.filesystems.strategies import trees
from tests.filesystems.zfs.writer.pools import nested

WAYS: list[dict[str, Any]] = [
    {"compression": None},
    {"compression": None, "ashift": 12},
    {"compression": None, "compat": "v23"},
    {"compression": "lz4"},
]


def assert_room(tree: Directory, **options: Any) -> None:
    """Store a tree nowhere, and compare what it took with what was planned."""
    plan = plan_zfs(tree, **options)
    (dataset,) = plan.datasets
    geometry = Geometry(8 << 30, plan.options.ashift)
    space = Space(geometry, 4 << 30)
    codec = Codec(plan.options.compression, "sha256", plan.options.ashift)
    store_dataset(Blocks(NoDisk(), space, codec), dataset, plan.options, None, lambda size: None)
    taken = {at: sum(length for _, length in runs) for at, runs in space.by_metaslab().items()}
    front = next(index for index in range(geometry.metaslabs) if index not in taken)
    first = sum(size for at, size in taken.items() if at < front)
    second = sum(size for at, size in taken.items() if at > front)
    assert second <= dataset.metadata_room
    assert first - second <= dataset.data_room


@given(trees(), st.sampled_from(WAYS))
@settings(deadline=None, max_examples=60)
def test_for_any_tree(tree: Directory, options: dict[str, Any]) -> None:
    assert_room(tree, **options)


def long_names(count: int) -> Directory:
    chance = random.Random(count)
    return Directory({chance.randbytes(127).hex().encode(): Content(b"") for _ in range(count)})


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(
    "tree",
    [
        nested(2000),
        long_names(1),
        long_names(45),
        long_names(46),
        long_names(3000),
        Directory({b"%d" % n: Symlink(b"t" * (n + 1)) for n in range(4000)}),
        Directory({b"%d" % n: Directory() for n in range(3000)}),
        Directory({b"%d" % n: Content(random.Random(n).randbytes(n * 70)) for n in range(2500)}),
        Directory({b"large": Content(random.Random(1).randbytes(40 << 20))}),
    ],
    ids=["deep", "name", "names-45", "names-46", "names", "links", "directories", "files", "large"],
)
def test_for_trees_that_are_hard(tree: Directory, options: dict[str, Any]) -> None:
    assert_room(tree, **options)


def test_the_size_is_what_is_needed_and_asked_for() -> None:
    small = plan_zfs(Directory(), free=0).size
    assert small == 64 << 20
    data = Directory({b"a": Content(bytes(range(256)) * (1 << 18))})  # 64 MiB
    assert 64 << 20 < plan_zfs(data, free=0).size < 110 << 20
    assert plan_zfs(data, free=1 << 30).size - plan_zfs(data, free=0).size > 1 << 30
