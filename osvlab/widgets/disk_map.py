"""Where on a disk what lies: a row for each kind of thing, as a figure and as text."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from osvlab.paths import format_size
from osvlab.widgets.display import in_notebook

__all__ = ["DiskMap"]

_COLUMNS = 64  # of the text
_FINEST = 1000  # parts of the disk: what is closer is drawn as one piece
_MIB = 1 << 20


class DiskMap:
    """A map of a disk, to scale.

    Parameters
    ----------
    title
        What stands above it.
    size
        Bytes of the disk.
    rows
        By name, where the pieces of a thing lie: offset and length, in bytes.

    Examples
    --------
    >>> labels = [(0, 1 << 20), (63 << 20, 1 << 20)]
    >>> DiskMap("A disk", 64 << 20, {"labels": labels, "a file": [(1 << 20, 1)]})
    A disk, 64 MiB
    labels  |#..............................................................#|  2 pieces, 2 MiB
    a file  |.#..............................................................|  1 piece, 1 B
    """

    def __init__(self, title: str, size: int, rows: Mapping[str, Iterable[tuple[int, int]]]) -> None:
        self.title = title
        self.size = size
        self.rows = {name: _joined(pieces) for name, pieces in rows.items()}

    def __repr__(self) -> str:
        widest = max(map(len, self.rows), default=0)
        lines = [
            f"{name:<{widest}}  |{self._drawn(pieces)}|  {_told(pieces)}"
            for name, pieces in self.rows.items()
        ]
        return "\n".join([f"{self.title}, {format_size(self.size)}", *lines])

    def _drawn(self, pieces: list[tuple[int, int]]) -> str:
        cells = ["."] * _COLUMNS
        for offset, length in pieces:
            first = offset * _COLUMNS // self.size
            last = (offset + length - 1) * _COLUMNS // self.size
            cells[first : last + 1] = "#" * (last + 1 - first)
        return "".join(cells[:_COLUMNS])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        text = {"text/plain": repr(self)}
        if not in_notebook():
            return text
        try:
            return {**self.figure()._repr_mimebundle_(), **text}
        except Exception as error:  # noqa: BLE001 - IPython would swallow it and say nothing of the reason
            warnings.warn(f"cannot draw the map of a disk: {error!r}", RuntimeWarning, stacklevel=2)
            return text

    def figure(self) -> Any:
        """Return it as a figure."""
        from osvlab.widgets.figure import PALETTE, Figure

        figure = Figure()
        for number, (name, pieces) in enumerate(self.rows.items()):
            shown = _joined(pieces, self.size // _FINEST)
            colour = PALETTE[number % len(PALETTE)]
            figure.add_bar(
                name=name,
                showlegend=False,
                orientation="h",
                y=[name] * len(shown),
                base=[round(offset / _MIB, 4) for offset, _ in shown],
                x=[round(length / _MIB, 4) for _, length in shown],
                customdata=[f"{offset:#x}, {format_size(length)}" for offset, length in shown],
                # A line, so that the smallest piece can be seen.
                marker={"color": colour, "line": {"color": colour, "width": 2}},
                hovertemplate="%{y}: from byte %{customdata}<extra></extra>",
            )
        names = {name: f"{name}: {_told(pieces)}" for name, pieces in self.rows.items()}
        figure.lay_out(
            f"{self.title}, {format_size(self.size)}", list(self.rows), "MiB", self.size / _MIB * 1.005
        )
        figure.update_yaxes(tickmode="array", tickvals=list(names), ticktext=list(names.values()))
        return figure


def _joined(pieces: Iterable[tuple[int, int]], gap: int = 0) -> list[tuple[int, int]]:
    """Return pieces in order; those that touch or overlap, or lie closer than a gap, as one."""
    found: list[tuple[int, int]] = []
    for offset, length in sorted(pieces):
        if found and offset <= sum(found[-1]) + gap:
            start = found[-1][0]
            found[-1] = (start, max(sum(found[-1]), offset + length) - start)
        elif length > 0:
            found.append((offset, length))
    return found


def _told(pieces: list[tuple[int, int]]) -> str:
    count = len(pieces)
    return f"{count} piece{'' if count == 1 else 's'}, {format_size(sum(length for _, length in pieces))}"
