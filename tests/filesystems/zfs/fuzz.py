"""Targets for atheris, which finds inputs by what they reach in the code.

python -m tests.filesystems.zfs.fuzz TARGET [options of libFuzzer]
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["osvlab.filesystems.zfs"]):
    from osvlab.errors import OsvlabError
    from osvlab.filesystems.zfs.blocks import Blocks
    from osvlab.filesystems.zfs.byteorder import little_endian
    from osvlab.filesystems.zfs.compression import decompress
    from osvlab.filesystems.zfs.format import DNODE_SIZE, C
    from osvlab.filesystems.zfs.nvlist import parse_nvlist
    from osvlab.filesystems.zfs.objects import Dnode
    from osvlab.filesystems.zfs.zap import Leaf


def lists(data: bytes) -> None:
    with suppress(ValueError):
        parse_nvlist(b"\1\1\0\0" + data)


def packed(data: bytes) -> None:
    with suppress(ValueError):
        found = decompress(data[0] % 17 if data else 0, data[1:], 4096)
        assert found is None or len(found) == 4096


def leaves(data: bytes) -> None:
    head = struct.pack("<3QI", C.ZAP_LEAF, 0, 0, C.ZAP_LEAF_MAGIC)
    block = (head + data).ljust(2048, b"\0")[:2048]
    with suppress(ValueError):
        leaf = Leaf(block, ValueError)
        assert len(leaf.numbers()[0]) == leaf.count
        assert len(list(leaf.entries())) == leaf.count
        leaf.find(b"name", 1 << 60)


def dnodes(data: bytes) -> None:
    with suppress(OsvlabError):
        dnode = Dnode(Blocks({}), data.ljust(DNODE_SIZE, b"\0")[:DNODE_SIZE], 7, "fuzz", 0)
        assert len(dnode.bonus) == dnode.bonus_length
        dnode.read(dnode.data_size * 3 // 2, 4096)


def turned(data: bytes) -> None:
    for kind in (10, 11, 17, 20, 44):
        assert len(little_endian(data, kind, 0)) == len(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (lists, packed, leaves, dnodes, turned)
}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
