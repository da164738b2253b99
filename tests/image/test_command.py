from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.image.command import CommandError, join_command_line, parse_command, quote, split_command_line


@pytest.mark.parametrize(
    ("command", "parsed"),
    [
        ("/hello", [["/hello"]]),
        ("/hello one  two\n", [["/hello", "one", "two"]]),
        ("/a;/b", [["/a"], ["/b"]]),
        ("/a&/b", [["/a"], ["/b"]]),
        ("/a &! /b ! /c", [["/a"], ["/b"], ["/c"]]),
        (" ; ;; ", []),
        ('/a "b;c d"', [["/a", "b;c d"]]),
        ("/a 'b c'", [["/a", "'b", "c'"]]),
        (r"/a b\ c \n", [["/a", "b c", "\n"]]),
        (r'/a "say \"hi\""', [["/a", 'say "hi"']]),
        ('/a x"y z', [["/a", 'x"y', "z"]]),
    ],
)
def test_the_grammar_of_osv(command: str, parsed: list[list[str]]) -> None:
    assert parse_command(command) == parsed


@pytest.mark.parametrize("command", ['/a "b', '"', "/a \\"])
def test_what_has_no_end_is_refused(command: str) -> None:
    with pytest.raises(CommandError, match=r"without its end"):
        parse_command(command)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1))
def test_quoted_words_are_read_back(words: list[str]) -> None:
    assert parse_command(" ".join(quote(word) for word in words)) == [words]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("/hello", ("", "/hello")),
        ("--verbose /hello --loud", ("--verbose", "/hello --loud")),
        ("--a --b=c  /x", ("--a --b=c", "/x")),
        (r"--env=A=b\ -c /x", (r"--env=A=b\ -c", "/x")),
        ("--verbose", ("--verbose", "")),
        ("", ("", "")),
        ("  --a /x ", ("--a", "/x")),
        ("--a=b\\  /x\\  ", ("--a=b\\ ", "/x\\ ")),
        ("--a=b\u00a0c\x1c /x", ("--a=b\u00a0c\x1c", "/x")),
        ("--a\\", ("--a\\", "")),
    ],
)
def test_options_end_where_the_command_starts(line: str, parts: tuple[str, str]) -> None:
    assert split_command_line(line) == parts
    assert split_command_line(join_command_line(*parts)) == parts


def test_all_blanks_of_the_guest_part_words() -> None:
    assert parse_command("/x\fa\vb\rc\u00a0d") == [["/x", "a", "b", "c\u00a0d"]]
