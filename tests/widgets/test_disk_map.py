"""The map of a disk, as text and as a figure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from osvlab.widgets import disk_map
from osvlab.widgets.disk_map import DiskMap

MIB = 1 << 20
PLOTLY = "application/vnd.plotly.v1+json"


def rows_of(text: str) -> dict[str, str]:
    return {line.partition("  |")[0].strip(): line.split("|")[1] for line in text.splitlines()[1:]}


def test_the_text_has_everything_at_its_place() -> None:
    drawn = rows_of(repr(DiskMap("d", 64 * MIB, {"start": [(0, 1)], "end": [(64 * MIB - 1, 1)], "no": []})))
    assert drawn == {"start": "#" + "." * 63, "end": "." * 63 + "#", "no": "." * 64}


def test_pieces_that_touch_are_one() -> None:
    pieces = [(4096, 512), (0, 512), (512, 512), (256, 512), (9000, 0)]
    assert DiskMap("d", MIB, {"file": pieces}).rows == {"file": [(0, 1024), (4096, 512)]}
    assert "2 pieces, 1.5 KiB" in repr(DiskMap("d", MIB, {"file": pieces}))


def test_what_lies_outside_is_not_drawn_there() -> None:
    assert rows_of(repr(DiskMap("d", MIB, {"file": [(MIB - 512, 4096), (3 * MIB, 1)]}))) == {
        "file": "." * 63 + "#"
    }


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_map, "in_notebook", lambda: True)


@pytest.mark.usefixtures("notebook")
def test_the_figure_is_to_scale_and_has_its_text() -> None:
    shown: dict[str, Any] = DiskMap("d", 4 * MIB, {"file": [(MIB, 2 * MIB)]})._repr_mimebundle_()
    assert set(shown) == {PLOTLY, "text/plain"}
    trace = shown[PLOTLY]["data"][0]
    assert (list(trace["base"]), list(trace["x"]), list(trace["y"])) == ([1], [2], ["file"])
    assert list(shown[PLOTLY]["layout"]["yaxis"]["ticktext"]) == ["file: 1 piece, 2 MiB"]


@pytest.mark.usefixtures("notebook")
def test_a_hundred_thousand_pieces_stay_small() -> None:
    pieces = [(number * 1024, 512) for number in range(100_000)]
    shown = DiskMap("d", 100_000 * 1024, {"file": pieces})._repr_mimebundle_()
    assert len(json.dumps(shown)) < 100_000


def test_a_terminal_gets_the_text_alone() -> None:
    assert list(DiskMap("d", MIB, {})._repr_mimebundle_()) == ["text/plain"]
