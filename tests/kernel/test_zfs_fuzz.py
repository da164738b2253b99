"""Damage inside of pools that no checksum shows: an error, never a crash, an endless loop or a leak."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel import fuzz, host
from tests.kernel.zfs_tool import ZfsTool


def make_pool(program: Path, folder: Path) -> Path:
    """Make a pool with something of everything."""
    tool = ZfsTool(program, folder)
    image, dice = folder / "pool.img", random.Random(1)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    tool.format(image, "p")
    tool.open(image, "p")
    for path in ("/many", "/deep", "/deep/er"):
        tool.run("make", path, "40755")
    for number in range(300):
        tool.run("make", f"/many/a rather long name of entry {number}", "100644")
    for number in range(40):
        tool.put(b"/file %d" % number, dice.randbytes(300) + b"x" * number * 977)
    tool.put(b"/deep/er/large", dice.randbytes(3 << 20))
    tool.put(b"/deep/er/sparse", b"end", 300 << 20)
    tool.run("make", "/link", "120777", "y" * 60)
    tool.run("make", "/deep/link", "120777", "y" * 900)
    tool.run("create-dataset", "p/inner")
    tool.export()
    tool.close()
    return image


def test_damage_does_no_harm(
    zfs_build: Callable[..., Path], zfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLS", str(make_pool(zfs_program, tmp_path)))
    host.run(zfs_build("pool_blind", *fuzz.POOL), "1500", "1")


@pytest.fixture
def empty(zfs_program: Path, tmp_path: Path) -> Path:
    tool, image = ZfsTool(zfs_program, tmp_path), tmp_path / "pool.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    tool.format(image, "p")
    tool.close()
    return image


@pytest.mark.parametrize("name", ["zfs_rewrite_test", "zfs_wrong_test"])
def test_what_fuzzing_found_stays_an_error(name: str, zfs_build: Callable[..., Path], empty: Path) -> None:
    host.run(zfs_build(name), str(empty))
