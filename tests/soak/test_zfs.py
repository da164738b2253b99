"""ZFS of the lab kernel on the host: power cuts and damage, for as long as one likes."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.kernel import host, test_zfs_damage, test_zfs_fuzz, test_zfs_power, zfs
from tests.soak.conftest import SECONDS

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


def test_power_cuts(tmp_path: Path, chance: random.Random) -> None:
    program = zfs.build(tmp_path / "tool", "zfs_tool", zfs.sources())
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        folder = tmp_path / "run"
        folder.mkdir()
        test_zfs_power.run(program, folder, chance.randrange(2**32), 10, test_zfs_power.no_judge)
        shutil.rmtree(folder)


def test_damage(tmp_path: Path, chance: random.Random) -> None:
    fuzz, image = test_zfs_fuzz.build(tmp_path)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        host.run(fuzz, str(image), "300", str(chance.randrange(2**40)), seconds=600)


def test_damaged_disks(tmp_path: Path, chance: random.Random) -> None:
    pool = test_zfs_damage.Pool(tmp_path)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        test_zfs_damage.attack(pool, chance, 10)
