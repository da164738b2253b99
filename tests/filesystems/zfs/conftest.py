"""What the tests of ZFS share: another implementation of it, and pools that others made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.filesystems.zfs.trees import make_tree
from tests.filesystems.zfs.zfs_fuse import ZfsFuse, inside, reason_to_skip

COMPRESSIONS = ("off", "lzjb", "zle", "gzip-1", "gzip-6", "gzip-9")
CHECKSUMS = ("fletcher2", "fletcher4", "sha256", "off")


@pytest.fixture(scope="session")
def zfs_fuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZfsFuse]:
    """One zfs-fuse for each process that runs tests."""
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    daemon = ZfsFuse(tmp_path_factory.mktemp("zfs-fuse"))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def openzfs_pools() -> Path:
    """The folder with the pools that OpenZFS tests itself with."""
    folder = os.environ.get("OSVLAB_ZFS_TESTS")
    if not folder:
        pytest.skip("OSVLAB_ZFS_TESTS does not name a folder with OpenZFS's zfs-tests")
    return Path(folder)


@pytest.fixture(scope="session")
def zdb() -> Callable[..., str]:
    """Run OpenZFS's zdb, which has to succeed, and return what it prints."""
    program = os.environ.get("OSVLAB_ZDB")
    if not program:
        pytest.skip("OSVLAB_ZDB does not name OpenZFS's zdb")

    def run(*arguments: str | Path) -> str:
        ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    return run


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as the host has it."""
    top = tmp_path_factory.mktemp("tree") / "top"
    make_tree(top)
    return top


@pytest.fixture(scope="session")
def various(zfs_fuse: ZfsFuse, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with a dataset of each kind, and the same tree in all."""
    image = tmp_path_factory.mktemp("various") / "various.img"
    files = zfs_fuse.create("various", image, size=512 << 20)
    for compression in COMPRESSIONS:
        zfs_fuse.run("zfs", "create", "-o", f"compression={compression}", f"various/{compression}")
        zfs_fuse.run("cp", "-a", f"{tree}/.", f"{inside(zfs_fuse, files)}/{compression}")
    for checksum in CHECKSUMS:
        zfs_fuse.run("zfs", "create", "-o", f"checksum={checksum}", f"various/sum-{checksum}")
        zfs_fuse.run("cp", "-a", f"{tree}/.", f"{inside(zfs_fuse, files)}/sum-{checksum}")
    zfs_fuse.run("zfs", "create", "-o", "recordsize=4k", "-o", "copies=2", "various/small")
    zfs_fuse.run("cp", "-a", f"{tree}/.", f"{inside(zfs_fuse, files)}/small")
    zfs_fuse.export("various")
    return image
