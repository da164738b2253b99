"""Check a ROFS: table by table, so that one damaged record does not hide the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from osvlab.filesystems.base import CheckReport, DamagedError, Entry, Kind, show
from osvlab.filesystems.findings import Findings, overlaps, read_once
from osvlab.filesystems.rofs.format import BLOCK, ROOT, blocks

if TYPE_CHECKING:
    from osvlab.filesystems.rofs.reader import RofsReader

__all__ = ["check"]


def check(reader: RofsReader) -> CheckReport:
    """Report every inode, entry, name and run of blocks that cannot be right."""
    found = Findings(reader.format)
    inodes = _inodes(reader, found)
    parents = _entries(reader, found, inodes)
    _reached(reader, found, inodes, parents)
    _contents(reader, found, inodes)
    return found.report()


def _inodes(reader: RofsReader, found: Findings) -> dict[int, Entry]:
    """Return the inodes that are right by themselves."""
    inodes: dict[int, Entry] = {}
    for number in range(ROOT, reader.superblock.inodes_count + 1):
        found.count("inodes")
        with found.gathering():
            inodes[number] = reader._entry(b"/", number)
    return inodes


def _entries(reader: RofsReader, found: Findings, inodes: dict[int, Entry]) -> dict[int, int]:
    """Look at the entries of each directory, each at most once; return by inode who names it."""
    parents: dict[int, int] = {}
    owners: dict[int, int] = {}
    for number, directory in inodes.items():
        if directory.kind is not Kind.DIRECTORY:
            continue
        names: set[bytes] = set()
        _, _, first, count = reader._inode(number)
        for index in range(first, first + count):
            if index in owners:
                found.add(
                    reader._damaged_inode(
                        number, f"shares entries with inode {owners[index]} (entry {index})"
                    )
                )
                break  # many directories with the same entries must not multiply the work
            owners[index] = number
            found.count("entries")
            with found.gathering():
                child, name = reader._directory_entry(index)
                if name in names:
                    raise reader._damaged_inode(number, f"has the name {show(name)} twice")
                names.add(name)
                if child in parents and child in inodes and inodes[child].kind is Kind.DIRECTORY:
                    raise reader._damaged_inode(child, f"is reached twice (as {show(name)})")
                parents[child] = number
    for index in range(reader.superblock.directory_entries_count):
        if index not in owners:
            found.add(
                reader._damaged(f"directory entry {index}", reader._entries[index], "is in no directory")
            )
    return parents


def _reached(reader: RofsReader, found: Findings, inodes: dict[int, Entry], parents: dict[int, int]) -> None:
    """Report inodes that no path from the root leads to."""
    reached = {ROOT}
    for number in inodes:
        trail: list[int] = []
        here: int | None = number
        while here is not None and here not in reached and len(trail) <= len(parents):
            trail.append(here)
            here = parents.get(here)
        if here in reached:
            reached.update(trail)
    lost = [number for number in inodes if number not in reached]
    if lost:
        more = f" ({len(lost)} such inodes)" if len(lost) > 1 else ""
        found.add(reader._damaged_inode(lost[0], f"is in no directory that the root leads to{more}"))


def _contents(reader: RofsReader, found: Findings, inodes: dict[int, Entry]) -> None:
    """Read all contents and targets, and report blocks that two files claim."""
    places = []
    for number, entry in inodes.items():
        with found.gathering():
            if entry.kind is Kind.SYMLINK and b"\0" in reader.target(entry):
                raise reader._damaged_inode(number, "is a link with a NUL in its target")
            if entry.kind is Kind.FILE:
                first = reader._inode(number)[2]
                places.append((first, first + blocks(entry.size), f"inode {number}"))
    for block, one, other in overlaps(places):
        where = reader._source.offset + block * BLOCK
        found.add(DamagedError(reader.format, f"block {block}", where, f"is claimed by {other} and {one}"))
    wanted = [(first * BLOCK, end * BLOCK) for first, end, _ in places]
    with found.gathering():
        found.count("bytes", read_once(reader._source, wanted))
