"""Which blocks versions of one tree share: a column for each version, a colour for who wrote a block."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

__all__ = ["Versions"]

# Okabe and Ito's palette, so thin that text on it can be read on a light and on a dark page.
_COLOURS = ("230,159,0", "86,180,233", "0,158,115", "204,121,167", "213,94,0", "0,114,178")
_LEFT = "text-align:left;padding:0.2em 0.3em"  # six columns fit beside JupyterLab's list of files


class Versions:
    """A table of where versions of a tree keep their blocks; those that two share have one colour.

    A block that is at the same place in an older version was not written again: that is what copy on
    write leaves alone. Such a place stands in brackets.

    Parameters
    ----------
    title
        What stands above it.
    versions
        By the name of a version, oldest first, where its blocks are: by what a block is, its place.

    Examples
    --------
    >>> old, new = {"root": "0x10", "a": "0x20", "b": "0x30"}, {"root": "0x50", "a": "0x20", "b": "0x40"}
    >>> Versions("A change of b", {"old": old, "new": new})
    A change of b
    block  old   new
    root   0x10  0x50
    a      0x20  (0x20)
    b      0x30  0x40
    """

    def __init__(self, title: str, versions: Mapping[str, Mapping[str, str]]) -> None:
        self.title = title
        self.versions = {name: dict(places) for name, places in versions.items()}
        self.blocks = list(dict.fromkeys(block for places in self.versions.values() for block in places))

    def writer(self, block: str, place: str) -> int:
        """Return which version, counted from 0, is the first that has a block at a place."""
        found = (number for number, old in enumerate(self.versions.values()) if old.get(block) == place)
        return next(found)

    def __repr__(self) -> str:
        lines = [["block", *self.versions]]
        for block in self.blocks:
            lines.append([block])
            for number, places in enumerate(self.versions.values()):
                place = places.get(block, "")
                kept = place and self.writer(block, place) < number
                lines[-1].append(f"({place})" if kept else place)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
        )
        return "\n".join([self.title, *(line.rstrip() for line in text)])

    def _repr_html_(self) -> str:
        names = ("block", *self.versions)
        head = "".join(f'<th scope="col" style="{_LEFT}">{escape(name)}</th>' for name in names)
        rows = "".join(map(self._row, self.blocks))
        return (
            f'<table class="osvlab-table"><caption>{escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _row(self, block: str) -> str:
        cells = [f'<th scope="row" style="{_LEFT};white-space:nowrap">{escape(block)}</th>']
        for number, places in enumerate(self.versions.values()):
            place = places.get(block)
            if place is None:
                cells.append("<td></td>")
                continue
            writer = self.writer(block, place)
            colour = _COLOURS[writer % len(_COLOURS)]
            look = f"{_LEFT};background:rgba({colour},0.25);border-left:0.2em solid rgb({colour})"
            text = escape(f"({place})" if writer < number else place)
            cells.append(f'<td style="{look}"><code style="background:none">{text}</code></td>')
        return f"<tr>{''.join(cells)}</tr>"
