"""Checksums of ZFS blocks: fletcher2, fletcher4, SHA-256, SHA-512/256, and the one embedded in labels.

Fletcher's need numpy, which takes longer to load than a small pool takes to read: they stand apart.

Source of the format: OpenZFS, module/zfs/zio_checksum.c.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from osvlab.filesystems.zfs.format import ECK, C, Checksum

__all__ = ["Words", "checksum", "eck_is_right", "fletcher2", "fletcher4", "sha256", "with_eck"]

Words = tuple[int, int, int, int]
_WORDS = struct.Struct(">4Q")


def sha256(data: bytes | memoryview) -> Words:
    """Return SHA-256 as the four words that ZFS stores.

    Examples
    --------
    >>> f"{sha256(b'abc')[0]:016x}"
    'ba7816bf8f01cfea'
    """
    a, b, c, d = _WORDS.unpack(hashlib.sha256(data).digest())
    return a, b, c, d


def sha512_256(data: bytes | memoryview) -> Words:
    """Return SHA-512/256 as the four words that ZFS stores: the digest's bytes as they are."""
    a, b, c, d = struct.unpack("<4Q", hashlib.new("sha512_256", data).digest())
    return a, b, c, d


def fletcher2(data: bytes | memoryview, *, swapped: bool = False) -> Words:
    """Return what `fletcher.fletcher2` does, which is loaded when it is needed."""
    from osvlab.filesystems.zfs.fletcher import fletcher2 as vectorised

    return vectorised(data, swapped=swapped)


def fletcher4(data: bytes | memoryview, *, swapped: bool = False) -> Words:
    """Return what `fletcher.fletcher4` does, which is loaded when it is needed."""
    from osvlab.filesystems.zfs.fletcher import fletcher4 as vectorised

    return vectorised(data, swapped=swapped)


def _fixed(digest: Callable[[bytes | memoryview], Words]) -> Callable[..., Words]:
    """Make a checksum of bytes, for which the order of words is nothing, look like one of words."""
    return lambda data, swapped=False: digest(data)


_FUNCTIONS: dict[int, Callable[..., Words]] = {
    Checksum.FLETCHER2: fletcher2,
    Checksum.FLETCHER4: fletcher4,
    Checksum.ZILOG2: fletcher4,
    Checksum.SHA256: _fixed(sha256),
    Checksum.SHA512: _fixed(sha512_256),
    Checksum.NOPARITY: fletcher2,
}


def checksum(kind: int, data: bytes | memoryview, *, swapped: bool = False) -> Words | None:
    """Return a checksum of stored bytes.

    Parameters
    ----------
    kind
        Which, as block pointers number them.
    data
        The bytes, as they are stored.
    swapped
        Whether the block was written big-endian.

    Returns
    -------
    tuple of int, or None
        The four words; None when `kind` is none that is known here.
    """
    function = _FUNCTIONS.get(kind)
    return None if function is None else function(data, swapped=swapped)


def with_eck(region: bytes, offset: int) -> bytes:
    """Return a region of a vdev with its last 40 bytes made its embedded checksum.

    Parameters
    ----------
    region
        Its bytes; what the last 40 are does not matter.
    offset
        Where it starts in the vdev.
    """
    body = region[: -ECK.size]
    digest = sha256(body + ECK.pack(C.ECK_MAGIC, offset, 0, 0, 0))
    return body + ECK.pack(C.ECK_MAGIC, *digest)


def eck_is_right(region: bytes, verifier: Words) -> str | None:
    """Return the byte order of a region whose embedded checksum is right, else None.

    Parameters
    ----------
    region
        Its bytes.
    verifier
        What stands in place of the checksum while it is computed: {offset, 0, 0, 0} in labels.

    Returns
    -------
    str or None
        ``<`` for little-endian, ``>`` for big-endian.

    Examples
    --------
    >>> eck_is_right(with_eck(bytes(1024), 0x20000), (0x20000, 0, 0, 0))
    '<'
    """
    for endian in "<>":
        magic, *stored = struct.unpack(f"{endian}5Q", region[-ECK.size :])
        if magic == C.ECK_MAGIC:
            blank = region[:-32] + struct.pack(f"{endian}4Q", *verifier)
            return endian if tuple(stored) == sha256(blank) else None
    return None
