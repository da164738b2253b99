"""Fletcher's checksums, vectorised.

The running sums of fletcher4, a += w, b += a, c += b, d += c, are after n words sums of the words times
binomial coefficients of their distance from the end. So numpy takes the first step over rows of 64
words as a product of matrices, in floating point: the coefficients of a row add up to less than 2**20
(C(67, 4)), so with words below 2**32 all stays below 2**53, where doubles are exact. A second step, in
integers that wrap as ZFS's do, puts the rows together.

Source of the format: OpenZFS, module/zcommon/zfs_fletcher.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from osvlab.filesystems.zfs.checksums import Words

__all__ = ["fletcher2", "fletcher4"]

_ROW = 64
_MASK = (1 << 64) - 1


def fletcher2(data: bytes | memoryview, *, swapped: bool = False) -> Words:
    """Return the fletcher2 checksum of bytes: two sums over the even and two over the odd words.

    Parameters
    ----------
    data
        A multiple of 16 bytes.
    swapped
        Whether its words are big-endian.

    Examples
    --------
    >>> import struct
    >>> fletcher2(struct.pack("<4Q", 1, 2, 3, 4))
    (4, 6, 5, 8)
    """
    words = np.frombuffer(data, ">u8" if swapped else "<u8").astype(np.uint64, copy=False).reshape(-1, 2)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64)
    first = words.sum(axis=0, dtype=np.uint64)
    second = (words * weights[:, None]).sum(axis=0, dtype=np.uint64)
    return int(first[0]), int(first[1]), int(second[0]), int(second[1])


def fletcher4(data: bytes | memoryview, *, swapped: bool = False) -> Words:
    """Return the fletcher4 checksum of bytes: four sums over words of 32 bits.

    Parameters
    ----------
    data
        A multiple of 4 bytes.
    swapped
        Whether its words are big-endian.

    Examples
    --------
    >>> import struct
    >>> fletcher4(struct.pack("<3I", 1, 2, 3))
    (6, 10, 15, 21)
    """
    words = np.frombuffer(data, ">u4" if swapped else "<u4")
    short = -len(words) % _ROW
    if short:  # zeros in front change no sum
        words = np.concatenate([np.zeros(short, words.dtype), words])
    count = len(words) // _ROW
    inner, outer = _coefficients((count - 1).bit_length())
    rows = (words.reshape(-1, _ROW).astype(np.float64) @ inner).astype(np.uint64)
    a, b, c, d = ((rows * column[-count:]).sum(dtype=np.uint64) for column in outer)
    return int(a), int(b), int(c), int(d)


@lru_cache(maxsize=20)
def _coefficients(shift: int) -> tuple[Any, Any]:
    """Return the matrix for words in a row, and for each sum that for 2**shift rows; fewer use its end.

    A row of sums (a, b, c, d) that n more words of zeros follow becomes, by Vandermonde's identity,
    d + c n + b C(n+1, 2) + a C(n+2, 3) in the last place, and less of it in those before.
    """
    rows = 1 << shift
    position = np.arange(_ROW, 0, -1, dtype=np.float64)
    inner = np.stack(
        [
            np.ones(_ROW),
            position,
            position * (position + 1) / 2,
            position * (position + 1) * (position + 2) / 6,
        ],
        axis=1,
    )
    after = [(rows - 1 - row) * _ROW for row in range(rows)]
    columns = np.array(
        [(1, n & _MASK, n * (n + 1) // 2 & _MASK, n * (n + 1) * (n + 2) // 6 & _MASK) for n in after],
        dtype=np.uint64,
    ).reshape(-1, 4)
    one, n1, n2, n3 = columns.T
    zero = np.zeros(rows, np.uint64)
    outer = [
        np.stack(column, axis=1)
        for column in (
            (one, zero, zero, zero),
            (n1, one, zero, zero),
            (n2, n1, one, zero),
            (n3, n2, n1, one),
        )
    ]
    return inner, outer
