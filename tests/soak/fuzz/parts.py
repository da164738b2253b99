"""Parsers of single structures: nothing but the error they document comes out, and never a wrong byte."""

from __future__ import annotations

import ctypes
import io
import os
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from osvlab.elf.cache import read_cache
from osvlab.elf.program import Program
from osvlab.errors import OsvlabError
from osvlab.filesystems.osv_kernel import fastlz
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.bulk import leaf_numbers
from osvlab.filesystems.zfs.byteorder import little_endian
from osvlab.filesystems.zfs.compression import compressor, decompress
from osvlab.filesystems.zfs.format import DNODE_SIZE, C, Compression
from osvlab.filesystems.zfs.nvlist import parse_nvlist, values_of
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.zap import Leaf

FOLDER = tempfile.TemporaryDirectory(prefix="osvlab-fuzz-")
# The decoders of the kernel's module, as a library: two hands have to come to the same bytes.
OTHER = ctypes.CDLL(os.environ["CODECS"]) if "CODECS" in os.environ else None
DECODERS = {
    Compression.LZJB: "lzjb",
    Compression.GZIP_1: "inflate",
    Compression.ZLE: "zle",
    Compression.LZ4: "lz4",
}


def lists(data: bytes) -> None:
    with suppress(ValueError):
        values_of(parse_nvlist(b"\1\1\0\0" + data))


def unpacked(kind: int, data: bytes, size: int) -> bytes | None:
    """What the reader in Python makes of it; None if it refuses."""
    try:
        found = decompress(kind, data, size)
    except ValueError:
        return None
    assert found is None or len(found) == size
    return found


def unpacked_in_c(kind: int, data: bytes, size: int) -> bytes | None:
    assert OTHER is not None
    out, table = ctypes.create_string_buffer(size), ctypes.create_string_buffer(16384)
    decode = getattr(OTHER, f"{DECODERS[Compression(kind)]}_decompress")
    place, *more = (len(data), out, size, table) if kind == Compression.GZIP_1 else (len(data), out, size)
    status = decode(data, ctypes.c_size_t(place), more[0], ctypes.c_size_t(size), *more[2:])
    return out.raw if status == 0 else None


def packed(data: bytes) -> None:
    """Unpack by both decoders: they may differ in what they refuse, but not in what they give."""
    if len(data) < 3:
        return
    kind, size = data[0] % 17, struct.unpack_from("<H", data, 1)[0]
    ours = unpacked(kind, data[3:], size)
    if OTHER is not None and ours is not None and kind in DECODERS:
        theirs = unpacked_in_c(kind, data[3:], size)
        assert theirs is None or theirs == ours, Compression(kind)


def packed_again(data: bytes) -> None:
    for kind in (Compression.LZ4, Compression.GZIP_1):
        assert decompress(kind, compressor(kind)(data), len(data)) == data


def kernels(data: bytes) -> None:
    """FastLZ, as OSv's kernel is packed with."""
    with suppress(fastlz.LzError):
        size = struct.unpack_from("<H", data.ljust(2, b"\0"))[0]
        assert len(fastlz.decompress(data[2:], size)) == size


def leaves(data: bytes) -> None:
    head = struct.pack("<3QI", C.ZAP_LEAF, 0, 0, C.ZAP_LEAF_MAGIC)
    size = 2048 if len(data) < 2048 else 16384
    block = (head + data).ljust(size, b"\0")[:size]
    with suppress(ValueError):
        leaf = Leaf(block, ValueError)
        with suppress(ValueError):
            leaf.find(b"name", 1 << 60)
        alone = in_bulk = None
        with suppress(ValueError):
            alone = [(entry.name, entry.number) for entry in leaf.entries()]
        with suppress(ValueError):
            in_bulk = list(zip(*leaf_numbers(leaf), strict=True))
        assert in_bulk == alone
        assert alone is None or len(alone) == leaf.count


def dnodes(data: bytes) -> None:
    with suppress(OsvlabError):
        dnode = Dnode(Blocks({}), data.ljust(DNODE_SIZE, b"\0")[:DNODE_SIZE], 7, "fuzz", 0)
        assert len(dnode.bonus) == dnode.bonus_length
        dnode.read(dnode.data_size * 3 // 2, 4096)


def turned(data: bytes) -> None:
    for kind in (10, 11, 17, 20, 44):
        assert len(little_endian(data, kind, 0)) == len(data)


def programs(data: bytes) -> None:
    with suppress(OsvlabError):
        Program.read(io.BytesIO(data), "fuzz")


def caches(data: bytes) -> None:
    """The dynamic linker's list of libraries."""
    path = Path(FOLDER.name, "ld.so.cache")
    path.write_bytes(data)
    with suppress(OsvlabError):
        read_cache(path)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (lists, packed, packed_again, kernels, leaves, dnodes, turned, programs, caches)
}
