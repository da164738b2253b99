from __future__ import annotations

import hashlib
import struct

from osvlab.filesystems.zfs import checksums
from osvlab.filesystems.zfs.format import Checksum


def test_sha256_is_stored_in_big_endian_words() -> None:
    digest = hashlib.sha256(b"x" * 512).digest()
    words = checksums.checksum(Checksum.SHA256, b"x" * 512)
    assert words is not None
    assert struct.pack(">4Q", *words) == digest


def test_an_unknown_checksum_is_none() -> None:
    assert checksums.checksum(Checksum.EDONR, b"") is None


def test_an_embedded_checksum_knows_its_place() -> None:
    region = checksums.with_eck(b"label" + bytes(1019), 4096)
    assert checksums.eck_is_right(region, (4096, 0, 0, 0)) == "<"
    assert checksums.eck_is_right(region, (8192, 0, 0, 0)) is None
    assert checksums.eck_is_right(b"Label" + region[5:], (4096, 0, 0, 0)) is None
