"""The screen of the console widget: what a guest sends, and what is then to be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SOURCE = Path(__file__).parents[2] / "osvlab/static/screen.js"
LOAD = """async (source) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    window.screenModule = await import(url);
}"""
DRAW = """(pieces) => {
    const screen = new window.screenModule.Screen();
    for (const piece of pieces) screen.feed(piece);
    return {
        text: screen.lines.map((line) => line.text),
        pieces: screen.lines.map((line) => window.screenModule.pieces(line)),
        cursor: [screen.row, screen.column],
        gone: screen.gone,
    };
}"""
Draw = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def blank(chromium: Any) -> Any:
    page = chromium.new_page()
    page.evaluate(LOAD, SOURCE.read_text())
    yield page
    page.close()


@pytest.fixture
def draw(blank: Page) -> Draw:
    return lambda *pieces: blank.evaluate(DRAW, list(pieces))


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("a lone\nfeed returns", ["a lone", "feed returns"]),
        ("50%\r100%", ["100%"]),
        ("longer\rshort", ["shortr"]),
        ("typo\b\b\b\b    \b\b\b\bfixed", ["fixed"]),
        ("\b\b\bstart", ["start"]),
        ("a\tb\tc", ["a       b       c"]),
        ("bell\x07 and null\x00", ["bell and null"]),
        ("abc\x1b[2D\x1b[K", ["a"]),
        ("abc\x1b[1K", ["   "]),
        ("abc\x1b[2Kd", ["   d"]),
        ("abc\x1b[2J\x1b[Hnew", ["new"]),
        ("one\r\ntwo\r\nthree\x1b[2A\r\x1b[J", ["", "", ""]),
        ("\x1b[3;5Hx", ["", "", "    x"]),
        ("\x1b[Hx", ["x"]),
        ("abc\x1b[5Gx", ["abc x"]),
        ("abcdef\x1b[4D\x1b[2P", ["abef"]),
        ("abef\x1b[2D\x1b[2@cd", ["abcdef"]),
        ("abcdef\x1b[5D\x1b[3X", ["a   ef"]),
        ("ab\x1b7cd\x1b8X", ["abXd"]),
        ("\x1b[?25l\x1b[?1049hhidden modes", ["hidden modes"]),
        ("\x1b]0;a title\x07after", ["after"]),
        ("\x1b]0;a title\x1b\\after", ["after"]),
        ("\x1b[6nquestion", ["question"]),
        ("\x1b(Bcharset", ["charset"]),
        ("\x1b[>cprivate", ["private"]),
        ("\x9bC1 is nothing", ["C1 is nothing"]),
        ("ünï→cødé 🐧", ["ünï→cødé 🐧"]),
        ("<b>&amp;</b>", ["<b>&amp;</b>"]),
    ],
)
def test_text_and_sequences(draw: Draw, sent: str, seen: list[str]) -> None:
    assert draw(sent)["text"] == seen
    # Messages may be cut anywhere (but not inside a character: that is the decoder's).
    assert draw(*sent)["text"] == seen


@pytest.mark.parametrize(
    ("sent", "pieces"),
    [
        ("\x1b[31mred\x1b[0m plain", [["red", "ink1"], [" plain", ""]]),
        ("\x1b[1;4;92mall\x1b[m", [["all", "ink10 bold underline"]]),
        ("\x1b[44mblue\x1b[49m none", [["blue", "paper4"], [" none", ""]]),
        ("\x1b[7minverse\x1b[27m", [["inverse", "ink-paper paper-ink"]]),
        ("\x1b[31;7minverse", [["inverse", "ink-paper paper1"]]),
        ("\x1b[38;5;9mof 256\x1b[39m", [["of 256", "ink9"]]),
        ("\x1b[38;5;200;1mbold", [["bold", "bold"]]),
        ("\x1b[38;2;1;2;3;4mrgb", [["rgb", "underline"]]),
        ("plain\r\x1b[32mgr", [["gr", "ink2"], ["ain", ""]]),
    ],
)
def test_colours(draw: Draw, sent: str, pieces: list[list[str]]) -> None:
    assert draw(sent)["pieces"] == [pieces]


def test_old_lines_go_and_are_counted(draw: Draw) -> None:
    drawn = draw("".join(f"line {number}\r\n" for number in range(5000)))
    assert len(drawn["text"]) == 2000
    assert drawn["gone"] == 3001
    assert drawn["text"][-2:] == ["line 4999", ""]
    assert drawn["cursor"] == [1999, 0]


def test_an_endless_line_is_folded(draw: Draw) -> None:
    drawn = draw("x" * 10_000)
    assert "".join(drawn["text"]) == "x" * 10_000
    assert max(map(len, drawn["text"])) == 4096


@pytest.mark.parametrize(
    "sent",
    [
        "\x1b[999999999;999999999H",
        "\x1b[999999999Bx\x1b[999999999Cx",
        "\x1b[99999999999999999999@",
        "\x1b[" + ";" * 10_000 + "m",
        "\x1b]" + "x" * 10_000,
        "\x1b[-1A\x1b[-5D\x1b[0P",
        "\x1b" * 5000,
        "\x1b[999999999X",
    ],
    ids=range(8),
)
def test_a_hostile_guest_costs_little(draw: Draw, sent: str) -> None:
    drawn = draw(sent, "\r\nstill here")
    assert "still here" in "".join(drawn["text"])
    assert len(drawn["text"]) <= 2000
    assert max(map(len, drawn["text"])) <= 4096


def test_a_program_that_draws_the_whole_screen(draw: Draw) -> None:
    before = "".join(f"log {number}\r\n" for number in range(30))
    frame = "\x1b[H" + "\r\n".join(f"row {row}\x1b[K" for row in range(24))
    drawn = draw(before, *[frame] * 10)
    assert len(drawn["text"]) == 31  # drawn over and over, in the same place
    assert drawn["text"][-24:] == [f"row {row}" for row in range(24)]
    assert drawn["text"][:7] == [f"log {row}" for row in range(7)]
