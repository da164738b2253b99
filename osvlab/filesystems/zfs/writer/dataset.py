"""A filesystem of the pool: contents of files, then directories and links, then all their dnodes."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from contextlib import closing

from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.filesystems.zfs.format import DNODE_SIZE, ObjectType
from osvlab.filesystems.zfs.writer.attributes import Attributes, layouts, registry, sa_bonus, znode
from osvlab.filesystems.zfs.writer.blocks import HOLE, Blocks, Kept, Sealed
from osvlab.filesystems.zfs.writer.objects import (
    META_LEVELS,
    make_dnode,
    object_dnode,
    store_objset,
    tree_of,
)
from osvlab.filesystems.zfs.writer.plan import DatasetPlan, Item, Options
from osvlab.filesystems.zfs.writer.reuse import Reuse
from osvlab.filesystems.zfs.writer.sources import Record, block_size_of, sealed_records
from osvlab.filesystems.zfs.writer.zap import Entry, make_zap

__all__ = ["store_dataset"]

_MASTER, _DELETE_QUEUE, _SA_MASTER, _SA_REGISTRY, _SA_LAYOUTS = 1, 2, 3, 4, 5
_FILESYSTEM = 2
_ZPL_WITH_ATTRIBUTES, _ZPL_WITHOUT = 5, 4
_SHORT_LINK = 56


def store_dataset(
    blocks: Blocks,
    plan: DatasetPlan,
    options: Options,
    reuse: Reuse | None,
    progress: Callable[[int], object],
) -> bytes:
    """Store a filesystem and return the pointer to its set of objects.

    Parameters
    ----------
    blocks
        Where it goes.
    plan
        What is in it.
    options
        How the pool is written.
    reuse
        What can be taken from an older image.
    progress
        Called with the bytes of each file that is stored.
    """
    return _Dataset(blocks, plan, options, reuse).store(progress)


class _Dataset:
    def __init__(self, blocks: Blocks, plan: DatasetPlan, options: Options, reuse: Reuse | None) -> None:
        self.blocks = blocks
        self.reuse = reuse
        self.plan = plan
        self.attributes = options.has_attributes
        self._clock = plan.clock
        self.dnodes = bytearray(DNODE_SIZE * (plan.first + len(plan.items)))
        self._salts = hashlib.sha256(f"{options.name}/{plan.name}".encode()).digest()

    def store(self, progress: Callable[[int], object]) -> bytes:
        self._store_files(progress)
        for number, item in self.plan.numbered():
            if isinstance(item.node, Directory):
                self._put(number, self._directory(number, item))
            elif isinstance(item.node, Symlink):
                self._put(number, self._link(item, item.node))
        self._store_own()
        return store_objset(self.blocks, self.dnodes, _FILESYSTEM, levels=META_LEVELS)

    def _put(self, number: int, dnode: bytes) -> None:
        self.dnodes[number * DNODE_SIZE : (number + 1) * DNODE_SIZE] = dnode

    def salt(self, number: int) -> int:
        """Return the start of the hashes of an object: odd, and always the same for the same pool."""
        return int.from_bytes(self._salts[:8], "little") ^ number << 20 | 1

    # --- files

    def _store_files(self, progress: Callable[[int], object]) -> None:
        files = [
            (number, item, item.node)
            for number, item in self.plan.numbered()
            if isinstance(item.node, HostFile | Content)
        ]
        sources = ((number, node) for number, _, node in files)
        with closing(sealed_records(sources, self.blocks.codec, self.reuse)) as records:
            self._store_records(files, records, progress)

    def _store_records(
        self,
        files: list[tuple[int, Item, HostFile | Content]],
        records: Iterator[Record],
        progress: Callable[[int], object],
    ) -> None:
        following = next(records, None)
        for number, item, node in files:
            leaves: dict[int, tuple[bytes, int]] = {}
            kept = []
            used = 0
            while following is not None and following[0] == number:
                _, record, block = following
                pointer, taken, place = self._place(block)
                leaves[record] = pointer, 1
                used += taken
                stored = block.stored if isinstance(block, Kept) else len(block.data)
                kept.append(Kept(record, place, stored, block.compression, block.lsize, block.words))
                following = next(records, None)
            self._put(number, self._file(item, node, leaves, used))
            if self.reuse is not None and isinstance(node, HostFile):
                self.reuse.keep(node, kept)
            progress(node.size)

    def _place(self, block: Sealed | Kept) -> tuple[bytes, int, int]:
        if isinstance(block, Kept):
            assert self.reuse is not None
            return self.blocks.take_over(block, self.reuse.fd)
        return self.blocks.place(block)

    def _file(
        self, item: Item, node: HostFile | Content, leaves: dict[int, tuple[bytes, int]], used: int
    ) -> bytes:
        size = block_size_of(node.size)
        count = max(1, -(-node.size // size))
        levels = 1
        if count > 1:
            pointers, levels, taken = tree_of(self.blocks, leaves, count, ObjectType.FILE_CONTENTS, 1)
            used += taken
        else:
            pointers = [leaves[0][0]] if leaves else [HOLE]
        facts = Attributes(
            stat.S_IFREG | node.mode, node.size, item.parent, item.links, self._clock(node.mtime)
        )
        return self._dnode(
            ObjectType.FILE_CONTENTS,
            facts,
            pointers,
            levels=levels,
            block_size=size,
            block_count=count,
            used=used,
        )

    # --- directories and links

    def _directory(self, number: int, item: Item) -> bytes:
        node = item.node
        assert isinstance(node, Directory)
        assert item.entries is not None
        zap = make_zap([Entry(name, (value,)) for name, value in item.entries], self.salt(number))
        facts = Attributes(
            stat.S_IFDIR | node.mode, len(item.entries) + 2, item.parent, item.links, self._clock(node.mtime)
        )
        return self._with_blocks(ObjectType.DIRECTORY_CONTENTS, facts, zap.data, zap.block_size)

    def _link(self, item: Item, node: Symlink) -> bytes:
        facts = Attributes(
            stat.S_IFLNK | 0o777, len(node.target), item.parent, item.links, self._clock(node.mtime)
        )
        if not self.attributes and len(node.target) > _SHORT_LINK:
            size = block_size_of(len(node.target))
            return self._with_blocks(ObjectType.FILE_CONTENTS, facts, node.target, size)
        return self._dnode(ObjectType.FILE_CONTENTS, facts, [HOLE], target=node.target)

    def _with_blocks(self, kind: int, facts: Attributes, data: bytes, block_size: int) -> bytes:
        before = self.blocks.usage.used
        store = self.blocks.store
        leaves = {
            start // block_size: (
                store(data[start : start + block_size].ljust(block_size, b"\0"), kind)[0],
                1,
            )
            for start in range(0, len(data), block_size)
        }
        pointers, levels, _ = tree_of(self.blocks, leaves, len(leaves), kind, 1)
        return self._dnode(
            kind,
            facts,
            pointers,
            levels=levels,
            block_size=block_size,
            block_count=len(leaves),
            used=self.blocks.usage.used - before,
        )

    def _dnode(
        self,
        kind: int,
        facts: Attributes,
        pointers: list[bytes],
        *,
        target: bytes | None = None,
        levels: int = 1,
        block_size: int = 512,
        block_count: int = 1,
        used: int = 0,
    ) -> bytes:
        spill = b""
        if self.attributes:
            bonus_type = ObjectType.SYSTEM_ATTRIBUTES
            bonus, rest = sa_bonus(facts, target)
            if rest:
                size = len(rest) + 511 & ~511
                spill, taken = self.blocks.store(rest.ljust(size, b"\0"), ObjectType.SYSTEM_ATTRIBUTES)
                used += taken
        else:
            bonus_type = ObjectType.ZNODE
            bonus = znode(facts, target or b"")
        return make_dnode(
            kind,
            pointers,
            block_size=block_size,
            block_count=block_count,
            levels=levels,
            used=used,
            bonus_type=bonus_type,
            bonus=bonus,
            spill=spill,
        )

    # --- objects of the filesystem's own

    def _store_own(self) -> None:
        version = _ZPL_WITH_ATTRIBUTES if self.attributes else _ZPL_WITHOUT
        master = {
            b"VERSION": version,
            b"ROOT": self.plan.first,
            b"DELETE_QUEUE": _DELETE_QUEUE,
            b"normalization": 0,
            b"utf8only": 0,
            b"casesensitivity": 0,
        }
        if self.attributes:
            master[b"SA_ATTRS"] = _SA_MASTER
            shelves = {b"REGISTRY": _SA_REGISTRY, b"LAYOUTS": _SA_LAYOUTS}
            self._zap(
                _SA_MASTER, ObjectType.SA_MASTER_NODE, [Entry(name, (n,)) for name, n in shelves.items()]
            )
            self._zap(_SA_REGISTRY, ObjectType.SA_REGISTRATION, registry())
            self._zap(_SA_LAYOUTS, ObjectType.SA_LAYOUTS, layouts())
        self._zap(_DELETE_QUEUE, ObjectType.DELETE_QUEUE, [])
        self._zap(_MASTER, ObjectType.MASTER_NODE, [Entry(name, (value,)) for name, value in master.items()])

    def _zap(self, number: int, kind: int, entries: list[Entry]) -> None:
        zap = make_zap(entries, self.salt(number))
        self._put(number, object_dnode(self.blocks, zap.data, kind, zap.block_size))
