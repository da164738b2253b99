from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.filesystems.osv_kernel.fastlz import LzError, decompress
from tests.filesystems.packing import compress

# Bytes that repeat, near and far, in runs and not at all.
texts = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=40),
        st.tuples(st.sampled_from([b"a", b"ab", b"kernel"]), st.integers(1, 700)).map(lambda t: t[0] * t[1]),
    ),
    min_size=1,
    max_size=12,
).map(b"".join)


@pytest.mark.parametrize("level", [1, 2])
@given(data=texts)
def test_what_was_compressed_comes_back(level: int, data: bytes) -> None:
    packed = compress(data, level)
    assert packed[0] >> 5 == level - 1
    assert decompress(packed, len(data)) == data


def test_far_matches_of_level_two() -> None:
    chance = random.Random(1)
    block = chance.randbytes(60)
    for between in (8180, 8191 - 60, 8192 - 60, 8193, 20_000, 65_535 + 8191 - 60):
        data = block + chance.randbytes(between) + block
        packed = compress(data, 2)
        assert decompress(packed, len(data)) == data
        assert len(packed) < len(data) + len(data) // 31 - 40  # the second block was found again
    assert decompress(compress(b"x" * 100_000, 2), 100_000) == b"x" * 100_000


@pytest.mark.parametrize(
    ("data", "size", "message", "position"),
    [
        (b"", 1, "is empty", 0),
        (b"\x40a", 1, "unknown level 3", 0),
        (b"\x02ab", 3, "is cut off", 3),
        (b"\x02abc\xe0", 20, "is cut off", 5),
        (b"\x02abc\xe0\x05", 20, "is cut off", 6),
        (b"\x22abc\xff\xff\xff", 5000, "is cut off", 7),
        (b"\x22abc\x3f\xff\x00", 20, "is cut off", 7),
        (b"\x02abc\x20\x03", 20, "reaches 4 bytes back where there are 3", 6),
        (b"\x02abc\xe0\x90\x02", 20, "becomes more than 20 bytes", 7),
        (b"\x02abc", 2, "becomes more than 2 bytes", 4),
        (b"\x02abc", 4, "becomes 3 bytes instead of 4", 4),
    ],
)
def test_damage_is_named(data: bytes, size: int, message: str, position: int) -> None:
    with pytest.raises(LzError, match=message) as caught:
        decompress(data, size)
    assert caught.value.position == position


@given(st.binary(max_size=300), st.integers(0, 5000))
@settings(deadline=1000)
def test_any_bytes_are_an_error_or_become_just_so_many(data: bytes, size: int) -> None:
    with contextlib.suppress(LzError):
        assert len(decompress(data, size)) == size
