"""The words after `--`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.cli.command import guest_command
from osvlab.errors import OsvlabError
from osvlab.image.command import parse_command

# No NUL can be in an argument; a $ is refused.
WORDS = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(WORDS, min_size=2))
def test_several_words_reach_the_program_unchanged(words: list[str]) -> None:
    command = guest_command(words)
    assert command is not None
    assert parse_command(command) == [words]


@given(st.text())
def test_one_word_is_a_command_line(word: str) -> None:
    assert guest_command([word]) == word


def test_no_word_leaves_the_images_command() -> None:
    assert guest_command([]) is None


def test_a_dollar_is_refused() -> None:
    with pytest.raises(OsvlabError, match=r"\$HOME"):
        guest_command(["/bin/busybox", "echo", "$HOME"])
