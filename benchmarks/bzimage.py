"""Unpack a bzImage, so that QEMU starts Linux as directly as it starts the lab kernel: through PVH.

A bzImage would first be copied in by an option ROM and then unpack itself, translated instruction by
instruction: half a second for which the baseline should not have to answer.

The format: https://docs.kernel.org/arch/x86/boot.html, and for the payload
https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md (in the legacy frame of lz4_Frame_format.md).
"""

from __future__ import annotations

import lzma
import struct
import zlib

from osvlab.errors import OsvlabError

__all__ = ["unlz4", "vmlinux"]

_SETUP_SECTORS, _MAGIC, _PAYLOAD = 0x1F1, 0x202, 0x248


def vmlinux(image: bytes) -> bytes:
    """Return the ELF file that a bzImage carries.

    Raises
    ------
    OsvlabError
        It is no bzImage, or compressed in a way that Python cannot undo.
    """
    if image[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise OsvlabError("not a bzImage: the signature HdrS is missing")
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    begin = ((image[_SETUP_SECTORS] or 4) + 1) * 512 + offset
    payload = image[begin : begin + length]
    if payload.startswith(b"\x02\x21\x4c\x18"):
        whole = unlz4(payload)
    elif payload.startswith(b"\x1f\x8b"):
        whole = zlib.decompressobj(wbits=31).decompress(payload)
    elif payload.startswith(b"\xfd7zXZ\0"):
        whole = lzma.LZMADecompressor().decompress(payload)
    else:
        raise OsvlabError(f"a bzImage compressed in an unknown way: it begins with {payload[:4].hex(' ')}")
    # The build appends the size of what was compressed; gzip has it at its end anyway.
    (expected,) = struct.unpack("<I", payload[-4:])
    if len(whole) != expected or not whole.startswith(b"\x7fELF"):
        raise OsvlabError(f"a damaged bzImage: it unpacks to {len(whole)} bytes, not to ELF of {expected}")
    return whole


def unlz4(frame: bytes) -> bytes:
    """Return what a legacy LZ4 frame holds; up to four bytes that follow its blocks do not matter."""
    at, out = 4, bytearray()
    while at + 4 < len(frame):
        (size,) = struct.unpack_from("<I", frame, at)
        out += _block(frame[at + 4 : at + 4 + size])
        at += 4 + size
    return bytes(out)


def _block(data: bytes) -> bytearray:
    """Undo one block: literals, then a copy of bytes further back, again and again."""
    out = bytearray()
    at = 0
    while True:
        token = data[at]
        literals, at = _length(data, at + 1, token >> 4)
        out += data[at : at + literals]
        at += literals
        if at >= len(data):
            return out
        back = data[at] | data[at + 1] << 8
        copied, at = _length(data, at + 2, token & 15)
        copied += 4
        piece = out[len(out) - back :][:copied]
        # A copy may reach into what it produces, and so repeat itself.
        out += piece if len(piece) == copied else (piece * (copied // len(piece) + 1))[:copied]


def _length(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    if nibble < 15:
        return nibble, at
    length = 15
    while True:
        length += data[at]
        at += 1
        if data[at - 1] != 255:
            return length, at
