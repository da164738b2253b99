"""Rows of facts as a table: HTML in a notebook, aligned columns everywhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Table"]

_SHORT = 24  # characters: dates, addresses and the like are not broken where a window is narrow


class Table:
    """A table of mappings or of dataclasses; without scripts, and with its text.

    Parameters
    ----------
    rows
        What is told, each a mapping from column to value or a dataclass.
    caption
        What stands above it.
    columns
        Which columns, in which order; None takes those of the first row.

    Examples
    --------
    >>> Table([{"id": 1, "name": "boot"}, {"id": 12, "name": "web"}], "Threads")
    Threads
    id  name
     1  boot
    12  web
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any] | DataclassInstance],
        caption: str = "",
        columns: Iterable[str] | None = None,
    ) -> None:
        facts = [_facts(row) for row in rows]
        self.caption = caption
        self.columns = list(columns if columns is not None else (facts[0] if facts else ()))
        self.rows = [[row.get(column, "") for column in self.columns] for row in facts]
        self._numbers = [
            bool(self.rows) and all(isinstance(row[n], int | float) for row in self.rows)
            for n in range(len(self.columns))
        ]

    def __repr__(self) -> str:
        lines = [self.columns, *([_written(value) for value in row] for row in self.rows)]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.columns))]
        text = (
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(line, widths, self._numbers, strict=True)
            ).rstrip()
            for line in lines
        )
        return "\n".join([*([self.caption] if self.caption else []), *text])

    def _repr_html_(self) -> str:
        looks = [self._look(n) for n in range(len(self.columns))]
        head = "".join(
            f'<th scope="col"{look}>{escape(column)}</th>'
            for column, look in zip(self.columns, looks, strict=True)
        )
        body = "".join(
            "<tr>{}</tr>".format(
                "".join(
                    f"<td{look}>{escape(_written(value))}</td>"
                    for value, look in zip(row, looks, strict=True)
                )
            )
            for row in self.rows
        )
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return (
            f'<table class="osvlab-table">{caption}<thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table>"
        )

    def _look(self, column: int) -> str:
        longest = max((len(_written(row[column])) for row in self.rows), default=0)
        side = "right" if self._numbers[column] else "left"
        return f' style="text-align:{side}{";white-space:nowrap" if longest <= _SHORT else ""}"'


def _facts(row: Mapping[str, Any] | DataclassInstance) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)
