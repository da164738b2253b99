"""Compressions of ZFS blocks: lz4, gzip, zstd by libraries, lzjb and zle here.

What is stored is padded with zeros to the vdev's sector. So lz4 and zstd put the length in front,
and the others know from the block's size when they are done.

Source of the format: OpenZFS, module/zfs/{lz4_zfs,gzip,zle}.c and module/zstd/zfs_zstd.c.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from osvlab.filesystems.zfs.format import Compression
from osvlab.filesystems.zfs.lzjb import lzjb_decompress

__all__ = ["compressor", "decompress"]

_ZLE_RUN = 64
_LENGTH = struct.Struct(">I")
_ZSTD_HEAD = struct.Struct(">2I")  # length; version and level
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # ZFS leaves it out
_ZSTD_WINDOW = 32 << 20


def decompress(kind: int, data: bytes, size: int) -> bytes | None:
    """Return the `size` bytes that a block holds.

    Parameters
    ----------
    kind
        How it is compressed, as block pointers number it.
    data
        What is stored.
    size
        Bytes of the block as it is read; never more are made.

    Returns
    -------
    bytes or None
        The bytes; None when `kind` is none that is known here.

    Raises
    ------
    ValueError
        The data cannot have been made that way.

    Examples
    --------
    >>> stored = compressor(Compression.LZ4)(bytes(4096))
    >>> len(stored), decompress(Compression.LZ4, stored, 4096) == bytes(4096)
    (30, True)
    """
    function = _DECOMPRESS.get(kind)
    if function is None:
        return None
    found = function(data, size)
    if len(found) != size:
        raise ValueError(f"the compressed data give {len(found)} bytes instead of {size}")
    return found


def compressor(kind: int) -> Callable[[bytes], bytes]:
    """Return what makes of a block's bytes those that are stored, unpadded; they may be more.

    Parameters
    ----------
    kind
        ``LZ4``, or ``GZIP_1`` to ``GZIP_9``.

    Raises
    ------
    ValueError
        Data are not compressed that way here.
    """
    if kind == Compression.LZ4:
        return _lz4_compressor()
    if Compression.GZIP_1 <= kind <= Compression.GZIP_9:
        level = kind - Compression.GZIP_1 + 1
        return lambda data: zlib.compress(data, level)
    raise ValueError(f"data are not written with {Compression.text(kind)} here")


def _lz4_compressor() -> Callable[[bytes], bytes]:
    from lz4.block import compress

    def pack(data: bytes) -> bytes:
        packed: bytes = compress(data, store_size=False)
        return _LENGTH.pack(len(packed)) + packed

    return pack


def _off(data: bytes, size: int) -> bytes:
    return data[:size]


def _prefixed(data: bytes) -> bytes:
    length = _LENGTH.unpack_from(data)[0] if len(data) >= 4 else 0
    if not 0 < length <= len(data) - 4:
        raise ValueError(f"the compressed data say that they are {length} bytes of {len(data)}")
    return data[4 : 4 + length]


def _lz4(data: bytes, size: int) -> bytes:
    import lz4.block

    try:
        found: bytes = lz4.block.decompress(_prefixed(data), uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"the LZ4 data are damaged: {error}") from None
    return found


def _gzip(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, size)
    except zlib.error as error:
        raise ValueError(f"the gzip data are damaged: {error}") from None


def _zstd(data: bytes, size: int) -> bytes:
    import zstandard

    if len(data) < _ZSTD_HEAD.size:
        raise ValueError("the zstd data are cut off")
    length, _ = _ZSTD_HEAD.unpack_from(data)
    body = data[_ZSTD_HEAD.size : _ZSTD_HEAD.size + length]
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(_ZSTD_MAGIC + body)
    try:
        found: bytes = reader.read(size)
    except zstandard.ZstdError as error:
        raise ValueError(f"the zstd data are damaged: {error}") from None
    return found


def _zle(data: bytes, size: int) -> bytes:
    """Undo zero-length encoding: a byte below 64 says so many + 1 bytes follow, others are runs of zeros."""
    out = bytearray()
    here = 0
    while len(out) < size and here < len(data):
        length = 1 + data[here]
        here += 1
        if length <= _ZLE_RUN:
            out += data[here : here + length]
            here += length
        else:
            out += bytes(length - _ZLE_RUN)
    if len(out) > size:
        raise ValueError(f"the compressed data give more than {size} bytes")
    return bytes(out)


def _empty(data: bytes, size: int) -> bytes:
    return bytes(size)


_DECOMPRESS: dict[int, Callable[[bytes, int], bytes]] = {
    Compression.OFF: _off,
    Compression.LZJB: lzjb_decompress,
    Compression.EMPTY: _empty,
    **dict.fromkeys(range(Compression.GZIP_1, Compression.GZIP_9 + 1), _gzip),
    Compression.ZLE: _zle,
    Compression.LZ4: _lz4,
    Compression.ZSTD: _zstd,
}
