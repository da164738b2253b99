"""Structures: decoded lazily, followed from one to the next, and shown."""

from __future__ import annotations

import re

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.declarations import declare
from osvlab.filesystems.structure import Field, Pointer, Structure, stored_bytes

POINT = declare("""
struct point {
    uint16  x;          /* millimetres, from the left */
    uint16  y;
    uint64  far;        /* block */
    char    name[6];
};
""")


def test_a_structure_is_decoded_where_it_lies() -> None:
    source = ByteRange(b"...." + bytes.fromhex("01000200 0000010000000000") + b"hi\0\0\0\0")
    found = Structure.at(POINT, "point", source, 4)
    assert (found["x"], found["y"], found["far"], found.offset) == (1, 2, 0x10000, 4)
    assert [field.text for field in found.fields] == ["1", "2", "0x10000", "hi"]
    assert "millimetres, from the left" in str(found)
    assert "hi" in found._repr_mimebundle_()["text/html"]


def test_bytes_are_counted_as_people_do() -> None:
    size = Field("used", 0, 8, 5_868_544, "bytes of this one")
    place = Field("offset", 8, 8, 5_868_544, "where it is, in bytes")
    assert (size.text, place.text) == ("5,868,544", "0x598c00")


def test_what_is_cut_off_has_no_value() -> None:
    found = Structure.at(POINT, "point", ByteRange(b"\1\0\2\0"), 0)
    assert [field.name for field in found.fields] == ["x", "y"]


def test_a_structure_says_what_it_lies_in() -> None:
    found = Structure("point", 0x10, 4, b"", within="block 3, unpacked")
    assert str(found) == "point at byte 0x10 of block 3, unpacked, 4 bytes"
    assert "</b> at byte 0x10 of block 3, unpacked, 4 bytes" in found._repr_mimebundle_()["text/html"]
    assert str(Structure("point", 0x10, 4, b"")) == "point at byte 0x10, 4 bytes"


def test_nothing_is_read_before_it_is_asked_for() -> None:
    asked: list[str] = []

    def read() -> Structure:
        asked.append("next")
        return Structure("next", 8, 0, b"")

    found = Structure("first", 0, 0, b"", pointers=[Pointer("next", read)])
    assert [pointer.name for pointer in found.pointers] == ["next"]
    assert not asked
    assert (found / "next").name == "next"
    with pytest.raises(OsvlabError, match="does not point to 'other'") as caught:
        found.follow("other")
    assert "next" in str(caught.value.hint)


def test_walking_ends_where_pointers_lead_in_a_circle() -> None:
    def first() -> Structure:
        return Structure("first", 0, 1, b"\0", pointers=lambda: [Pointer("again", first)])

    assert len(list(first().walk(depth=50))) == 1


def test_a_structure_is_shown_as_a_table_with_headings() -> None:
    fields = [Field("<magic>", 0, 4, 0x1234567, "says & means"), Field("long", 4, 60, "word " * 20)]
    behind = Pointer("next <one>", lambda: stored_bytes("one", ByteRange(b"1234"), 0, 4))
    shown = Structure("header", 16, 64, bytes(64), fields, [behind])
    page = shown._repr_mimebundle_()["text/html"]
    assert re.findall(r'<th scope="col"[^>]*>(\w+)</th>', page) == ["byte", "field", "value", "meaning"]
    assert re.findall(r'<th scope="row"[^>]*>([^<]+)</th>', page) == ["&lt;magic&gt;", "long"]
    assert "says &amp; means" in page
    assert "<code>next &lt;one&gt;</code>" in page
    short, long = re.findall(r"<code style=.([^>]*).>(?:0x|word)", page)
    assert "nowrap" in short
    assert "nowrap" not in long
    assert "<table>" not in Structure("bytes", 0, 4, b"1234")._repr_mimebundle_()["text/html"]
