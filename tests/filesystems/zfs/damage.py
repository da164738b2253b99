"""Damage done to pools, and what may come of it: an error that names what is wrong, or the right data."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError, Filesystem, Kind
from osvlab.filesystems.zfs import Pool, ZfsFilesystem
from osvlab.filesystems.zfs.check import check_pool
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.explain.labels import explain_pool
from tests.filesystems.zfs.trees import in_bulk

Facts = dict[bytes, object]
LABEL = 256 << 10


def used_ranges(image: Path) -> list[tuple[int, int]]:
    """Return start and length of everything in an image that holds something."""
    pool = Pool([image])
    size = image.stat().st_size // LABEL * LABEL
    found = [(place + part, 24 << 10) for place in (0, LABEL, size - 2 * LABEL, size - LABEL)
             for part in (16 << 10, 128 << 10)]  # fmt: skip
    sets = [pool.mos, *(pool.objects(one) for one in pool.datasets.values() if not one.pointer.is_hole)]
    for objects in sets:
        dnodes = [objects.meta, *(one for one in objects.dnodes() if not isinstance(one, DamagedError))]
        pointers = [objects.pointer, *(pointer for dnode in dnodes for _, _, pointer in dnode.walk())]
        found += [(pool.blocks.place_of(dva), p.psize) for p in pointers for dva in p.dvas]
    pool.close()
    return sorted(set(found))


class Hurt:
    """An image that is hurt and healed again."""

    def __init__(self, image: Path, ranges: list[tuple[int, int]]) -> None:
        self.image, self.ranges = image, ranges
        self.whole = image.read_bytes()
        self.size = len(self.whole)

    def fill(self, file: int) -> None:
        """Write everything that is no zeros into an empty image."""
        for start in range(0, self.size, LABEL):
            piece = self.whole[start : start + LABEL]
            if piece.count(0) != len(piece):
                os.pwrite(file, piece, start)

    def _places(self, chance: random.Random, count: int) -> Iterator[tuple[int, int]]:
        for start, length in chance.choices(self.ranges, k=count):
            yield start + chance.randrange(length), length

    def harm(self, chance: random.Random) -> list[tuple[int, bytes]]:
        """Choose what to write where: flipped bits, zeros, noise, or what belongs elsewhere."""
        found = []
        for place, length in self._places(chance, chance.choice((1, 1, 1, 3, 10, 60))):
            match chance.randrange(5):
                case 0 | 1:
                    found.append((place, bytes([self.whole[place] ^ 1 << chance.randrange(8)])))
                case 2:
                    found.append((place, bytes(chance.choice((1, 8, 128, 512, length)))))
                case 3:
                    found.append((place, chance.randbytes(chance.choice((1, 2, 8, 16)))))
                case _:
                    other, size = chance.choice(self.ranges)
                    found.append((place // 512 * 512, self.whole[other : other + size]))
        return [(place, data[: self.size - place]) for place, data in found]

    @contextmanager
    def hurt(self, chance: random.Random) -> Iterator[Path]:
        """Do some damage, and undo it."""
        wounds = self.harm(chance)
        cut = chance.randrange(12) == 0
        with open(self.image, "r+b", buffering=0) as file:
            for place, data in wounds:
                os.pwrite(file.fileno(), data, place)
            if cut:
                file.truncate(chance.randrange(self.size))
        try:
            yield self.image
        finally:
            with open(self.image, "r+b", buffering=0) as file:
                if cut:
                    file.truncate(0)
                    file.truncate(self.size)
                    self.fill(file.fileno())
                for place, data in wounds:
                    os.pwrite(file.fileno(), self.whole[place : place + len(data)], place)


def facts_of(files: Filesystem, complain: Callable[[OsvlabError], None]) -> Facts:
    """Read everything that can be read."""
    found: Facts = {}
    seen = {files.root.number}
    pending = [files.root]
    while pending:
        directory = pending.pop()
        try:
            entries = files.list(directory)
        except OsvlabError as error:
            complain(error)
            with pytest.raises(type(error)), in_bulk():
                files.list(directory)
            continue
        with in_bulk():
            assert files.list(directory) == entries
        for entry in entries:
            try:
                if entry.kind is Kind.FILE and entry.size < 1 << 24:
                    found[entry.path] = files.read(entry)
                elif entry.kind is Kind.SYMLINK:
                    found[entry.path] = files.target(entry)
                else:
                    found[entry.path] = entry.kind
                files.lookup(directory, entry.name)
                if entry.kind is Kind.FILE:
                    for number, _ in enumerate(files.extents(entry)):
                        if number > 1000:
                            break
            except OsvlabError as error:
                complain(error)
            if entry.kind is Kind.DIRECTORY and entry.number not in seen:
                seen.add(entry.number)
                pending.append(entry)
    return found


def unexplained(pool: Pool, limit: int = 60) -> list[OsvlabError]:
    """Walk from the label through so many structures, breadth first, and return the errors on the way."""
    errors: list[OsvlabError] = []
    pending = [explain_pool(pool)]
    for structure in pending:
        try:
            assert str(structure)
            assert structure.raw is not None
            pointers = structure.pointers[: 2 + limit // len(pending)]
        except OsvlabError as error:
            errors.append(error)
            continue
        for pointer in pointers:
            try:
                if len(pending) < limit:
                    pending.append(pointer.read())
            except OsvlabError as error:
                errors.append(error)
    return errors


def read_all(image: Path, dataset: str, txg: int | None = None) -> tuple[Facts, list[OsvlabError]]:
    """Return what an image gives, and the errors; anything else that is raised is a bug."""
    errors: list[OsvlabError] = []
    try:
        pool = Pool([image], txg)
    except OsvlabError as error:
        return {}, [error]
    found: Facts = {}
    try:
        found = facts_of(ZfsFilesystem(pool, dataset), errors.append)
    except OsvlabError as error:
        errors.append(error)
    errors += check_pool(pool).problems
    errors += unexplained(pool)
    pool.close()
    return found, errors


def history_of(image: Path, dataset: str) -> dict[bytes, list[object]]:
    """Return all that can be right: what each transaction group that is still there had.

    When everything of the newest is damaged, the one before it counts.
    """
    pool = Pool([image])
    groups = {uberblock.txg for uberblock in pool.uberblocks}
    pool.close()
    found: dict[bytes, list[object]] = {}
    for txg in groups:
        for path, fact in read_all(image, dataset, txg)[0].items():
            found.setdefault(path, []).append(fact)
    return found


def is_precise(error: OsvlabError) -> bool:
    """Whether an error says what is wrong, and where."""
    if isinstance(error, DamagedError):
        return bool(error.structure) and error.offset >= 0 and f"{error.offset:#x}" in error.message
    return isinstance(error, PoolError)
