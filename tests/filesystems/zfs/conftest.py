"""What the tests of ZFS share: another implementation of it, and pools that others made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.filesystems.zfs.zfs_fuse import ZfsFuse, reason_to_skip


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
