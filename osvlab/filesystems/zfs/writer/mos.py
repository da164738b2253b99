"""The pool's own set of objects (MOS) while it is made: what they are is said by `datasets` and `pool`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from osvlab.filesystems.zfs.format import ObjectType
from osvlab.filesystems.zfs.writer.blocks import HOLE, Blocks
from osvlab.filesystems.zfs.writer.labels import Identity
from osvlab.filesystems.zfs.writer.objects import make_dnode, object_dnode, pointers_for
from osvlab.filesystems.zfs.writer.zap import Entry, make_zap

__all__ = ["DEADLISTS", "DIRECTORY", "Mos"]

DIRECTORY = 1
DEADLISTS = 26  # the version from which on deadlists and lists of blocks to free are what they are today
_LIST_BLOCK = 128 << 10


class Mos:
    """Objects of the pool, by number.

    Parameters
    ----------
    blocks
        Where their blocks go. They are not compressed, so that sizes do not depend on contents.
    identity
        Of the pool.

    Attributes
    ----------
    dnodes
        The dnodes that are made so far.
    """

    def __init__(self, blocks: Blocks, identity: Identity) -> None:
        self.blocks = blocks
        self.identity = identity
        self.dnodes: dict[int, bytes] = {}
        self.last = DIRECTORY

    def number(self) -> int:
        """Return a number that no object has yet."""
        self.last += 1
        return self.last

    def unique(self, what: str) -> int:
        """Return a number of 56 bits that differs from pool to pool, and is the same for the same pool."""
        text = f"{self.identity.guid} {what}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")

    def zap(
        self,
        kind: int,
        entries: Sequence[Entry] = (),
        *,
        number: int = 0,
        bonus_type: int = 0,
        bonus: bytes = b"",
    ) -> int:
        """Add a ZAP and return its number."""
        number = number or self.number()
        zap = make_zap(entries, self.unique(f"salt {number}") | 1)
        self.dnodes[number] = object_dnode(
            self.blocks, zap.data, kind, zap.block_size, bonus_type=bonus_type, bonus=bonus
        )
        return number

    def block_list(self) -> int:
        """Add an empty list of blocks and return its number."""
        number = self.number()
        bonus = bytes(48 if self.identity.version >= DEADLISTS else 32)
        self.dnodes[number] = make_dnode(
            ObjectType.BPOBJ,
            [HOLE] * pointers_for(len(bonus)),
            block_size=_LIST_BLOCK,
            bonus_type=ObjectType.BPOBJ_HEADER,
            bonus=bonus,
        )
        return number

    def deadlist(self) -> int:
        """Add the list of blocks that a dataset's origin has and it no longer, and return its number."""
        if self.identity.version < DEADLISTS:
            return self.block_list()
        return self.zap(
            ObjectType.DEADLIST,
            [Entry(b"0", (self.block_list(),))],
            bonus_type=ObjectType.DEADLIST_HEADER,
            bonus=bytes(320),
        )
