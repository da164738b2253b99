"""The lower half of the ZFS module on pools of zfs-fuse: labels, uberblocks, blocks, space."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.filesystems.zfs.zfs_fuse import ZfsFuse
from tests.kernel import zfs

NAME = "walked"


@pytest.fixture(scope="module")
def walk(zfs_build: Callable[..., Path]) -> Path:
    return zfs_build("zfs_walk_test")


@pytest.fixture(scope="module")
def space(zfs_build: Callable[..., Path]) -> Path:
    return zfs_build("zfs_space_test")


def fill(files: Path, dice: random.Random) -> None:
    files.mkdir(exist_ok=True)
    for number in range(150):
        words = [dice.randbytes(dice.randrange(9)) for _ in range(40)]
        text = b"".join(dice.choice(words) for _ in range(dice.randrange(20000)))
        (files / f"file {number}").write_bytes(text + bytes(dice.randrange(3000)))
    (files / "noise").write_bytes(dice.randbytes(1 << 20))


@pytest.fixture(scope="module", params=[9, 12], ids=["ashift9", "ashift12"])
def pool(
    zfs_fuse: ZfsFuse, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An exported pool with every checksum and compression there is."""
    image = tmp_path_factory.mktemp("pool") / "pool.img"
    files = zfs_fuse.create(NAME, image, size=128 << 20, options=("-o", f"ashift={request.param}"))
    dice = random.Random(1)
    options = ["compression=lzjb", "compression=gzip-9", "compression=zle", "copies=2"]
    for option in [*options, "checksum=sha256", "checksum=fletcher2", "checksum=fletcher4"]:
        dataset = option.replace("=", "-")
        zfs_fuse.run("zfs", "create", "-o", option, f"{NAME}/{dataset}")
        fill(files / dataset, dice)
    zfs_fuse.run("zfs", "snapshot", f"{NAME}/copies-2@before")
    fill(files / "copies-2", dice)
    zfs_fuse.export(NAME)
    return image


@pytest.fixture
def copy(pool: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(pool, tmp_path))


def walked(walk: Path, image: Path) -> dict[str, int]:
    done = subprocess.run([walk, image], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["pool", NAME]
    return {name: int(value) for name, value in zip(words[2::2], words[3::2], strict=True)}


def refusal(walk: Path, image: Path) -> str:
    done = subprocess.run([walk, image], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_all_blocks_are_read_and_counted_as_by_zdb(walk: Path, pool: Path, zfs_fuse: ZfsFuse) -> None:
    report = zfs_fuse.run("zdb", "-e", "-p", pool.parent, "-bb", NAME)
    found = walked(walk, pool)
    assert found["bad"] == 0
    sums = re.findall(r"bp (count|logical|physical|allocated): +(\d+)", report)
    counted = {kind: int(number) for kind, number in sums}
    # Blocks that wait to be freed, and those of the log, are known to zdb only.
    unseen = re.findall(r"^\s*(\d+)\s.*(?:deferred free|intent log)$", report, re.MULTILINE)
    assert found["blocks"] == counted["count"] - sum(map(int, unseen))
    for kind in ("logical", "physical", "allocated"):
        assert counted[kind] * 0.98 < found[kind] <= counted[kind]


@pytest.mark.parametrize("good", range(4))
def test_one_whole_label_is_enough(walk: Path, copy: Path, good: int) -> None:
    expected = walked(walk, copy)
    for number, offset in enumerate(zfs.label_offsets(copy)):
        if number != good:
            zfs.overwrite(copy, offset + zfs.CONFIG + 700, b"damage")
            zfs.overwrite(copy, offset + zfs.RING, bytes(128 << 10))
    assert walked(walk, copy) == expected


def test_without_a_whole_label_there_is_no_pool(walk: Path, copy: Path) -> None:
    for offset in zfs.label_offsets(copy):
        zfs.overwrite(copy, offset + zfs.CONFIG + 100000, b"damage")
    text = refusal(walk, copy)
    assert "label 3" in text
    assert "has no label of a pool" in text


@pytest.mark.parametrize("torn", [1, 2, 5])
def test_torn_uberblocks_are_passed_over(walk: Path, copy: Path, torn: int) -> None:
    shift = zfs.slot_shift(copy)
    newest = zfs.uberblocks(copy)
    for _, at in newest[:torn]:
        for offset in zfs.label_offsets(copy):
            zfs.overwrite(copy, offset + at + (1 << shift) - 8, b"torn")
    assert walked(walk, copy)["txg"] == newest[torn][0]


def test_metadata_is_read_from_its_other_copies(walk: Path, copy: Path) -> None:
    expected = walked(walk, copy)
    (_, at), *_ = zfs.uberblocks(copy)
    with copy.open("rb") as file:
        file.seek(at + 40)
        copies = struct.unpack("<6Q", file.read(48))
    for word in copies[1:4:2]:
        zfs.overwrite(copy, (4 << 20) + (word << 9) + 100, b"damage")
    assert walked(walk, copy) == expected


def test_versions_and_vdevs_that_are_not_known_are_refused(walk: Path, copy: Path) -> None:
    zfs.change_labels(copy, lambda region: region.replace(b"\0\0\0\x04file", b"\0\0\0\x04mirr"))
    assert "its vdev is mirr" in refusal(walk, copy)
    zfs.change_labels(copy, lambda region: region.replace(b"\0\0\0\x04mirr", b"\0\0\0\x04file"))
    walked(walk, copy)
    number = struct.pack(">IIQ", 8, 1, 23)
    zfs.change_labels(copy, lambda region: region.replace(number, struct.pack(">IIQ", 8, 1, 29), 1))
    assert "version 29" in refusal(walk, copy)


def test_a_disk_that_was_cut_is_refused(walk: Path, copy: Path) -> None:
    with copy.open("r+b") as file:
        file.truncate(100 << 20)
    assert "was cut" in refusal(walk, copy)


@pytest.mark.parametrize("seed", [1, 2])
def test_space_is_found_taken_and_given_back(space: Path, copy: Path, zfs_fuse: ZfsFuse, seed: int) -> None:
    before = zfs_fuse.run("zdb", "-e", "-p", copy.parent, "-m", NAME)
    output = subprocess.run([space, copy], capture_output=True, text=True, check=True).stdout
    used = [int(line.split()[1]) for line in output.splitlines()]
    shift = re.search(r"metaslab +1 +offset +([0-9a-f]+)", before)
    assert shift is not None
    free = re.findall(r"metaslab +\d+ .* free +([\d.]+)([KM]?)", before)
    assert len(free) == len(used)
    for taken, (number, unit) in zip(used, free, strict=True):
        left = (int(shift[1], 16) - taken) / {"": 1, "K": 1 << 10, "M": 1 << 20}[unit]
        assert abs(left - float(number)) <= 0.051 * max(1.0, float(number))
    done = subprocess.run([space, copy, "80", str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = zfs_fuse.run("zdb", "-e", "-p", copy.parent, "-bcc", NAME)
    assert "No leaks" in after
