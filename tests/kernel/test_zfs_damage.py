"""Flipped, zeroed, swapped and lost bytes on the disk: the right data from another copy, or an error."""

from __future__ import annotations

import random
from pathlib import Path

from tests.kernel import zfs
from tests.kernel.zfs_tool import ZfsTool
from tests.soak.damage import damaged

SECTOR = 512


class Pool:
    """A pool, what is in it, and where on its disk anything is."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.image = folder / "pool.img"
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        self.files: dict[bytes, bytes] = {}
        self.fill(random.Random(1))
        content = self.image.read_bytes()
        self.used = [at for at in range(0, len(content), SECTOR) if any(content[at : at + SECTOR])]

    def fill(self, dice: random.Random) -> None:
        tool = ZfsTool(self.program, self.folder)
        tool.format(self.image, "lab")
        tool.open(self.image, "lab")
        for number in range(30):
            if number % 10 == 0:
                tool.run("make", f"/folder {number}", "40755")
            path = b"/folder %d/file %d" % (number // 10 * 10, number)
            size = dice.choice([10, 3000, 140000, 400000])
            self.files[path] = dice.randbytes(size) if number % 2 else b"some words " * (size // 11)
            tool.put(path, self.files[path])
        tool.export()
        tool.close()

    def damage(self, dice: random.Random) -> dict[int, bytes]:
        """Damage a few sectors; return what was there."""
        before = {}
        with self.image.open("r+b") as file:
            for at in dice.sample(self.used, dice.choice([1, 3, 10, 100])):
                file.seek(at)
                before[at] = file.read(SECTOR)
                file.seek(at)
                file.write(damaged(before[at] + bytes(64), dice, [range(SECTOR)])[:SECTOR])
        return before

    def repair(self, before: dict[int, bytes]) -> None:
        for at, data in before.items():
            zfs.overwrite(self.image, at, data)

    def read_all(self) -> tuple[int, int]:
        """How many files were read right, and how many not at all; nothing may be read wrong."""
        right = lost = 0
        tool = ZfsTool(self.program, self.folder)
        try:
            tool.open(self.image, "lab", read_only=True)
        except OSError:
            tool.close()
            return 0, len(self.files)
        for path, data in self.files.items():
            try:
                assert tool.get(path) == data
                right += 1
            except OSError:
                lost += 1
        tool.close()
        return right, lost


def attack(pool: Pool, dice: random.Random, rounds: int) -> tuple[int, int]:
    right = lost = 0
    for _ in range(rounds):
        before = pool.damage(dice)
        found = pool.read_all()
        pool.repair(before)
        right, lost = right + found[0], lost + found[1]
    return right, lost


def test_no_wrong_byte_is_taken_for_right(zfs_program: Path, tmp_path: Path) -> None:
    pool = Pool(zfs_program, tmp_path)
    right, lost = attack(pool, random.Random(3), 40)
    assert right > lost > 0
    assert pool.read_all() == (len(pool.files), 0)
