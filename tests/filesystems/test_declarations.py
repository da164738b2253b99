"""Declarations: C text read into types, and its comments into meanings."""

from __future__ import annotations

import pytest
from dissect.cstruct.exceptions import ResolveError

from osvlab.filesystems.declarations import declare

POINT = """
#include <stdint.h>
#if !defined POINT_H
#define NAME_LENGTH 6
struct point {
    uint16  x;          /* millimetres,
                           from the left */
    uint16  y;
    uint64  far;        /* block */
    char    name[NAME_LENGTH];  /* of who
                                   put it there */
};
#endif
"""


def test_a_comment_behind_a_field_is_its_meaning() -> None:
    assert declare(POINT).meanings["point"] == {
        "x": "millimetres, from the left",
        "far": "block",
        "name": "of who put it there",
    }


def test_of_the_preprocessor_only_definitions_count() -> None:
    assert len(declare(POINT).types.point) == 2 + 2 + 8 + 6


def test_bytes_have_the_order_that_was_asked_for() -> None:
    text = "struct number { uint32 value; };"
    assert declare(text).types.number(b"\0\0\1\2").value == 0x02010000
    assert declare(text, endian=">").types.number(b"\0\0\1\2").value == 0x0102


def test_text_is_read_when_a_type_is_asked_for() -> None:
    broken = declare("struct point { what is this; };")
    with pytest.raises(ResolveError, match="what is"):
        broken.types  # noqa: B018
