"""Many files at once, for directories with a hundred thousand of them: names, and attributes as columns.

What is in the usual form is taken from whole blocks, of a table or of dnodes, by numpy. A name or file
that is in any other form, or cannot be right, is left to `Leaf.entry` or `Files.attributes`, which say
what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import numpy as np

from osvlab.filesystems.base import Entry, Kind
from osvlab.filesystems.zfs.format import (
    DNODE_SIZE,
    LEAF_ENTRY,
    MAX_BLOCK,
    POINTER_SIZE,
    SA_HEAD,
    C,
    ObjectType,
)
from osvlab.filesystems.zfs.objects import INDIRECT_SHIFTS, MAX_LEVELS
from osvlab.filesystems.zfs.posix import MODIFIED, NUMBERS, Attributes, Files
from osvlab.filesystems.zfs.sa import SystemAttributes
from osvlab.filesystems.zfs.zap import Leaf

__all__ = ["entries_of", "leaf_numbers"]

_BONUS = C.DNODE_CORE_SIZE + POINTER_SIZE
_WORD = 8
_SEC = 10**9
_CHUNK = 256  # blocks of dnodes: 4 MiB
_ZNODE_FIELDS = (
    "mode",
    "size",
    "parent",
    "links",
    "owner",
    "group",
    "device",
    "extended_attributes",
    "flags",
)
_LONG_TIME = (1 << 62) // _SEC - 1
_LENGTHS = {**dict.fromkeys(NUMBERS, _WORD), MODIFIED: 2 * _WORD}
_HEADER = 1 << 48  # with magic and layout below it: no bonus type
_KINDS: list[Any] = [Kind.of_mode(bits << 12) for bits in range(16)]
_IS_FILE_TYPE = np.array([kind is not None for kind in _KINDS])
_DIRECTORY = Kind.DIRECTORY.type_bits >> 12
_ARRAY_BYTES = 21
# Chunks of a leaf: an entry; and the first integer of an array.
_CHUNK_SIZE = LEAF_ENTRY.size
_CHUNKS: Any = np.dtype(
    {
        "names": ["kind", "size", "name", "length", "value", "count"],
        "formats": ["u1", "u1", "<u2", "<u2", "<u2", "<u2"],
        "offsets": [0, 1, 4, 6, 8, 10],
        "itemsize": _CHUNK_SIZE,
    }
)
_BIG: Any = np.dtype({"names": ["value"], "formats": [">u8"], "offsets": [1], "itemsize": _CHUNK_SIZE})
_DEVICES = (Kind.CHARACTER_DEVICE.type_bits >> 12, Kind.BLOCK_DEVICE.type_bits >> 12)


class _Places(NamedTuple):
    """Where attributes are in a dnode, in words: nine numbers (-1: none), and the last change.

    Those whose place is the same in all files end at byte `end`. Each of what `follows` has a length
    that the file says in a word of 16 bits, or (-1) a fixed one.
    """

    numbers: tuple[int, ...]
    modified: int
    end: int
    follows: Sequence[tuple[int, int]] = ()


def leaf_numbers(leaf: Leaf) -> tuple[list[bytes], list[int]]:
    """Return the names in a leaf, and the first integer of each value.

    Names of one chunk with one value of eight bytes are taken together; others one by one.

    Raises
    ------
    DamagedError
        The leaf cannot be right.
    """
    block, last = leaf.block, leaf.chunks - 1
    chunks = np.frombuffer(block, _CHUNKS, leaf.chunks, leaf.start)
    found = np.flatnonzero(chunks["kind"] == C.CHUNK_ENTRY)
    entries = chunks[found]
    if len(found) != leaf.count:
        raise leaf.wrong(f"has {len(found)} entries and says that it has {leaf.count}")
    first = np.minimum(entries["name"], last), np.minimum(entries["value"], last)
    usual = (entries["size"] == 8) & (entries["count"] == 1)
    usual &= (entries["name"] == first[0]) & (entries["value"] == first[1])
    usual &= (entries["length"] > 0) & (entries["length"] <= _ARRAY_BYTES)
    usual &= (chunks["kind"][first[0]] == C.CHUNK_ARRAY) & (chunks["kind"][first[1]] == C.CHUNK_ARRAY)
    starts = first[0].astype(np.int64) * _CHUNK_SIZE + (leaf.start + 1)
    ends = starts + entries["length"] - 1  # where the NUL is, if all is well
    usual &= np.frombuffer(block, np.uint8)[np.minimum(ends, len(block) - 1)] == 0
    values = np.frombuffer(block, _BIG, leaf.chunks, leaf.start)["value"][first[1]].tolist()
    names = [block[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    for index in np.flatnonzero(~usual).tolist():
        entry = leaf.entry(leaf.start + _CHUNK_SIZE * int(found[index]))
        names[index], values[index] = entry.name, entry.number
    return names, values


class _Columns(NamedTuple):
    """What files are: the attributes of the same names, one row for each file."""

    mode: Any
    size: Any
    links: Any
    owner: Any
    group: Any
    modified: Any
    device: Any

    @classmethod
    def empty(cls, rows: int) -> _Columns:
        """Return columns to be filled."""
        kinds = [np.int64] * (len(cls._fields) - 1) + [np.uint64]
        return cls(*[np.zeros(rows, kind) for kind in kinds])

    def put(self, row: int, found: Attributes) -> None:
        """Fill a row."""
        for column, name in zip(self, self._fields, strict=True):
            column[row] = getattr(found, name)


def entries_of(files: Files, paths: Sequence[bytes], numbers: Sequence[int]) -> list[Entry]:
    """Return entries of a directory.

    Parameters
    ----------
    files
        The dataset.
    paths
        Their paths.
    numbers
        Their objects, in the same order.

    Raises
    ------
    DamagedError
        One of them is no file, or cannot be right.
    """
    found = _columns_of(files, numbers)
    bits = found.mode >> 12
    size = np.where(bits == _DIRECTORY, np.maximum(found.size - 2, 0), found.size)
    return [
        Entry(*row)
        for row in zip(
            paths,
            [_KINDS[kind] for kind in bits.tolist()],
            size.tolist(),
            numbers,
            (found.mode & 0o7777).tolist(),
            found.owner.tolist(),
            found.group.tolist(),
            found.links.tolist(),
            found.modified.tolist(),
            found.device.tolist(),
            strict=True,
        )
    ]


def _columns_of(files: Files, numbers: Sequence[int]) -> _Columns:
    """Return what files are, by the numbers of their objects, in any order."""
    given = np.array(numbers, np.uint64).astype(np.int64)
    # What np.unique would do, if it did not load numpy's masked arrays, which takes as long as the rest.
    wanted = np.sort(given)
    wanted = wanted[np.diff(wanted, prepend=-1) != 0]
    rows = np.searchsorted(wanted, given)
    columns = _Columns.empty(len(wanted))
    starts = np.flatnonzero(np.diff(wanted // files.objects.slots, prepend=-1))
    bounds = [*starts[::_CHUNK].tolist(), len(wanted)]
    for begin, end in pairwise(bounds):
        part = _Columns(*(column[begin:end] for column in columns))
        _chunk(files, wanted[begin:end], part)
    return _Columns(*(column[rows] for column in columns))


def _chunk(files: Files, wanted: Any, columns: _Columns) -> None:
    """Fill the columns of some files, which are read from their blocks of dnodes in order."""
    slots = files.objects.slots
    rows = np.zeros((len(wanted), DNODE_SIZE), np.uint8)
    simple = wanted > 0
    blocks = wanted // slots
    for begin, end in pairwise([*np.flatnonzero(np.diff(blocks, prepend=-1)).tolist(), len(wanted)]):
        index = int(blocks[begin])
        block = files.objects.block_of_dnodes(index)
        if block is None:
            simple[begin:end] = False
            continue
        table = np.frombuffer(block, np.uint8).reshape(slots, DNODE_SIZE)
        rows[begin:end] = table[wanted[begin:end] - index * slots]
        if table[:, 12].any():  # a dnode of several slots: what looks like others may be inside it
            simple[begin:end] = False
    _usual(files, rows, simple, columns)
    for row in np.flatnonzero(~simple).tolist():
        columns.put(row, files.attributes(files.objects.dnode(int(wanted[row]))))


def _usual(files: Files, rows: Any, simple: Any, columns: _Columns) -> None:
    """Fill the columns of those in the usual form; `simple` loses those that are not."""
    words = rows.view("<u8")
    simple &= _heads_right(rows)
    header = words[:, _BONUS // _WORD] & np.uint64(_HEADER - 1) | np.uint64(_HEADER)
    kinds = np.where(rows[:, 4] == ObjectType.SYSTEM_ATTRIBUTES, header, rows[:, 4])
    for kind in sorted(set(kinds[simple].tolist())):
        places = _places(files, kind)
        here = simple & (kinds == kind)
        good = here & _right(rows, words, places) if places is not None else np.zeros(len(rows), np.bool_)
        simple &= ~here | good
        if places is not None:
            _fill(columns, words, places, np.flatnonzero(good))


def _heads_right(rows: Any) -> Any:
    """Return which rows are dnodes that may be, with one pointer: what `Dnode` looks at."""
    levels, shifts, sectors = rows[:, 2], rows[:, 1], rows.view("<u2")[:, 4]
    return (
        (rows[:, 0] != 0)
        & (rows[:, 3] == 1)
        & (levels >= 1)
        & (levels <= MAX_LEVELS)
        & ((levels == 1) | (shifts >= INDIRECT_SHIFTS.start) & (shifts < INDIRECT_SHIFTS.stop))
        & (sectors >= 1)
        & (sectors <= MAX_BLOCK >> 9)
    )


def _places(files: Files, kind: int) -> _Places | None:
    """Return where attributes are, of a bonus type or of a header of attributes with its layout."""
    if kind == ObjectType.ZNODE:
        fields = C.znode.fields
        base = _BONUS // _WORD
        numbers = tuple(base + fields[name].offset // _WORD for name in _ZNODE_FIELDS)
        return _Places(numbers, base + fields["modified"].offset // _WORD, _BONUS + C.znode.size)
    if files.registry is None or kind & ~(0xFFFF << 32) != _HEADER | C.SA_MAGIC:
        return None
    return _places_in_layout(files.registry, kind >> 32 & 0xFFFF)


def _places_in_layout(registry: SystemAttributes, info: int) -> _Places | None:
    layout = registry.layouts.get(info & 0x3FF)
    begin = here = _BONUS + (info >> 10) * 8
    names = {attribute.name for attribute in layout or ()}
    if layout is None or here == _BONUS or len(names) != len(layout):
        return None
    starts: dict[str, int] = {}
    fixed = list(takewhile(lambda attribute: attribute.length, layout))
    for attribute in fixed:
        starts[attribute.name] = here
        if attribute.name in _LENGTHS and attribute.length != _LENGTHS[attribute.name]:
            return None
        here += -(-attribute.length // _WORD) * _WORD
    optional = set(NUMBERS[6:])
    if not _LENGTHS.keys() - optional <= starts.keys() or names & optional - starts.keys():
        return None
    if here > DNODE_SIZE:  # which no file has room for
        return None
    lengths = iter(range((_BONUS + SA_HEAD.size) // 2, begin // 2))
    follows = [(-1 if one.length else next(lengths, -1), one.length) for one in layout[len(fixed) :]]
    numbers = tuple(starts[name] // _WORD if name in starts else -1 for name in NUMBERS)
    return _Places(numbers, starts[MODIFIED] // _WORD, here, follows)


def _right(rows: Any, words: Any, places: _Places) -> Any:
    """Return which rows say nothing that could not be, as far as it is looked at here."""
    mode = words[:, places.numbers[0]]
    bits = (mode >> np.uint64(12) & np.uint64(15)).astype(np.int64)
    length = rows[:, 10].astype(np.int64) | rows[:, 11].astype(np.int64) << 8
    seconds = words[:, places.modified]
    return (
        _IS_FILE_TYPE[bits]
        & ((bits == _DIRECTORY) == (rows[:, 0] == ObjectType.DIRECTORY_CONTENTS))
        & (words[:, places.numbers[1]] < np.uint64(1 << 63))
        & (words[:, places.numbers[3]] < np.uint64(1 << 32))
        & (words[:, places.modified + 1] < np.uint64(_SEC))
        & (seconds < np.uint64(_LONG_TIME))
        & (_BONUS + length >= _ends(rows, places))
        & (_BONUS + length <= DNODE_SIZE)
        & (rows[:, 7] & C.DNODE_SPILL == 0)  # others are in the spill block, which may be damaged
        & ~np.isin(bits, _DEVICES)
    )


def _ends(rows: Any, places: _Places) -> Any:
    """Return where the last attribute ends in each row, as lengths in it say."""
    halves = rows.view("<u2")
    here = end = np.full(len(rows), places.end)
    for place, fixed in places.follows:
        length = fixed if place < 0 else halves[:, place].astype(np.int64)
        end = here + length
        here = end + -end % _WORD
    return end


def _fill(columns: _Columns, words: Any, places: _Places, rows: Any) -> None:
    low = np.uint64(0xFFFFFFFF)
    mode, size, _, links, owner, group, *_ = places.numbers
    columns.mode[rows] = words[rows, mode] & np.uint64(0xFFFF)
    columns.size[rows] = words[rows, size]
    columns.links[rows] = words[rows, links] & low
    columns.owner[rows] = words[rows, owner] & low
    columns.group[rows] = words[rows, group] & low
    columns.modified[rows] = (
        words[rows, places.modified] * np.uint64(_SEC) + words[rows, places.modified + 1]
    )
