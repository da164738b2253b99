"""Power cuts: a guest that writes to ZFS is killed at some moment, and what it had made durable is there.

`OSVLAB_SOAK_CUTS` says how many (300). With `OSVLAB_ZDB`, OpenZFS's zdb also looks for leaks.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

import osvlab
from osvlab.filesystems import open as open_filesystem
from osvlab.filesystems.path import GuestPath
from tests.image.pools import judge
from tests.kernel.programs import compile_program

pytestmark = [pytest.mark.soak, pytest.mark.qemu, pytest.mark.timeout(0)]

CUTS = int(os.environ.get("OSVLAB_SOAK_CUTS", "300"))


def _base() -> bytes:
    word, mask, words = 1, (1 << 64) - 1, []
    for _ in range(8192):
        word ^= word << 13 & mask
        word ^= word >> 7
        word ^= word << 17 & mask
        words.append(word)
    base = bytearray(struct.pack("<8192Q", *words))
    for start in range(4096, len(base), 8192):
        base[start : start + 4096] = bytes(4096)
    return bytes(base)


BASE = _base()


def contents(seed: int, size: int) -> bytes:
    """Return what `ledger.c` writes: its base over and over, from the place that the seed says."""
    start = seed % len(BASE)
    return (BASE * (size // len(BASE) + 2))[start : start + size]


class Ledger:
    """What must be there, from the lines that the guest printed."""

    def __init__(self, text: str) -> None:
        self.files: dict[str, tuple[set[str], int, int]] = {}
        self.records = 0
        for line in text.splitlines():
            self._take(line.split())

    def _take(self, words: list[str]) -> None:
        match words:
            case ["F", name, seed, size] if size.isdigit():
                self.files[name] = ({name}, int(seed), int(size))
            case ["O", old, new]:
                _, seed, number = self.files.pop(old)
                self.files[new] = ({old, new}, seed, number)
            case ["N", name] if name in self.files:
                self.files[name] = ({name}, *self.files[name][1:])
            case ["D", name]:
                del self.files[name]
            case ["L", count] if count.isdigit():
                self.records = int(count)

    def check(self, folder: GuestPath) -> None:
        """Compare with what is on the disk."""
        for names, seed, size in self.files.values():
            found = [name for name in names if (folder / name).exists()]
            assert found, f"{names} was durable, and is gone"
            assert (folder / found[0]).read_bytes() == contents(seed, size), found[0]
        log = (folder / "log").read_bytes() if self.records else b""
        assert len(log) >= 8 * self.records
        assert log == struct.pack(f"<{len(log) // 8}Q", *range(len(log) // 8))


def complete_lines(text: str) -> str:
    """Return the lines after the beginning that were printed to their end."""
    return text.partition("begins\n")[2].rpartition("\n")[0]


def test_what_was_durable_survives_every_power_cut(tmp_path: Path, chance: random.Random) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    compile_program("zfs/ledger", tree / "ledger", "-static")
    fresh = osvlab.build(tree, "/ledger /", fs="zfs", size="64M", output=tmp_path / "fresh.img")
    image = tmp_path / "image.img"
    began = time.monotonic()
    for number in range(CUTS):
        if number % 10 == 0:  # every tenth begins anew; the others go on from the last cut
            subprocess.run(["cp", "--sparse=always", fresh.path, image], check=True)
        folder = f"/run{number}"
        with osvlab.run(image, f"/ledger {folder} {chance.randrange(1 << 30)}", persist=True) as vm:
            vm.wait_for("begins")
            time.sleep(chance.random() * 3)
            os.kill(vm.pid, signal.SIGKILL)
            vm.wait(60)
            said = vm.console.text
        fs = open_filesystem(image)
        try:
            report = fs.check()
            assert report.ok, str(report)
            Ledger(complete_lines(said)).check(fs / folder)
        finally:
            fs.close()
        if number % 10 == 9:  # after ten cuts one upon the other
            judge(osvlab.Image.open(image), tmp_path)
    print(f"{CUTS} power cuts in {time.monotonic() - began:.0f} s")
