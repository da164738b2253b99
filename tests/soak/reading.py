"""Reading all that there is in a filesystem, whatever state it is in."""

from __future__ import annotations

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import Filesystem, Kind
from osvlab.filesystems.structure import Structure


def everything(reader: Filesystem) -> None:
    """Check it, look at its structures, walk the whole tree and read all in it, each thing by its own."""
    assert str(reader.check())
    look_at(reader.explain())
    for entry in reader.walk():
        try:
            if entry.kind is Kind.FILE:
                reader.read(entry)
                assert sum(extent.length for extent in reader.extents(entry)) == entry.size
            elif entry.kind is Kind.SYMLINK:
                reader.target(entry)
                reader.find(entry.path)
        except OsvlabError:
            continue  # one damaged file does not hide the others


def look_at(top: Structure, most: int = 300) -> None:
    """Show structures and follow pointers, as far as they lead and not too many."""
    pending = [top]
    for _ in range(most):
        if not pending:
            break
        found = pending.pop()
        assert str(found)
        assert found.hex() or not found.raw
        try:
            pending += [pointer.read() for pointer in found.pointers[:50]]
        except OsvlabError:
            continue
