"""Turns are short as long as anybody wants that, and then as they were."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest

from osvlab.filesystems.zfs.writer.turns import short_turns


def test_they_are_as_before_when_the_last_is_through() -> None:
    usual = sys.getswitchinterval()
    first, second = ExitStack(), ExitStack()
    first.enter_context(short_turns())
    second.enter_context(short_turns())
    first.close()  # who came first is not the last
    assert sys.getswitchinterval() == pytest.approx(0.001)
    second.close()
    assert sys.getswitchinterval() == usual


def test_an_error_ends_them() -> None:
    usual = sys.getswitchinterval()
    with pytest.raises(ValueError, match="wrong"), short_turns():
        raise ValueError("wrong")
    assert sys.getswitchinterval() == usual


def test_those_that_are_shorter_stay() -> None:
    usual = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.0005)
        with short_turns():
            assert sys.getswitchinterval() == pytest.approx(0.0005)
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    finally:
        sys.setswitchinterval(usual)
