"""Tables: text for everybody, HTML that cannot be misused."""

from __future__ import annotations

import re

from osvlab.guest.models import Thread
from osvlab.widgets.table import Table


def test_dataclasses_and_mappings_are_rows() -> None:
    threads = [Thread(1, "boot", cpu_ms=7), Thread(20, "web", cpu_ms=123)]
    assert repr(Table(threads, "Threads", ["id", "name", "cpu_ms"])) == (
        "Threads\nid  name  cpu_ms\n 1  boot       7\n20  web      123"
    )
    assert repr(Table([{"a": 1.5, "b": None}])) == "   a  b\n1.50"


def test_html_is_escaped_and_has_headers() -> None:
    html = Table([{"<b>": "<script>"}], "a & b")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<caption>a &amp; b</caption>" in html
    assert '<th scope="col"' in html


def test_short_words_are_not_broken_and_long_ones_may_be() -> None:
    html = Table(
        [{"day": "2026-11-26", "n": 1, "said": "a sentence that is longer than a column"}]
    )._repr_html_()
    day, number, said = re.findall(r"<td([^>]*)>", html)
    assert "nowrap" in day
    assert "nowrap" in number
    assert "nowrap" not in said


def test_no_rows_are_a_table_too() -> None:
    assert repr(Table([], "Nothing", ["id", "name"])) == "Nothing\nid  name"
    assert "<tbody></tbody>" in Table([], "Nothing")._repr_html_()


def test_a_column_that_some_rows_lack_is_empty_there() -> None:
    assert repr(Table([{"a": 1, "b": 2}, {"a": 3}])) == "a  b\n1  2\n3"
