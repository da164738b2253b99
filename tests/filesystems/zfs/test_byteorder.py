"""Blocks turned round: what a big-endian machine would have written comes out as a little-endian one's."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osvlab.filesystems.zfs.byteorder import little_endian
from osvlab.filesystems.zfs.format import C, ObjectType

LEAF_ENTRY = "2B5HIQ"
LEAF_ARRAY = "B21sH"
# By name: the type of the object, and the layout of a whole block of it, whose first word may be given.
LAYOUTS = {
    "directory": (ObjectType.DSL_DIR, "32Q", None),
    "dataset": (ObjectType.DSL_DATASET, "40Q", None),
    "znode": (ObjectType.ZNODE, "23QIHH" + "HHI" * 9, None),
    "micro": (ObjectType.DIRECTORY_CONTENTS, "8Q" + "QIH50s" * 7, C.ZAP_MICRO),
    "fat": (ObjectType.DIRECTORY_CONTENTS, "2048Q", C.ZAP_HEADER),
    "table": (ObjectType.DIRECTORY_CONTENTS, "2048Q", 77),
}
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("name", LAYOUTS)
@given(seeds)
def test_blocks(name: str, seed: int) -> None:
    kind, layout, first = LAYOUTS[name]
    raw = random.Random(seed).randbytes(struct.calcsize(f"<{layout}"))
    values = struct.unpack(f"<{layout}", raw)
    values = values if first is None else (first, *values[1:])
    turned = little_endian(struct.pack(f">{layout}", *values), kind, 0)
    assert turned == struct.pack(f"<{layout}", *values)


@given(st.lists(st.booleans(), min_size=38, max_size=38), seeds)
def test_leaves(is_entry: list[bool], seed: int) -> None:
    chance = random.Random(seed)
    layout, values = "3QI4H12B64H", [C.ZAP_LEAF, *(chance.randrange(256) for _ in range(83))]
    for entry in is_entry:
        part = LEAF_ENTRY if entry else LEAF_ARRAY
        chunk = struct.unpack(f"<{part}", chance.randbytes(24))
        layout += part
        values += [C.CHUNK_ENTRY if entry else C.CHUNK_ARRAY, *chunk[1:]]
    room = bytes(2048 - struct.calcsize(f"<{layout}"))
    little, big = (struct.pack(f"{order}{layout}", *values) + room for order in "<>")
    assert (
        little_endian(big, ObjectType.DIRECTORY_CONTENTS, 0)[: len(little) - len(room)]
        == little[: -len(room)]
    )


@given(seeds)
def test_dnodes(seed: int) -> None:
    chance = random.Random(seed)
    layout = "8BHHB3xQQ4Q16Q32Q64s"  # one pointer, and the bonus of a directory of datasets
    head = [ObjectType.DSL_DIR, 14, 1, 1, ObjectType.DSL_DIR, 0, 0, 0, 1, 256, 0]
    values = [*head, *(chance.randrange(2**64) for _ in range(54)), bytes(64)]
    little, big = (struct.pack(f"{order}{layout}", *values) for order in "<>")
    assert little_endian(big + bytes(512) + big, ObjectType.DNODE, 0) == little + bytes(512) + little


@given(seeds)
def test_pointers_and_contents_of_files(seed: int) -> None:
    data = random.Random(seed).randbytes(4096)
    words = struct.unpack("<512Q", data)
    assert little_endian(struct.pack(">512Q", *words), ObjectType.FILE_CONTENTS, 1) == data
    assert little_endian(data, ObjectType.FILE_CONTENTS, 0) == data


@example(seed=3, kind=ObjectType.DIRECTORY_CONTENTS, length=52, level=0)  # a table of no entries, cut off
@given(seeds, st.sampled_from(list(ObjectType)), st.integers(0, 4096), st.integers(0, 1))
def test_nonsense_keeps_its_length(seed: int, kind: int, length: int, level: int) -> None:
    data = random.Random(seed).randbytes(length)
    if length > 8 and seed % 3 == 0:
        data = struct.pack(">Q", C.ZAP_LEAF | seed % 4) + data[8:]
    assert len(little_endian(data, kind, level)) == length
    crowded = bytes([ObjectType.DIRECTORY_CONTENTS, 14, 1, 9, kind & 0xFF]) + bytes(
        507
    )  # no room for a bonus
    assert len(little_endian(crowded, ObjectType.DNODE, 0)) == 512
