"""Addresses, deadlines, and JSON that is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.guest import Address, GuestError, GuestTimeoutError
from osvlab.guest.deadline import Deadline
from osvlab.guest.lenient_json import loads
from osvlab.guest.models import FileKind, FileStatus, Interface, Thread

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_proper_json_is_read_as_it_is(value: object) -> None:
    assert loads(json.dumps(value)) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")) is not ...


def test_what_osv_takes_for_json_is_read_too() -> None:
    text = b'{"list": [{"status": Unknown, "name": "is Unknown, \\"Unknown"}], "log": "a\nb\x01\xff"}'
    assert loads(text) == {
        "list": [{"status": "Unknown", "name": 'is Unknown, "Unknown'}],
        "log": "a\nb\x01\ufffd",
    }


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "Unknow", "Unknown Unknown", b"\xff\xfe"])
def test_what_is_neither_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json says what it likes
        loads(text)


@pytest.mark.parametrize(
    "text", ["", "localhost", ":80", "host:", "host:x", "host:0", "host:65536", "h:８０"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(GuestError, match="not an address"):
        Address.parse(text)


def test_addresses_are_read_and_written() -> None:
    assert Address.parse("http://[::1]:8000/") == Address("::1", 8000)
    assert Address("::1", 8000).url("/x") == "http://[::1]:8000/x"


def test_a_deadline_that_has_passed_says_what_was_missing() -> None:
    deadline = Deadline(0)
    assert deadline.passed
    with pytest.raises(GuestTimeoutError, match="no answer within 0 s"):
        deadline.left("answer")
    assert not Deadline(60).passed


def test_models_take_what_they_know_and_ignore_the_rest() -> None:
    thread = Thread.from_json({"id": 7, "cpu": 4294967295, "priority": 3.4e38, "future": 1})
    assert thread == Thread(7, priority=3.4e38)
    status = FileStatus.from_json({"pathSuffix": "x", "type": "DIRECTORY", "permission": "755", "length": 0})
    assert (status.name, status.kind, status.permission) == ("x", FileKind.DIRECTORY, 0o755)
    interface = Interface.from_json({"config": {"name": "eth0", "mtu": "1500"}, "data": {"ifi_ipackets": 3}})
    assert (interface.config.name, interface.data["ifi_ipackets"]) == ("eth0", 3)
