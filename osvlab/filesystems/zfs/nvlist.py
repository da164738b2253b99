"""Lists of names and values (nvlists), as labels and the configuration of a pool hold them.

Packed as XDR (RFC 4506): four bytes that name the encoding, then a version, flags, and pairs of
{encoded size, decoded size, name, type, count, value}; a pair of two zero sizes ends the list. All is
big-endian, and strings and bytes are padded to four.

Source of the format: illumos, libnvpair (sys/nvpair.h, nvpair.c).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["NvList", "NvPair", "parse_nvlist", "values_of"]

_U32 = struct.Struct(">I")
_PAIR = struct.Struct(">II")
MAX_DEPTH = 16

BOOLEAN, STRING, STRING_ARRAY, NVLIST, NVLIST_ARRAY, BOOLEAN_VALUE = 1, 9, 17, 19, 20, 21
# Integers by type: bytes on disk, format. What is smaller than four bytes takes four.
_INTEGERS = {
    2: "I",
    3: "i",
    4: "I",
    5: "i",
    6: "I",
    7: "q",
    8: "Q",
    18: "q",
    BOOLEAN_VALUE: "I",
    22: "i",
    23: "I",
}
_ARRAYS = {11: "i", 12: "I", 13: "i", 14: "I", 15: "q", 16: "Q", 24: "I", 25: "i", 26: "I"}
_BYTE_ARRAY = 10
KINDS = {
    **dict.fromkeys((2, 4, 6, 8, 23), "unsigned integer"),
    **dict.fromkeys((3, 5, 7, 18, 22), "integer"),
    **dict.fromkeys(_ARRAYS, "array of integers"),
    BOOLEAN: "flag",
    STRING: "text",
    _BYTE_ARRAY: "bytes",
    STRING_ARRAY: "array of texts",
    NVLIST: "list of pairs",
    NVLIST_ARRAY: "array of lists",
    BOOLEAN_VALUE: "boolean",
}

NvList = dict[str, Any]


class NvPair(NamedTuple):
    """A name and its value.

    Attributes
    ----------
    name
        What it is called.
    kind
        Number of its type.
    offset, length
        Where the pair is, in bytes from the start of what was parsed.
    value
        An integer, a text, bytes, a list of them; of nested lists their pairs.
    """

    name: str
    kind: int
    offset: int
    length: int
    value: Any


def parse_nvlist(data: bytes) -> list[NvPair]:
    """Return the pairs of a packed nvlist.

    Parameters
    ----------
    data
        The list, from its four bytes of encoding on; what follows its end does not matter.

    Raises
    ------
    ValueError
        It is not packed as XDR, ends too early, or lists are nested deeper than 16.

    Examples
    --------
    >>> packed = bytes.fromhex(
    ...     "01010000 00000000 00000001 00000024 00000020 00000007 76657273 696f6e00"
    ...     "00000008 00000001 00000000 00001388 00000000 00000000")
    >>> values_of(parse_nvlist(packed))
    {'version': 5000}
    """
    if len(data) < 4 or data[0] != 1 or data[1] > 1:
        raise ValueError("is not packed as XDR")
    try:
        pairs, _ = _list(data, 4, 0)
    except struct.error:
        raise ValueError("ends too early") from None
    return pairs


def values_of(pairs: list[NvPair]) -> NvList:
    """Return pairs as a dictionary, nested lists too."""
    return {pair.name: _value_of(pair) for pair in pairs}


def _value_of(pair: NvPair) -> Any:
    if pair.kind == NVLIST:
        return values_of(pair.value)
    if pair.kind == NVLIST_ARRAY:
        return [values_of(one) for one in pair.value]
    return pair.value


def _list(data: bytes, here: int, depth: int) -> tuple[list[NvPair], int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"nests lists deeper than {MAX_DEPTH}")
    here += 8  # version and flags
    pairs: list[NvPair] = []
    while True:
        encoded, decoded = _PAIR.unpack_from(data, here)
        if not encoded and not decoded:
            return pairs, here + 8
        if encoded < 20 or here + encoded > len(data):
            raise ValueError(f"has a pair of {encoded} bytes at {here}")
        name, after = _text(data, here + 8)
        kind, count = _PAIR.unpack_from(data, after)
        value, end = _value(data, after + 8, kind, count, depth)
        if end > here + encoded:
            raise ValueError(f"has a pair {name!r} that is longer than it says")
        pairs.append(NvPair(name, kind, here, encoded, value))
        here += encoded


def _text(data: bytes, here: int) -> tuple[str, int]:
    length = _U32.unpack_from(data, here)[0]
    end = here + 4 + length
    if end > len(data):
        raise ValueError(f"has a text of {length} bytes at {here}")
    return data[here + 4 : end].decode("utf-8", "backslashreplace"), end + (-length % 4)


def _many(read: Callable[[int], tuple[Any, int]], here: int, count: int, left: int) -> tuple[list[Any], int]:
    if count * 4 > left:
        raise ValueError(f"has an array of {count} at {here}")
    found = []
    for _ in range(count):
        value, here = read(here)
        found.append(value)
    return found, here


def _value(data: bytes, here: int, kind: int, count: int, depth: int) -> tuple[Any, int]:
    left = len(data) - here
    if kind == BOOLEAN:
        return True, here
    if kind == STRING:
        return _text(data, here)
    if kind == NVLIST:
        return _list(data, here, depth + 1)
    if kind == STRING_ARRAY:
        return _many(lambda at: _text(data, at), here, count, left)
    if kind == NVLIST_ARRAY:
        return _many(lambda at: _list(data, at, depth + 1), here, count, left)
    if kind == _BYTE_ARRAY:
        if count > left:
            raise ValueError(f"has {count} bytes at {here}")
        return data[here : here + count], here + count + (-count % 4)
    code = _INTEGERS.get(kind)
    if code is not None:
        value = struct.unpack_from(f">{code}", data, here)[0]
        return bool(value) if kind == BOOLEAN_VALUE else value, here + struct.calcsize(f">{code}")
    code = _ARRAYS.get(kind)
    if code is None:
        raise ValueError(f"has a value of the unknown type {kind} at {here}")
    size = struct.calcsize(f">{code}")
    if count * size > left:
        raise ValueError(f"has an array of {count} at {here}")
    return list(struct.unpack_from(f">{count}{code}", data, here)), here + count * size
