"""Whole ZFS pools with damage that checksums do not show: what blocks hold once they are read is changed.

An input is a list of steps of 16 bytes: block, place in it, how, and a value.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

from osvlab.filesystems.zfs import labels
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.format import BlockPointer
from tests.filesystems.zfs.damage import is_precise, read_all

STEP = struct.Struct("<HHHBxQ")
STEPS = 32
VALUES = (
    0,
    1,
    2,
    3,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    1 << 31,
    (1 << 32) - 1,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
BULK = 19  # contents of files: no structure, so no place for damage


class Places:
    """Which blocks there are, in the order in which an undamaged pool is read."""

    def __init__(self) -> None:
        self.known: dict[object, int] = {}
        self.steps: list[tuple[int, ...]] = []
        self.looking = True

    def damaged(self, key: object, data: bytes) -> bytes:
        if self.looking:
            self.known.setdefault(key, len(self.known))
        if not self.steps or not data or key not in self.known:
            return data
        changed = bytearray(data)
        for block, at, other, how, value in self.steps:
            if block % len(self.known) == self.known[key]:
                change(changed, at, other, how, value)
        return bytes(changed)


def change(data: bytearray, at: int, other: int, how: int, value: int) -> None:
    width = 1 << (how & 3)
    at, other = at % len(data) // width * width, other % len(data)
    before = int.from_bytes(data[at : at + width], "little")
    match how >> 2 & 3:
        case 1:
            value += before
        case 2:
            value ^= before
        case 3:
            part = data[other : other + (1 << (how >> 4 & 7))][: len(data) - at]
            data[at : at + len(part)] = part
            return
    data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")[: len(data) - at]


PLACES = Places()
_unpacked, _ring = Blocks.unpacked, labels._ring


def unpacked(self: Blocks, pointer: BlockPointer, stored: bytes, what: str) -> bytes:
    data = _unpacked(self, pointer, stored, what)
    if pointer.kind == BULK and not pointer.level:
        return data
    return PLACES.damaged(tuple(pointer.dvas[:1]), data)


def ring(data: bytes, start: int, place: int, label: int) -> Iterator[labels.Uberblock]:
    return _ring(PLACES.damaged(("ring", label), data), start, place, label)


def images() -> list[tuple[Path, dict[object, int]]]:
    """The pools that the environment names, and the blocks of each."""
    Blocks.unpacked = unpacked  # type: ignore[method-assign]
    Blocks._is_right = lambda self, pointer, data, what: len(data) == pointer.psize  # type: ignore[method-assign]
    labels._ring = ring
    labels.eck_is_right = lambda region, verifier: "<"
    found = []
    for name in os.environ["POOLS"].split(os.pathsep):
        PLACES.known = {}
        facts, errors = read_all(Path(name), "p")
        assert facts
        assert not errors
        found.append((Path(name), PLACES.known))
    PLACES.looking = False
    return found


def pool(data: bytes) -> None:
    if not IMAGES:
        IMAGES.extend(images())
    size = len(data) // STEP.size * STEP.size
    steps = list(STEP.iter_unpack(data[:size]))
    image, PLACES.known = IMAGES[len(steps) % len(IMAGES)]
    PLACES.steps = steps
    _, errors = read_all(image, "p")
    assert all(map(is_precise, errors)), [str(error) for error in errors if not is_precise(error)]
    PLACES.steps = []


IMAGES: list[tuple[Path, dict[object, int]]] = []


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Change, add, take out or move a step, so that the others keep their meaning."""
    chance = random.Random(seed)
    steps = [data[at : at + STEP.size] for at in range(0, len(data) - STEP.size + 1, STEP.size)]
    match chance.randrange(6) if steps else 0:
        case 0:
            new = STEP.pack(
                *(chance.randrange(1 << 9) for _ in range(3)), chance.randrange(256), chance.choice(VALUES)
            )
            steps.insert(chance.randrange(len(steps) + 1), new)
        case 1:
            steps.pop(chance.randrange(len(steps)))
        case 2:
            chance.shuffle(steps)
        case _:
            index = chance.randrange(len(steps))
            steps[index] = bytes(atheris.Mutate(steps[index], STEP.size)).ljust(STEP.size, b"\0")
    return b"".join(steps[: min(STEPS, most // STEP.size)])


TARGETS: dict[str, Callable[[bytes], None]] = {"pool": pool}
