"""Packing nvlists, the configuration in labels and pool, as XDR. `zfs.nvlist` reads them, and says how."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

__all__ = ["pack_nvlist"]

Value = int | str | bool | Mapping[str, "Value"] | Sequence[Mapping[str, "Value"]]

_HEAD = struct.pack(">4B", 1, 1, 0, 0)
_LIST_HEAD = struct.pack(">II", 0, 1)  # version 0; each name only once
_END = struct.pack(">II", 0, 0)
_PAIR = struct.Struct(">II")
_FLAG, _U64, _TEXT, _LIST, _LISTS = 1, 8, 9, 19, 20
_PAIR_IN_MEMORY, _LIST_IN_MEMORY = 16, 24


def pack_nvlist(values: Mapping[str, Value]) -> bytes:
    """Return names and values packed as XDR.

    Parameters
    ----------
    values
        Integers of 64 bits, texts, True for a flag, mappings, and sequences of mappings.

    Examples
    --------
    >>> pack_nvlist({"version": 5000}).hex(" ", 4)
    '01010000 00000000 00000001 00000024 00000020 00000007 76657273 696f6e00 00000008 00000001 00000000 \
00001388 00000000 00000000'
    """
    return _HEAD + _list(values)


def _list(values: Mapping[str, Value]) -> bytes:
    return _LIST_HEAD + b"".join(_pair(name, value) for name, value in values.items()) + _END


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def _pair(name: str, value: Value) -> bytes:
    kind, count, data, in_memory = _encoded(value)
    body = _text(name) + struct.pack(">II", kind, count) + data
    # The second number is what the pair takes in memory, each part rounded up to eight.
    size = _rounded(_PAIR_IN_MEMORY + len(name.encode()) + 1) + _rounded(in_memory)
    return _PAIR.pack(len(body) + _PAIR.size, size) + body


def _rounded(size: int) -> int:
    return size + 7 & ~7


def _encoded(value: Value) -> tuple[int, int, bytes, int]:
    """Return type, count, bytes, and bytes in memory."""
    if value is True:
        return _FLAG, 0, b"", 0
    if isinstance(value, int):
        return _U64, 1, struct.pack(">Q", value), 8
    if isinstance(value, str):
        return _TEXT, 1, _text(value), len(value.encode()) + 1
    if isinstance(value, Mapping):
        return _LIST, 1, _list(value), _LIST_IN_MEMORY
    packed = b"".join(_list(one) for one in value)
    return _LISTS, len(value), packed, len(value) * (8 + _LIST_IN_MEMORY)
