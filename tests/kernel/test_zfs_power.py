"""Power cuts at any write, with any sectors lost that were not flushed: what was synced is there."""

from __future__ import annotations

import contextlib
import copy
import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel import zfs
from tests.kernel.zfs_model import Model
from tests.kernel.zfs_tool import ZfsTool

POOL = "lab"
Step = Callable[[], object]


class PowerCut(Exception):
    """The disk is gone."""


class Machine:
    """A machine whose power is cut again and again, and the model of what its disk must hold."""

    def __init__(self, program: Path, folder: Path, seed: int, ashift: int, compression: int) -> None:
        self.program, self.folder = program, folder
        self.image = folder / "pool.img"
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        self.dice = random.Random(seed)
        self.durable, self.model = Model(), Model()
        self.tool = ZfsTool(program, folder)
        self.tool.format(self.image, POOL, ashift, compression)

    def boot(self) -> None:
        self.tool.close()
        self.tool = ZfsTool(self.program, self.folder)
        self.tool.open(self.image, POOL)
        self.tool.run("cache", 1 << 19)

    def same_as(self, model: Model) -> bool:
        found, expected = dict(self.tool.walk()), dict(model.walk())
        if set(found) != set(expected):
            return False
        for path, node in expected.items():
            if node.is_file and self.tool.get(path) != node.data:
                return False
            if self.tool.stat(path).links != node.links:
                return False
        return True

    def data(self) -> bytes:
        size = self.dice.choice([4, 100, 513, 5000, 40000, 131073, 400000])
        return self.dice.randbytes(size) if self.dice.random() < 0.5 else b"lab " * (size // 4)

    def do(self, *words: bytes | str | int) -> None:
        try:
            self.tool.run(*words)
        except OSError as error:
            raise PowerCut if error.errno == errno.EIO else error from None

    def put(self, path: bytes, data: bytes, offset: int) -> None:
        content = self.folder / "data"
        content.write_bytes(data)
        self.do("put", path, str(content), offset)

    def act(self) -> None:
        """Do one thing, if the model says that it can be done."""
        dice, model, do = self.dice, self.model, self.do
        new = dice.choice(model.directories()) + b"/n%d" % dice.randrange(40)
        there = [path for path, _ in model.walk()]
        old = dice.choice(there) if there else b""
        is_file = model.find(old).is_file
        data, size = self.data(), dice.randrange(300000)
        choices: list[tuple[Step, Step]] = [
            (lambda: model.make(new, 0o40755), lambda: do("make", new, "40755")),
            (lambda: model.make(new, 0o100644), lambda: do("make", new, "100644")),
            (lambda: model.make(new, 0o100644), lambda: do("make", new, "100644")),
            (lambda: model.remove(old), lambda: do("rm", old)),
            (lambda: model.rename(old, new), lambda: do("rename", old, new)),
            (lambda: model.link(old, new), lambda: do("link", old, new)),
        ]
        if is_file:
            choices += [
                (lambda: model.write(old, data, size), lambda: self.put(old, data, size)),
                (lambda: model.write(old, data, 0), lambda: self.put(old, data, 0)),
                (lambda: model.truncate(old, size), lambda: do("truncate", old, size)),
            ] * 2
        expect, act = dice.choice(choices)
        try:
            expect()
        except OSError:
            return
        act()

    def live_until_the_cut(self) -> None:
        """Work and sync now and then; returns when the power is gone."""
        writes = self.dice.choice([3, 30, 300, 3000]) * self.dice.randrange(1, 10)
        self.tool.run("cut", writes, self.dice.randrange(2**32))
        candidates = [self.durable]
        with contextlib.suppress(PowerCut):
            for _ in range(self.dice.randrange(150)):
                self.act()
                if self.dice.random() < 0.1:
                    candidates.append(copy.deepcopy(self.model))
                    self.do("sync")
                    del candidates[:-1]
            candidates.append(copy.deepcopy(self.model))
            self.do("export")
            del candidates[:-1]
        self.boot()
        found = [model for model in candidates if self.same_as(model)]
        assert found, "what was synced is not there"
        self.durable = found[-1]
        self.model = copy.deepcopy(self.durable)


def run(program: Path, folder: Path, seed: int, cuts: int) -> None:
    """Live through so many power cuts; after each, others look at what the disk has."""
    ashift, compression = random.Random(seed).choice([(9, 15), (9, 2), (12, 15), (12, 2)])
    machine = Machine(program, folder, seed, ashift, compression)
    machine.boot()
    for _ in range(cuts):
        machine.live_until_the_cut()
        zfs.check(machine.image, cut=True)
    machine.tool.export()
    machine.tool.close()
    zfs.check(machine.image)


@pytest.mark.parametrize("seed", range(3))
def test_what_was_synced_survives_power_cuts(zfs_program: Path, tmp_path: Path, seed: int) -> None:
    run(zfs_program, tmp_path, seed, 4)
