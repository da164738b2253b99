"""FastLZ, the compression of OSv's kernel on a disk: unpacked, bounded by the size that is expected.

A stream is a chain of instructions. The top three bits of its first byte are the level less one; what
is left of that byte is the first instruction. An instruction below 32 is followed by that many and one
more bytes to be copied as they are. Any other is a match: its top three bits are a length, its low five
bits the high part of a distance back into what is unpacked already.

====== ======================================================== ==========================================
level  length                                                   distance
====== ======================================================== ==========================================
1      bits + 2; seven: and one more byte                       13 bits + 1
2      bits + 2; seven: and more bytes, up to one that is not   13 bits + 1; all ones: 16 more bits, from
       255                                                      8,192 on
====== ======================================================== ==========================================

Source of the format: FastLZ 0.1.0 as it is part of OSv (`fastlz/fastlz.cc`). What PyPI has of it was
given up at its first version, so it is written here.
"""

from __future__ import annotations

__all__ = ["LzError", "decompress"]

FAR = 8191
"""The largest distance that 13 bits say; all ones stand for what is farther."""


class LzError(ValueError):
    """A stream that cannot be right; `position` is the byte at which that shows."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.position = position


def decompress(data: bytes, size: int) -> bytes:
    r"""Unpack a stream that becomes exactly `size` bytes.

    Raises
    ------
    LzError
        It is damaged, or becomes another number of bytes. No more than that are kept in memory.

    Examples
    --------
    >>> decompress(b"\x02abc\xe0\x00\x02", 12)
    b'abcabcabcabc'
    """
    if not data:
        raise LzError("is empty", 0)
    level = (data[0] >> 5) + 1
    if level not in (1, 2):
        raise LzError(f"has the unknown level {level}", 0)
    out = bytearray()
    position, instruction = 1, data[0] & 31
    try:
        while True:
            if instruction < 32:
                end = position + instruction + 1
                out += data[position:end]
                if end > len(data):
                    raise LzError("is cut off", len(data))
                position = end
            else:
                length, distance, position = _match(data, position, instruction, level)
                _repeat(out, length, distance, position, size)
            if len(out) > size:
                raise LzError(f"becomes more than {size} bytes", position)
            if position == len(data):
                break
            instruction = data[position]
            position += 1
    except IndexError:
        raise LzError("is cut off", len(data)) from None
    if len(out) < size:
        raise LzError(f"becomes {len(out)} bytes instead of {size}", len(data))
    return bytes(out)


def _match(data: bytes, position: int, instruction: int, level: int) -> tuple[int, int, int]:
    """Read the rest of a match; return length, distance, and where the next instruction is."""
    length = (instruction >> 5) + 2
    if length == 9:
        more = data[position]
        position += 1
        length += more
        while level == 2 and more == 255:
            more = data[position]
            position += 1
            length += more
    low = data[position]
    position += 1
    distance = (instruction & 31) << 8 | low
    if level == 2 and distance == FAR:
        distance += data[position] << 8 | data[position + 1]
        position += 2
    return length, distance + 1, position


def _repeat(out: bytearray, length: int, distance: int, position: int, size: int) -> None:
    """Append `length` bytes from `distance` back; they may run into what is being appended."""
    if distance > len(out):
        raise LzError(f"reaches {distance} bytes back where there are {len(out)}", position)
    if length > size - len(out):
        raise LzError(f"becomes more than {size} bytes", position)
    start = len(out) - distance
    if length <= distance:
        out += out[start : start + length]
    else:
        whole, part = divmod(length, distance)
        piece = bytes(out[start:])
        out += piece * whole + piece[:part]
