"""Damage as disks, cables and people do it."""

from __future__ import annotations

import random

# What fields hold when they are wrong: nothing, everything, one too many, a sign.
VALUES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)


def damaged(original: bytes, chance: random.Random, parts: list[range]) -> bytearray:
    """Return a copy of the same size with one to six places changed, each in one of the given parts."""
    image = bytearray(original)
    for _ in range(chance.randint(1, 6)):
        part = chance.choice(parts)
        at = chance.choice(part)
        match chance.randrange(5):
            case 0:
                image[at] ^= 1 << chance.randrange(8)
            case 1:
                image[at] = chance.randrange(256)
            case 2:
                width = chance.choice((2, 4, 8))
                at -= at % 2
                value = chance.choice((*VALUES, chance.randrange(len(image)), chance.randrange(64)))
                put(image, at, (value & ((1 << 8 * width) - 1)).to_bytes(width, "little"))
            case 3:
                length = chance.randint(1, 64)
                source = chance.choice(part)
                put(image, at, image[source : source + length])
            case 4:
                length = chance.randint(1, 512)
                put(image, at, bytes(length))
    return image


def put(image: bytearray, at: int, data: bytes) -> None:
    """Write over what is there, up to the end and not beyond."""
    data = data[: len(image) - at]
    image[at : at + len(data)] = data
