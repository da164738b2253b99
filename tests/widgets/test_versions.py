"""What versions of a tree share, in text and in colours."""

from __future__ import annotations

import re

from osvlab.widgets.versions import Versions

VERSIONS = {
    "first": {"root": "1", "a": "2", "b": "3"},
    "second": {"root": "4", "a": "2", "b": "5", "<new>": "6"},
    "third": {"root": "7", "a": "2", "b": "5"},
}


def test_text_brackets_what_was_kept() -> None:
    assert repr(Versions("Blocks", VERSIONS)).splitlines() == [
        "Blocks",
        "block  first  second  third",
        "root   1      4       7",
        "a      2      (2)     (2)",
        "b      3      5       (5)",
        "<new>         6",
    ]


def test_a_colour_is_that_of_the_version_that_wrote_the_block() -> None:
    html = Versions("Blocks", VERSIONS)._repr_html_()
    rows = [re.findall(r"rgb\(([\d,]+)\)", row) for row in html.split("<tr>")[2:]]
    first, second, third = rows[0]
    assert len({first, second, third}) == 3
    assert rows[1:] == [[first, first, first], [first, second, second], [second]]
    assert [html.count(f"({place})") for place in "2534"] == [2, 1, 0, 0]
    assert "&lt;new&gt;" in html
    assert "<new>" not in html


def test_no_version_is_an_empty_table() -> None:
    assert repr(Versions("Nothing", {})) == "Nothing\nblock"
    assert "<tbody></tbody>" in Versions("Nothing", {})._repr_html_()
