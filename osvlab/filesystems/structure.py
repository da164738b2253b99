"""Structures at their places on a disk, shown field by field, with pointers to the next.

Whatever a structure points to is read only when it is asked for, so that a notebook can walk from a
disk's first bytes to one byte of a file:

>>> disk = explain_example()
>>> print(disk)
header at byte 0x0, 8 bytes
  0x0  magic  0xdeadbead  says what this is
  0x4  first  8           byte of the first record
>>> [pointer.name for pointer in disk.pointers]
['first record']
>>> disk.follow("first record").name
'record'
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from osvlab.errors import OsvlabError
from osvlab.filesystems.byte_range import ByteRange
from osvlab.filesystems.declarations import Declarations, declare

__all__ = ["Field", "Pointer", "Structure", "fields_of", "stored_bytes"]

_SHOWN = 32
_LISTED = 12
# A notebook's own style puts everything to the right, as it befits numbers.
_STYLE = "text-align:left;vertical-align:top;padding:0.2em 0.7em"
_CELL = f' style="{_STYLE}"'
_WIDE_CELL = f' style="{_STYLE};min-width:12em"'
_KEPT = 64 * 1024  # of a file's contents, which may be gigabytes


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure.

    Attributes
    ----------
    name
        What its declaration calls it.
    offset, length
        Bytes from the start of the structure, and how many.
    value
        What they say, decoded.
    meaning
        What that means, with its unit.
    """

    name: str
    offset: int
    length: int
    value: Any
    meaning: str = ""

    @property
    def text(self) -> str:
        """The value as people read it."""
        value = self.value
        if isinstance(value, bytes):
            cut = value.rstrip(b"\0")
            if cut and all(32 <= byte < 127 for byte in cut):
                return cut[:_SHOWN].decode() + ("..." if len(cut) > _SHOWN else "")
            return value[:8].hex(" ") + (" ..." if len(value) > 8 else "")
        if isinstance(value, int) and not isinstance(value, bool) and value > 0xFFFF:
            return f"{value:,}" if self.meaning.startswith("bytes") else f"{value:#x}"
        return str(value)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a structure points to.

    Attributes
    ----------
    name
        What is there, in words that are unique in the structure: ``inode 7``.
    read
        Reads and returns it.
    """

    name: str
    read: Callable[[], Structure] = field(repr=False)


class Structure:
    """A structure at its place on a disk.

    Parameters
    ----------
    name
        What it is: ``superblock``, ``inode 7``.
    offset
        Bytes from the start of the file that was opened; for something inside a block that is
        stored compressed, from the start of the unpacked block.
    raw
        Its bytes, or what reads them when they are asked for.
    length
        How many there are.
    fields
        Its fields, or what decodes them when they are asked for.
    pointers
        Where it points to, or what finds that out.
    about
        One sentence for who sees it for the first time.
    within
        Of something inside a compressed block: which block, in words.
    """

    def __init__(
        self,
        name: str,
        offset: int,
        length: int,
        raw: bytes | Callable[[], bytes],
        fields: Iterable[Field] | Callable[[], Iterable[Field]] = (),
        pointers: Iterable[Pointer] | Callable[[], Iterable[Pointer]] = (),
        *,
        about: str = "",
        within: str = "",
    ) -> None:
        self.name = name
        self.offset = offset
        self.length = length
        self.about = about
        self.within = within
        self._raw, self._fields, self._pointers = raw, fields, pointers

    @classmethod
    def at(
        cls,
        declarations: Declarations,
        type_name: str,
        source: ByteRange,
        position: int,
        pointers: Iterable[Pointer] | Callable[[], Iterable[Pointer]] = (),
        *,
        name: str | None = None,
        about: str = "",
        within: str = "",
        shown: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> Structure:
        """Return a declared structure at a position of a source.

        Parameters
        ----------
        declarations, type_name
            Which.
        source, position
            Where.
        pointers
            Where it points to.
        name
            What to call it; the type's name when not given.
        about, within
            As of a `Structure`.
        shown
            Values that are shown otherwise than as they are stored: by field, what makes the text.
        """
        length = len(getattr(declarations.types, type_name))

        def raw() -> bytes:
            return source.read_at(position, length)

        def fields() -> list[Field]:
            return list(fields_of(declarations, type_name, raw(), shown))

        where = source.offset + position
        return cls(name or type_name, where, length, raw, fields, pointers, about=about, within=within)

    @cached_property
    def raw(self) -> bytes:
        """Its bytes, as they are stored or, inside a compressed block, unpacked."""
        return self._raw() if callable(self._raw) else self._raw

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Its fields, in order."""
        return tuple(self._fields() if callable(self._fields) else self._fields)

    @cached_property
    def pointers(self) -> tuple[Pointer, ...]:
        """Where it points to."""
        return tuple(self._pointers() if callable(self._pointers) else self._pointers)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a field."""
        for found in self.fields:
            if found.name == name:
                return found.value
        raise KeyError(
            f"{self.name} has no field {name!r}; it has: {', '.join(f.name for f in self.fields)}"
        )

    def follow(self, name: str) -> Structure:
        """Read what a pointer points to.

        Raises
        ------
        OsvlabError
            There is no pointer of that name; those that exist are listed.
        DamagedError
            What it points to cannot be right.
        """
        for pointer in self.pointers:
            if pointer.name == name:
                return pointer.read()
        names = [pointer.name for pointer in self.pointers]
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise OsvlabError(
            f"{self.name} does not point to {name!r}", hint=f"It points to: {listed or 'nothing'}."
        )

    def __truediv__(self, name: str) -> Structure:
        return self.follow(name)

    def walk(self, depth: int = 3) -> Iterator[tuple[int, Structure]]:
        """Yield this structure and what it points to, with how deep, up to a depth."""
        yield from _walk(self, 0, depth, set())

    def hex(self, limit: int = 256) -> str:
        """Return its first bytes as a hexadecimal dump."""
        lines = [
            f"{self.offset + start:08x}  {row.hex(' '):<47}  {_printable(row)}"
            for start in range(0, min(limit, len(self.raw)), 16)
            for row in (self.raw[start : start + 16],)
        ]
        return "\n".join(lines + (["..."] if len(self.raw) > limit else []))

    def __str__(self) -> str:
        where = f" of {self.within}" if self.within else ""
        head = f"{self.name} at byte {self.offset:#x}{where}, {self.length:,} bytes"
        rows = [(f"{f.offset:#x}", f.name, f.text, f.meaning) for f in self.fields]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [
            "  "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([head, *lines])

    def __repr__(self) -> str:
        return f"<{self.name} at {self.offset:#x}, {self.length} bytes>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show its fields as a table, and where it points to."""
        cells = [(f"{f.offset:#x}", f.name, f.text, f.meaning) for f in self.fields]
        rows = "".join(map(_row, cells))
        head = "".join(
            f'<th scope="col"{_CELL}>{name}</th>' for name in ("byte", "field", "value", "meaning")
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        names = [f"<code>{html.escape(pointer.name)}</code>" for pointer in self.pointers]
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        leads = f"<p>points to: {', '.join(names[:_LISTED])}{more}</p>" if names else ""
        where = f" of {html.escape(self.within)}" if self.within else ""
        title = f"<b>{html.escape(self.name)}</b> at byte {self.offset:#x}{where}, {self.length:,} bytes"
        about = f"<p>{html.escape(self.about)}</p>" if self.about else ""
        page = f'<div class="osvlab-structure">{title}{about}{table}{leads}</div>'
        return {"text/plain": str(self), "text/html": page}


def _row(cells: tuple[str, str, str, str]) -> str:
    offset, name, value, meaning = map(html.escape, cells)
    keep = " white-space:nowrap;" if len(value) <= _SHOWN else ""  # longer ones may wrap
    return (
        f'<tr><td{_CELL}>{offset}</td><th scope="row"{_CELL}>{name}</th>'
        f'<td{_CELL}><code style="background:none;padding:0;{keep}">{value}</code></td>'
        f"<td{_WIDE_CELL}>{meaning}</td></tr>"
    )


def _walk(
    structure: Structure, depth: int, limit: int, seen: set[tuple[str, int, str]]
) -> Iterator[tuple[int, Structure]]:
    key = (structure.within, structure.offset, structure.name)  # a table begins where its first record does
    if key in seen and depth:
        return
    seen.add(key)
    yield depth, structure
    if depth < limit:
        for pointer in structure.pointers:
            yield from _walk(pointer.read(), depth + 1, limit, seen)


def _printable(row: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)


def fields_of(
    declarations: Declarations,
    type_name: str,
    data: bytes,
    shown: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Iterator[Field]:
    """Yield the fields of a declared structure of fixed length from its bytes; cut off where they end."""
    kind = getattr(declarations.types, type_name)
    meanings = declarations.meanings.get(type_name, {})
    value = kind(data.ljust(len(kind), b"\0"))
    for member in kind.__fields__:
        offset, length = member.offset, len(member.type)
        if offset + length > len(data):
            return
        found = getattr(value, member._name)
        make = (shown or {}).get(member._name)
        plain = make(found) if make is not None else _plain(found)
        yield Field(member._name, offset, length, plain, meanings.get(member._name, ""))


def _plain(value: Any) -> Any:
    """Turn cstruct's integers and byte arrays into Python's."""
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def stored_bytes(
    name: str, source: ByteRange, position: int, length: int, about: str = "", within: str = ""
) -> Structure:
    """Return bytes that have no fields, such as a file's contents; `raw` has the first 64 KiB of them."""
    return Structure(
        name,
        source.offset + position,
        length,
        lambda: source.read_at(position, min(length, _KEPT)),
        about=about or "as they are stored, without fields",
        within=within,
    )


def explain_example() -> Structure:
    """Return a disk of 16 bytes with a header that points to a record, for the documentation."""
    c = declare("""
struct header {
    uint32  magic;  /* says what this is */
    uint32  first;  /* byte of the first record */
};
struct record {
    uint64  data;
};
""")
    source = ByteRange(bytes.fromhex("adbeadde 08000000 0102030405060708"))
    record = Pointer("first record", lambda: Structure.at(c, "record", source, 8))
    return Structure.at(c, "header", source, 0, [record])
