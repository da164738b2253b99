"""LZJB, ZFS's first compression: flag bytes, each followed by eight literals or matches.

A match is two bytes, big-endian: six bits length - 3, ten bits distance back.

Source of the format: OpenZFS, module/zfs/lzjb.c.
"""

from __future__ import annotations

__all__ = ["lzjb_decompress"]


def lzjb_decompress(data: bytes, size: int) -> bytes:
    """Return `size` bytes from what LZJB made of them.

    Raises
    ------
    ValueError
        A match reaches back before the start, or the data end too early.

    Examples
    --------
    >>> lzjb_decompress(bytes([0b10]) + b"a" + bytes([(5 - 3) << 2, 1]), 6)
    b'aaaaaa'
    """
    out = bytearray()
    here, end, made = 0, len(data), 0
    try:
        while made < size:
            flags = data[here]
            here += 1
            if not flags:  # eight literals, the most common flags of data that hardly compress
                out += data[here : here + 8]
                here += 8
                made += 8
                if here > end:
                    break
                continue
            for _ in range(8):
                if flags & 1:
                    pair = data[here] << 8 | data[here + 1]
                    here += 2
                    length, back = (pair >> 10) + 3, pair & 0x3FF
                    if not 0 < back <= made:
                        raise ValueError(f"a match reaches {back} bytes back after {made}")
                    start = made - back
                    if length <= back:
                        out += out[start : start + length]
                    elif back == 1:
                        out += out[start:] * length
                    else:
                        out += (out[start:] * (length // back + 1))[:length]
                    made += length
                else:
                    out.append(data[here])
                    here += 1
                    made += 1
                if made >= size:
                    break
                flags >>= 1
    except IndexError:
        pass
    if len(out) < size:
        raise ValueError(f"the compressed data end after {len(out)} of {size} bytes")
    return bytes(out[:size])
