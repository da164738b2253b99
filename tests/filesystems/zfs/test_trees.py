"""Random trees: what zfs-fuse was given is what is read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs import open_zfs
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, trees
from tests.filesystems.zfs.zfs_fuse import ZfsFuse

COUNT = itertools.count()


@pytest.fixture(scope="module")
def pool(zfs_fuse: ZfsFuse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    image = tmp_path_factory.mktemp("random") / "random.img"
    yield image, zfs_fuse.create("random", image, size=256 << 20)
    zfs_fuse.export("random")


def put(tree: Directory, top: Path) -> None:
    base = os.fsencode(top)
    for path, node in tree.walk():
        host = base + path
        match node:
            case Directory():
                os.makedirs(host, exist_ok=True)
            case Symlink(target):
                os.symlink(target, host)
            case Content(data):
                with open(host, "wb") as file:
                    file.write(data)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees())
def test_what_is_written_is_read(zfs_fuse: ZfsFuse, pool: tuple[Path, Path], tree: Directory) -> None:
    image, files = pool
    name = f"random/tree-{next(COUNT)}"
    zfs_fuse.run("zfs", "create", name)
    put(tree, files / name.removeprefix("random/"))
    zfs_fuse.run("zfs", "snapshot", f"{name}@now")  # which completes a transaction group
    with open_zfs([image], f"{name}@now") as opened:
        assert facts_of_reader(opened) == facts_of_tree(tree)
        assert opened.pool.state == "active"
