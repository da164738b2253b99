"""Figures of bars in rows: what all of the lab's have in common."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import plotly.io

__all__ = ["PALETTE", "Figure"]

# Okabe and Ito's palette: told apart by everybody.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7")
_INK = "#7a7a7a"  # readable on a light and on a dark page
_GRID = "rgba(128, 128, 128, 0.3)"
_ROW, _AROUND = 26, 110  # pixels


class Figure(go.Figure):  # type: ignore[misc]
    """A figure that a notebook draws by itself: 10 KB of numbers, no script, no network."""

    # plotly's own choice of renderer may put its 5 MB library into the notebook.
    _ipython_display_ = None

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = plotly.io.renderers["plotly_mimetype"].to_mimebundle(self.to_dict())
        return bundle

    def lay_out(self, title: str, rows: list[str], along: str, end: float) -> None:
        """Give it a title, rows from top to bottom, and an axis from 0 to `end` of what `along` says."""
        self.update_layout(
            template="none",
            title={"text": title, "font_size": 15, "x": 0.01, "xanchor": "left"},
            font={"color": _INK, "size": 13},
            paper_bgcolor="rgba(0, 0, 0, 0)",
            plot_bgcolor="rgba(0, 0, 0, 0)",
            height=_AROUND + _ROW * len(rows),
            margin={"l": 10, "r": 20, "t": 50, "b": 45},
            barmode="overlay",
            legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        )
        self.update_xaxes(title_text=along, range=[0, end], gridcolor=_GRID, zerolinecolor=_GRID)
        # The first row on top. Without the order, plotly would sort by group.
        self.update_yaxes(
            autorange="reversed", categoryorder="array", categoryarray=rows, automargin=True, ticks=""
        )
