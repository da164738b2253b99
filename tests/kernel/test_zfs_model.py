"""Any operations on files, in any order, with power cuts, without memory or space, compared with a model."""

from __future__ import annotations

import contextlib
import copy
import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel import zfs
from tests.kernel.zfs_model import Model, Node
from tests.kernel.zfs_tool import ZfsTool

RECORD = 131072
NAMES = [b"a", b"b", b"c", b"d.txt", b"x" * 49, b"y" * 50, b"z" * 255, "ü€".encode(), b"name 7", b"-"]
SIZES = [0, 1, 511, 512, 513, 5000, RECORD - 1, RECORD, RECORD + 1, 300001]


def outcome(function: Callable[[], object]) -> int:
    """The number of its error; 0: it has none."""
    try:
        function()
    except OSError as error:
        return error.errno or 0
    return 0


class Files:
    """One pool, the model of what it must hold, and of what it held when it was synced last."""

    def __init__(self, program: Path, folder: Path, seed: int, full: bool = False) -> None:
        self.full = full
        self.dice = random.Random(seed)
        self.image = folder / "pool.img"
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        self.tool = ZfsTool(program, folder)
        ashift, compression = self.dice.choice([(9, 15), (12, 2), (9, 2), (12, 15)])
        self.tool.format(self.image, "lab", ashift, compression)
        self.tool.run("cache", self.dice.choice([1 << 16, 1 << 19, 0]))
        self.tool.open(self.image, "lab")
        if full:
            self.fill()
        self.model = Model()
        self.durable = Model()
        self.unnamed: list[int] = []
        self.log: list[str] = []

    def fill(self) -> None:
        """Leave little space in the pool, in pieces."""
        self.tool.run("create-dataset", "lab/other")
        self.tool.run("dataset", "lab/other")
        data = self.dice.randbytes(300000)
        numbers = 0
        with contextlib.suppress(OSError):
            for numbers in range(1000):
                self.tool.put(b"/%d" % numbers, data)
        for number in self.dice.sample(range(numbers), self.dice.randrange(15)):
            self.tool.insist("rm", b"/%d" % number)
        self.tool.run("sync")
        self.tool.run("dataset", "lab")

    def run(self, steps: int) -> None:
        rules = [self.create, self.make_directory, self.make_link, self.link, self.remove, self.rename]
        rules += [self.write, self.write, self.truncate, self.forget, self.seek, self.list_in_parts]
        weights = [8, 3, 3, 3, 6, 6, 8, 8, 4, 2, 3, 1]
        rules += [self.create_many, self.remove_many, self.sync, self.reopen, self.lose_power, self.same]
        weights += [1, 1, 6, 2, 2, 1]
        try:
            for rule in self.dice.choices(rules, weights, k=steps):
                self.log.append(rule.__name__)
                rule()
            self.same()
            self.reopen()
            self.same()
            self.tool.export()
            self.tool.close()
        except BaseException:
            print("\n".join(self.log[-40:]))
            raise
        finally:
            self.tool.kill()

    # --- Choices

    def pick(self, kind: Callable[[Node], bool] = lambda node: True) -> bytes | None:
        paths = [path for path, node in self.model.walk() if kind(node)]
        return self.dice.choice(paths) if paths else None

    def pick_file(self) -> bytes | None:
        return self.pick(lambda node: node.is_file)

    def name(self) -> bytes:
        return self.dice.choice([*NAMES, b"n%d" % self.dice.randrange(400)])

    def place(self, name: bytes | None = None) -> bytes:
        return self.dice.choice(self.model.directories()) + b"/" + (name or self.name())

    def size(self) -> int:
        return self.dice.choice([*SIZES, self.dice.randrange(4 * RECORD)])

    def command(self, *words: bytes | str | int) -> Callable[[], object]:
        self.log.append(f"  {words}")
        return lambda: self.tool.run(*words)

    def tried(self, real: Callable[[], object]) -> int:
        """Its outcome. Without memory nothing happens at all."""
        self.tool.run("memory", self.dice.choice([0, 0, 0, 1, 2, 3, 5]))
        result = outcome(real)
        self.tool.run("memory", 0)
        return outcome(real) if result == errno.ENOMEM else result

    def both(self, real: Callable[[], object], model: Callable[[], object], grows: bool = False) -> bool:
        """The same by both, with the same error or none; but what grows may find no space, even after a
        sync, and then is not done.
        """
        result = self.tried(real)
        if result == errno.ENOSPC:
            self.sync()
            result = outcome(real)
        if result == errno.ENOSPC and grows and self.full:
            return False
        assert result == outcome(model)
        return True

    # --- Names

    def make(self, mode: int, target: bytes = b"") -> None:
        self.make_at(self.place(), mode, target)

    def make_at(self, path: bytes, mode: int, target: bytes = b"") -> None:
        more = [target] if target else []
        self.both(
            self.command("make", path, f"{mode:o}", *more),
            lambda: self.model.make(path, mode, target),
            grows=True,
        )

    def create(self) -> None:
        self.make(0o100644)

    def make_directory(self) -> None:
        self.make(0o40700)

    def make_link(self) -> None:
        self.make(0o120777, b"/" + b"t" * self.dice.randrange(self.dice.choice([200, 4000])))

    def create_many(self) -> None:
        directory = self.dice.choice(self.model.directories())
        for number in range(self.dice.randrange(500)):
            path = directory + b"/many%d" % number
            if path.rpartition(b"/")[2] not in self.model.find(directory).entries:
                self.make_at(path, 0o100600)

    def remove_many(self) -> None:
        directory = self.dice.choice(self.model.directories())
        for name in list(self.model.find(directory).entries):
            if name.startswith(b"many") and self.dice.random() < 0.7:
                self.remove_at(directory + b"/" + name)

    def link(self) -> None:
        path, new = self.pick(), self.place()
        if path is not None:
            self.both(self.command("link", path, new), lambda: self.model.link(path, new), grows=True)

    def remove(self) -> None:
        path, in_use = self.pick(), self.dice.random() < 0.3
        if path is None:
            return
        number, node = self.tool.stat(path).object, self.model.find(path)
        self.remove_at(path, in_use)
        if in_use and node.links == 0:
            self.unnamed.append(number)

    def remove_at(self, path: bytes, in_use: bool = False) -> None:
        self.both(self.command("rm", path, int(in_use)), lambda: self.model.remove(path))

    def forget(self) -> None:
        if self.unnamed:
            self.both(self.command("forget", self.unnamed.pop()), lambda: None)

    def rename(self) -> None:
        path, onto, in_use = self.pick(), self.pick(), self.dice.random() < 0.3
        new = onto if onto is not None and self.dice.random() < 0.5 else self.place()
        if path is None:
            return
        name = new.rpartition(b"/")[2]
        replaced = self.model.place(new)[0].entries.get(name)
        number = 0 if replaced is None else self.tool.stat(new).object
        renamed = self.command("rename", path, new, int(in_use))
        self.both(renamed, lambda: self.model.rename(path, new), grows=True)
        if in_use and replaced is not None and replaced.links == 0:
            self.unnamed.append(number)

    # --- Contents

    def write(self) -> None:
        path = self.pick_file()
        if path is None:
            return
        size, offset = self.size(), self.dice.choice([0, 0, self.size(), self.dice.randrange(1 << 22)])
        data = self.dice.choice([self.dice.randbytes(size), bytes(size), b"text " * (size // 5)])
        self.log.append(f"  write {path!r} {len(data)} at {offset}")
        done = self.both(
            lambda: self.tool.put(path, data, offset),
            lambda: self.model.write(path, data, offset) if data else None,
            grows=True,
        )
        if not done:
            self.written_in_part(path, data, offset)
        if self.full:  # writing may have done so by itself
            self.sync()

    def written_in_part(self, path: bytes, data: bytes, offset: int) -> None:
        """There was no space for the rest: what came before is there, and nothing else has changed."""
        node, found = self.model.find(path), self.tool.get(path)
        pairs = zip(found[offset:], data, strict=False)
        done = next((at for at, (one, other) in enumerate(pairs) if one != other), len(found) - offset)
        done = min(max(done, 0), len(data))
        if done > 0:
            self.model.write(path, data[:done], offset)
        assert node.data == found

    def truncate(self) -> None:
        path, size = self.pick_file(), self.size()
        if path is not None:
            self.both(self.command("truncate", path, size), lambda: self.model.truncate(path, size))

    def seek(self) -> None:
        """There is nothing but zeros where there is a hole."""
        path = self.pick_file()
        if path is None:
            return
        data, at = self.model.find(path).data, 0
        while at < len(data):
            start = self.seek_data(path, at, len(data))
            assert not any(data[at:start])
            if start == len(data):
                break
            at = int(self.tool.run("seek", path, start, 1)[0])
            assert start < at <= len(data)

    def seek_data(self, path: bytes, at: int, end: int) -> int:
        try:
            return int(self.tool.run("seek", path, at, 0)[0])
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return end

    def list_in_parts(self) -> None:
        """What is there all the time is listed once, whatever comes in between."""
        path, part = self.dice.choice(self.model.directories()), self.dice.randrange(1, 50)
        expected, found, position = set(self.model.find(path).entries), [], 0
        for step in range(10000):
            entries, position = self.tool.ls_part(path, part, position)
            found += [entry.name for entry in entries]
            if len(entries) < part:
                break
            passing = path + b"/passing%d" % step
            if step < 20 and b"passing%d" % step not in self.model.find(path).entries:
                self.make_at(passing, 0o100600)
        assert len(found) == len(set(found))
        assert expected <= set(found)

    # --- Time passes

    def sync(self) -> None:
        assert self.tried(self.command("sync")) == 0
        self.durable = copy.deepcopy(self.model)

    def reopen(self) -> None:
        self.tool.export()
        self.tool.open(self.image, "lab")
        self.durable = copy.deepcopy(self.model)
        self.unnamed.clear()

    def lose_power(self) -> None:
        self.tool.run("abandon")
        self.tool.open(self.image, "lab")
        self.model = copy.deepcopy(self.durable)
        self.unnamed.clear()

    def same(self) -> None:
        found = dict(self.tool.walk())
        expected = dict(self.model.walk())
        assert set(found) == set(expected)
        assert self.tool.stat(b"/").size == len(self.model.root.entries) + 2
        for path, node in expected.items():
            stat = self.tool.stat(path)
            assert (stat.mode, stat.links) == (node.mode, node.links), path
            if node.is_directory:
                assert stat.size == len(node.entries) + 2, path
            elif node.is_file:
                assert stat.size == len(node.data), path
                assert self.tool.get(path) == node.data, path
            else:
                assert self.tool.run("readlink", path) == [node.target]


@pytest.mark.parametrize(("seed", "full"), [*((seed, False) for seed in range(7)), (1, True), (2, True)])
def test_files_are_as_the_model_says(zfs_program: Path, tmp_path: Path, seed: int, full: bool) -> None:
    files = Files(zfs_program, tmp_path, seed, full)
    files.run(150)
    zfs.check(files.image)
    shutil.rmtree(tmp_path)
