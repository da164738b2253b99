from __future__ import annotations

import struct
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs.compression import compressor, decompress
from osvlab.filesystems.zfs.format import Compression
from osvlab.filesystems.zfs.lzjb import lzjb_decompress

WRITTEN = [Compression.LZ4, Compression.GZIP_1, Compression.GZIP_6, Compression.GZIP_9]
blocks = st.one_of(
    st.binary(min_size=1, max_size=2000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=70), st.integers(1, 200)),
)


def lzjb_compress(data: bytes) -> bytes:
    """LZJB as its author wrote it, in plain steps."""
    table = [0] * 1024
    out = bytearray()
    here, flag, place = 0, 0x80, 0
    while here < len(data):
        flag <<= 1
        if flag == 0x100:
            flag, place = 1, len(out)
            out.append(0)
        if here > len(data) - 66:
            out.append(data[here])
            here += 1
            continue
        key = data[here] << 16 | data[here + 1] << 8 | data[here + 2]
        key += key >> 9
        key += key >> 5
        before = here - (here - table[key & 1023] & 0x3FF)
        table[key & 1023] = here
        if 0 <= before < here and data[before : before + 3] == data[here : here + 3]:
            out[place] |= flag
            length = 3
            while length < 66 and data[before + length] == data[here + length]:
                length += 1
            out += struct.pack(">H", (length - 3) << 10 | here - before)
            here += length
        else:
            out.append(data[here])
            here += 1
    return bytes(out)


@given(blocks, st.sampled_from(WRITTEN), st.integers(0, 600))
def test_blocks_come_back(data: bytes, kind: Compression, padding: int) -> None:
    assert decompress(kind, compressor(kind)(data) + bytes(padding), len(data)) == data


@given(blocks)
def test_lzjb_comes_back(data: bytes) -> None:
    assert lzjb_decompress(lzjb_compress(data) + bytes(17), len(data)) == data


@given(blocks)
def test_zle_comes_back(data: bytes) -> None:
    stored = b"".join(bytes([0, byte]) if byte else bytes([64]) for byte in data)
    assert decompress(Compression.ZLE, stored, len(data)) == data


@given(blocks, st.integers(1, 19))
def test_zstd_comes_back(data: bytes, level: int) -> None:
    packed = zstandard.ZstdCompressor(level=level).compress(data)[4:]
    stored = struct.pack(">2I", len(packed), level << 24 | 10405) + packed
    assert decompress(Compression.ZSTD, stored + bytes(100), len(data)) == data


@given(st.binary(max_size=300), st.integers(1, 5000), st.sampled_from(list(Compression)[2:]))
def test_nonsense_is_told_and_never_more_than_the_block(data: bytes, size: int, kind: Compression) -> None:
    with suppress(ValueError):
        found = decompress(kind, data, size)
        assert found is not None
        assert len(found) == size


def test_a_bomb_makes_one_block() -> None:
    bomb = compressor(Compression.GZIP_9)(bytes(50 << 20))
    assert decompress(Compression.GZIP_9, bomb, 4096) == bytes(4096)


def test_what_is_not_known() -> None:
    assert decompress(77, b"", 1) is None
    with pytest.raises(ValueError, match="lzjb"):
        compressor(Compression.LZJB)(b"")
