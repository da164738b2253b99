"""The boot timeline as a plotly figure."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import plotly.io

from osvlab.vm.timeline import BootTimeline

__all__ = ["TimelineFigure", "boot_figure"]

# Okabe and Ito's palette: told apart by everybody. Who did the work also stands in the names.
_HOST, _KERNEL, _APPLICATION = "#e69f00", "#56b4e9", "#009e73"
_INK = "#7a7a7a"  # readable on a light and on a dark page
_GRID = "rgba(128, 128, 128, 0.3)"
_ROW, _AROUND = 26, 110  # pixels


class TimelineFigure(go.Figure):  # type: ignore[misc]
    """A figure that a notebook draws by itself: 10 KB of numbers, no script, no network."""

    # plotly's own choice of renderer may put its 5 MB library into the notebook.
    _ipython_display_ = None

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = plotly.io.renderers["plotly_mimetype"].to_mimebundle(self.to_dict())
        return bundle


def boot_figure(timeline: BootTimeline) -> TimelineFigure:
    """Draw a boot: one bar a step, from where it began to where it ended, in milliseconds.

    Examples
    --------
    >>> from osvlab.vm.timeline import BootStep
    >>> steps = (BootStep("QEMU and firmware", 0, 0.09), BootStep("page tables", 0.09, 0.001))
    >>> figure = boot_figure(BootTimeline(steps))
    >>> [(bar.name, list(bar.y)) for bar in figure.data]
    [('QEMU', ['QEMU and firmware']), ('kernel', ['page tables'])]
    """
    groups: dict[str, tuple[str, list[int]]] = {
        "QEMU": (_HOST, []),
        "kernel": (_KERNEL, []),
        "application": (_APPLICATION, []),
    }
    for number, step in enumerate(timeline.steps):
        groups[_who(number, step.name)][1].append(number)
    figure = TimelineFigure()
    for who, (colour, numbers) in groups.items():
        if not numbers:
            continue
        steps = [timeline.steps[number] for number in numbers]
        figure.add_bar(
            name=who,
            orientation="h",
            y=[step.name for step in steps],
            base=[step.start * 1e3 for step in steps],
            x=[step.duration * 1e3 for step in steps],
            text=[f"{step.duration * 1e3:.2f} ms" for step in steps],
            textposition="outside",
            cliponaxis=False,
            marker_color=colour,
            hovertemplate="%{y}: from %{base:.2f} ms, for %{text}<extra></extra>",
        )
    rows = list(dict.fromkeys(step.name for step in timeline.steps))
    _lay_out(figure, rows, timeline.total * 1e3)
    return figure


def _who(number: int, name: str) -> str:
    if number == 0:
        return "QEMU"
    return "application" if name.startswith("application") else "kernel"


def _lay_out(figure: TimelineFigure, rows: list[str], total: float) -> None:
    figure.update_layout(
        template="none",
        title={
            "text": f"Boot: {total:.1f} ms from starting QEMU",
            "font_size": 15,
            "x": 0.01,
            "xanchor": "left",
        },
        font={"color": _INK, "size": 13},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        height=_AROUND + _ROW * len(rows),
        margin={"l": 10, "r": 20, "t": 50, "b": 45},
        barmode="overlay",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(
        title_text="milliseconds",
        range=[0, total * 1.15],  # room for the last label
        gridcolor=_GRID,
        zerolinecolor=_GRID,
    )
    # The first step on top. Without the order, plotly would sort by group.
    figure.update_yaxes(
        autorange="reversed", categoryorder="array", categoryarray=rows, automargin=True, ticks=""
    )
