"""The page's part: complete, small, and from nowhere else."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from osvlab.widgets.console import ConsoleWidget

NAMES = ("http://www.w3.org/2000/svg",)  # of vocabularies: nobody fetches anything from there
STATIC = sorted(path.name for path in files("osvlab").joinpath("static").iterdir())


def read(name: str) -> str:
    return files("osvlab").joinpath("static", name).read_text()


@pytest.mark.parametrize("name", STATIC)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = read(name)
    for vocabulary in NAMES:
        text = text.replace(f'"{vocabulary}"', "")
    assert not re.search(r"https?://|@import|\bimport\b|url\(|<script", text)


@pytest.mark.parametrize("name", [name for name in STATIC if name.endswith(".js")])
def test_guests_cannot_write_markup(name: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", read(name)
    )


def test_the_code_is_text_and_small() -> None:
    # anywidget never frees a widget whose code is a path.
    assert type(ConsoleWidget._esm) is str
    assert type(ConsoleWidget._css) is str
    assert len(ConsoleWidget._esm) + len(ConsoleWidget._css) < 40_000


def test_motion_can_be_turned_off() -> None:
    css = read("console.css")
    assert ("animation:" in css) == ("prefers-reduced-motion" in css)


def channel(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    red, green, blue = (channel(int(colour[n : n + 2], 16)) for n in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("start", "paper"), [(".osvlab-console {", "#f5f5f5"), ("[data-jp-theme", "#212121")]
)
def test_the_guests_colours_can_be_read(start: str, paper: str) -> None:
    css = read("console.css")
    block = css[css.index(start) :]
    colours = re.findall(r"--osvlab-\d+: (#[0-9a-f]{6});", block[: block.index("}")])
    assert len(colours) == 16
    assert all(contrast(colour, paper) >= 4.5 for colour in colours)
