"""What is compiled once for the tests of a session."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.filesystems.zfs.conftest import zdb, zfs_fuse
from tests.kernel import httpserver, zfs
from tests.kernel.runtime import Runtime, build_runtime
from tests.kernel.zfs_tool import ZfsTool

__all__ = ["zdb", "zfs_fuse"]


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that all workers of a session use."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runtime(shared_folder(tmp_path_factory, "runtime-build"))


@pytest.fixture(scope="session")
def rest_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The REST server as a Linux program under the sanitizers, built once."""
    folder = shared_folder(tmp_path_factory, "httpserver-build")
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return httpserver.build(folder)


@pytest.fixture(scope="session")
def zfs_build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a program of `tests/host` with the ZFS module under the sanitizers, each once."""
    folder = shared_folder(tmp_path_factory, "zfs-build")

    def build(test: str, *flags: str) -> Path:
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return zfs.build(folder, test, *flags)

    return build


@pytest.fixture(scope="session")
def zfs_program(zfs_build: Callable[..., Path]) -> Path:
    """The ZFS module as a tool."""
    return zfs_build("zfs_tool")


@pytest.fixture
def tool(zfs_program: Path, tmp_path: Path) -> Iterator[ZfsTool]:
    """That tool, running."""
    folder = tmp_path / "tool"
    folder.mkdir()
    running = ZfsTool(zfs_program, folder)
    yield running
    running.close()


@pytest.fixture
def runtime(built: Path, tmp_path: Path) -> Runtime:
    return Runtime(built, tmp_path)
