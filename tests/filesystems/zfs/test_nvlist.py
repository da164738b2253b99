from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs.nvlist import parse_nvlist, values_of

names = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20)
u64s = st.integers(0, 2**64 - 1)
values = st.recursive(
    st.one_of(u64s, names, st.just(True), st.lists(u64s, min_size=1, max_size=4)),
    lambda inner: st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
lists = st.dictionaries(names, values, max_size=6)


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">I", len(raw)) + raw + bytes(-len(raw) % 4)


def encode(value: Any) -> tuple[int, int, bytes]:
    match value:
        case True:
            return 1, 0, b""
        case int():
            return 8, 1, struct.pack(">Q", value)
        case str():
            return 9, 1, text(value)
        case list():
            return 16, len(value), struct.pack(f">{len(value)}Q", *value)
        case _:
            return 19, 1, body(value)


def body(pairs: dict[str, Any]) -> bytes:
    out = struct.pack(">iI", 0, 1)
    for name, value in pairs.items():
        kind, count, data = encode(value)
        pair = text(name) + struct.pack(">II", kind, count) + data
        out += struct.pack(">II", len(pair) + 8, 64) + pair
    return out + bytes(8)


def pack(pairs: dict[str, Any]) -> bytes:
    return bytes([1, 1, 0, 0]) + body(pairs)


@given(lists)
def test_lists_come_back(pairs: dict[str, Any]) -> None:
    assert values_of(parse_nvlist(pack(pairs) + b"what follows")) == pairs


@given(lists, st.integers(0, 400))
def test_a_list_that_is_cut_off(pairs: dict[str, Any], cut: int) -> None:
    packed = pack(pairs)
    with pytest.raises(ValueError, match=r"has|ends|is not"):
        parse_nvlist(packed[: min(cut, len(packed) - 1)])


@given(lists, st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), min_size=1, max_size=8))
def test_nonsense_raises_nothing_else(pairs: dict[str, Any], changes: list[tuple[int, int]]) -> None:
    packed = bytearray(pack(pairs))
    for place, byte in changes:
        packed[place % len(packed)] = byte
    with suppress(ValueError):
        parse_nvlist(bytes(packed))


def test_lists_in_lists_without_end() -> None:
    pairs: dict[str, Any] = {}
    for _ in range(40):
        pairs = {"inner": pairs}
    with pytest.raises(ValueError, match="deeper than 16"):
        parse_nvlist(pack(pairs))


def test_another_encoding() -> None:
    with pytest.raises(ValueError, match="not packed as XDR"):
        parse_nvlist(bytes(100))
