"""ZFS of the lab kernel on the host: power cuts and damage, for as long as one likes."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.kernel import test_zfs_damage, test_zfs_model, test_zfs_power, zfs
from tests.soak.conftest import SECONDS

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zfs.build(tmp_path_factory.mktemp("zfs-build"), "zfs_tool")


def test_power_cuts(program: Path, tmp_path: Path, chance: random.Random) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        run = tmp_path / "run"
        run.mkdir()
        test_zfs_power.run(program, run, chance.randrange(2**32), 10)
        shutil.rmtree(run)


def test_damaged_disks(program: Path, tmp_path: Path, chance: random.Random) -> None:
    pool = test_zfs_damage.Pool(program, tmp_path)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        test_zfs_damage.attack(pool, chance, 10)


def test_files_by_chance(program: Path, tmp_path: Path, chance: random.Random) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        run = tmp_path / "run"
        run.mkdir()
        files = test_zfs_model.Files(program, run, chance.randrange(2**32), full=chance.random() < 0.5)
        files.run(400)
        zfs.check(files.image)
        shutil.rmtree(run)
