"""The boot timeline as a figure."""

from __future__ import annotations

import json
from typing import Any

import plotly.io
import pytest

from osvlab.vm.timeline import BootStep, BootTimeline
from osvlab.widgets.timeline import boot_figure

STEPS = (
    BootStep("QEMU and firmware", 0.0, 0.0975),
    BootStep("page tables", 0.0975, 0.0005),
    BootStep("drivers", 0.098, 0.0015),
    BootStep("application to its first line", 0.0995, 0.01),
)
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture
def figure() -> dict[str, Any]:
    shown: dict[str, Any] = boot_figure(BootTimeline(STEPS))._repr_mimebundle_()
    return shown


def test_every_step_is_a_bar_where_it_happened(figure: dict[str, Any]) -> None:
    bars = {
        name: (start, length)
        for trace in figure[PLOTLY]["data"]
        for name, start, length in zip(trace["y"], trace["base"], trace["x"], strict=True)
    }
    assert bars == {
        step.name: (pytest.approx(step.start * 1e3), pytest.approx(step.duration * 1e3)) for step in STEPS
    }


def test_the_steps_stand_in_order_and_the_first_on_top(figure: dict[str, Any]) -> None:
    axis = figure[PLOTLY]["layout"]["yaxis"]
    assert list(axis["categoryarray"]) == [step.name for step in STEPS]
    assert axis["autorange"] == "reversed"


def test_colour_is_not_the_only_sign(figure: dict[str, Any]) -> None:
    assert [trace["name"] for trace in figure[PLOTLY]["data"]] == ["QEMU", "kernel", "application"]
    assert all(trace["text"] for trace in figure[PLOTLY]["data"])


def test_nothing_but_numbers_goes_into_the_notebook(
    figure: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(figure) == [PLOTLY]
    assert len(json.dumps(figure)) < 20_000
    # Also when plotly would by itself choose to embed its library.
    monkeypatch.setattr(plotly.io.renderers, "default", "notebook")
    assert list(boot_figure(BootTimeline(STEPS))._repr_mimebundle_()) == [PLOTLY]


def test_an_empty_timeline_is_drawn() -> None:
    assert boot_figure(BootTimeline(())).data == ()
