"""LZJB, ZFS's first compression: flag bytes, each followed by eight literals or matches.

A match is two bytes, big-endian: six bits length - 3, ten bits distance back. The items of a flag byte
are taken as runs of literals with matches between them, which a table gives for each flag byte.

Source of the format: OpenZFS, module/zfs/lzjb.c.
"""

from __future__ import annotations

__all__ = ["lzjb_decompress"]


def _runs_of(flags: int) -> tuple[tuple[int, ...], int]:
    """Return how many literals stand before each match, and how many behind the last."""
    runs, run = [], 0
    for bit in range(8):
        if flags >> bit & 1:
            runs.append(run)
            run = 0
        else:
            run += 1
    return tuple(runs), run


_RUNS = [_runs_of(flags) for flags in range(256)]


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
    here, end = 0, len(data)
    while len(out) < size and here < end:
        runs, tail = _RUNS[data[here]]
        here += 1
        for run in runs:
            if run:
                out += data[here : here + run]
                here += run
            if here + 2 > end or len(out) >= size:
                break
            first = data[here]
            back = (first & 3) << 8 | data[here + 1]
            here += 2
            length = (first >> 2) + 3
            start = len(out) - back
            if start < 0 or not back:
                raise ValueError(f"a match reaches {back} bytes back after {len(out)}")
            if length <= back:
                out += out[start : start + length]
            else:
                out += (out[start:] * (length // back + 1))[:length]
        else:
            out += data[here : here + tail]
            here += tail
    if len(out) < size:
        raise ValueError(f"the compressed data end after {len(out)} of {size} bytes")
    return bytes(out[:size])
