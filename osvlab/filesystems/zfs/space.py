"""Space: what space maps say is taken, and what block pointers say, and where the two differ.

A vdev is divided into metaslabs. Each has a space map, a log of what was taken and given back, in the
unit of the vdev's smallest block; what counts is the state at its end.

Source of the format: OpenZFS, sys/space_map.h.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import DVA, SPACE_MAP
from osvlab.filesystems.zfs.objects import Dnode, ObjectSet
from osvlab.filesystems.zfs.vdevs import Vdev

__all__ = ["Claims", "Run", "differences", "metaslab_runs"]

MAX_UNITS = 1 << 28
_MAX_METASLABS = 1 << 20
_DEBUG, _LONG = 2, 3


class Run(NamedTuple):
    """Bytes of a vdev's data, from `start` to `end`, and what is to be said of them."""

    start: int
    end: int
    owner: int = -1


class Claims:
    """What block pointers say is taken of one vdev."""

    def __init__(self) -> None:
        self._starts, self._ends, self._owners = array("Q"), array("Q"), array("l")

    def add(self, dva: DVA, owner: int) -> None:
        """Claim the space of an address for somebody, known by a number."""
        self._starts.append(dva.offset)
        self._ends.append(dva.offset + dva.asize)
        self._owners.append(owner)

    def sorted(self) -> tuple[Any, Any, Any]:
        """Return starts, ends and owners, by start."""
        starts = np.frombuffer(self._starts, np.uint64)
        order = np.argsort(starts, kind="stable")
        return starts[order], np.frombuffer(self._ends, np.uint64)[order], np.array(self._owners)[order]

    def twice(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield start and end of what is claimed twice, and by whom."""
        starts, ends, owners = self.sorted()
        if len(starts) < 2:
            return
        reach = np.maximum.accumulate(ends)
        holder = np.maximum.accumulate(np.where(ends == reach, np.arange(len(ends)), 0))
        for index in np.flatnonzero(starts[1:] < reach[:-1]) + 1:
            before = int(holder[index - 1])
            end = min(int(ends[index]), int(reach[index - 1]))
            yield int(starts[index]), end, int(owners[before]), int(owners[index])


def differences(claims: Claims, taken: list[Run]) -> tuple[list[Run], list[Run]]:
    """Return what is taken and not claimed (leaks), and what is claimed and not taken.

    Examples
    --------
    >>> claims = Claims()
    >>> claims.add(DVA(0, 0, 4096), 7)
    >>> differences(claims, [Run(1024, 8192)])
    ([Run(start=4096, end=8192, owner=-1)], [Run(start=0, end=1024, owner=7)])
    """
    starts, ends, owners = claims.sorted()
    taken_starts = np.array([run.start for run in taken], np.uint64)
    taken_ends = np.array([run.end for run in taken], np.uint64)
    places = np.concatenate([starts, ends, taken_starts, taken_ends])
    counts = [len(starts), len(ends), len(taken), len(taken)]
    claimed = np.repeat(np.array([1, -1, 0, 0]), counts)
    mapped = np.repeat(np.array([0, 0, 1, -1]), counts)
    order = np.argsort(places, kind="stable")
    places, claimed, mapped = places[order], np.cumsum(claimed[order]), np.cumsum(mapped[order])
    after = np.append(places[1:], places[-1:])
    leaked = (claimed == 0) & (mapped > 0) & (after > places)
    unmapped = (claimed > 0) & (mapped == 0) & (after > places)
    leaks = [Run(int(places[i]), int(after[i])) for i in np.flatnonzero(leaked)]
    missing = []
    for index in np.flatnonzero(unmapped):
        owner = int(owners[max(0, int(np.searchsorted(starts, places[index], "right")) - 1)])
        missing.append(Run(int(places[index]), int(after[index]), owner))
    return _joined(leaks), _joined(missing)


def _joined(runs: list[Run]) -> list[Run]:
    found: list[Run] = []
    for run in runs:
        if found and found[-1].end == run.start and found[-1].owner == run.owner:
            found[-1] = found[-1]._replace(end=run.end)
        else:
            found.append(run)
    return found


def metaslab_runs(mos: ObjectSet, vdev: Vdev, complain: Callable[[Exception], None]) -> list[Run]:
    """Return what the space maps of a vdev say is taken.

    Parameters
    ----------
    mos
        The pool's own objects.
    vdev
        The vdev.
    complain
        Is told what is wrong with a space map; the others count all the same.
    """
    if not vdev.metaslab_array:
        return []
    table = mos.dnode(vdev.metaslab_array)
    count = vdev.asize >> vdev.metaslab_shift
    if count > _MAX_METASLABS or 1 << vdev.metaslab_shift - vdev.ashift > MAX_UNITS:
        raise damaged(
            table.name, table.offset, f"would be {count} metaslabs of 2**{vdev.metaslab_shift} bytes"
        )
    numbers = struct.unpack(f"<{count}Q", table.read(0, 8 * count))
    runs: list[Run] = []
    for index, number in enumerate(numbers):
        if not number:
            continue  # nothing was ever taken here
        try:
            base = index << vdev.metaslab_shift
            taken = _taken(mos.dnode(number), vdev, index)
            runs += [Run(base + start, base + end) for start, end in taken]
        except ValueError as error:
            complain(error)
    return _joined(runs)


def _taken(dnode: Dnode, vdev: Vdev, index: int) -> list[tuple[int, int]]:
    """Replay a space map: return the runs of a metaslab that are taken at its end."""
    what = f"space map {index} of vdev {vdev.number} ({dnode.name})"
    if len(dnode.bonus) < SPACE_MAP.size:
        raise damaged(what, dnode.offset, f"has a bonus of {len(dnode.bonus)} bytes")
    _, length, allocated = SPACE_MAP.unpack_from(dnode.bonus)
    if length % 8 or length > dnode.data_size * dnode.block_count:
        raise damaged(what, dnode.offset, f"says that it is {length} bytes long")
    units = 1 << vdev.metaslab_shift - vdev.ashift
    state = np.zeros(units, np.bool_)
    for free, start, count in _entries(dnode, length):
        if start + count > units:
            raise damaged(what, dnode.offset, f"has an entry up to unit {start + count} of {units}")
        part = state[start : start + count]
        if free and not part.all():
            raise damaged(
                what, dnode.offset, f"gives back units {start} to {start + count} that were not taken"
            )
        if not free and part.any():
            raise damaged(
                what, dnode.offset, f"takes units {start} to {start + count} that were taken already"
            )
        part[:] = not free
    total = int(np.count_nonzero(state)) << vdev.ashift
    if total != allocated:
        raise damaged(what, dnode.offset, f"says that {allocated} bytes are taken; its entries say {total}")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], state, [False]]).astype(np.int8)))
    return [(int(a) << vdev.ashift, int(b) << vdev.ashift) for a, b in edges.reshape(-1, 2)]


def _entries(dnode: Dnode, length: int) -> Iterator[tuple[bool, int, int]]:
    """Yield whether it was given back, the first unit and the number of units of each entry."""
    pending = 0
    for start in range(0, length, dnode.data_size):
        data = dnode.read(start, min(dnode.data_size, length - start))
        for (word,) in struct.iter_unpack("<Q", data):
            if pending:
                yield bool(word >> 63), word & (1 << 63) - 1, (pending >> 24 & (1 << 36) - 1) + 1
                pending = 0
            elif word >> 62 == _LONG:
                pending = word
            elif word >> 62 != _DEBUG:
                yield bool(word >> 15 & 1), word >> 16 & (1 << 47) - 1, (word & 0x7FFF) + 1
