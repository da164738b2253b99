"""Files of a dataset: what they are (mode, size, owner, times), in either of the two forms on disk."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from osvlab.filesystems.base import Kind
from osvlab.filesystems.tree import MAX_PATH
from osvlab.filesystems.zfs.errors import PoolError, damaged
from osvlab.filesystems.zfs.format import ZNODE_HEAD, C, ObjectType
from osvlab.filesystems.zfs.objects import Dnode, ObjectSet
from osvlab.filesystems.zfs.sa import SystemAttributes
from osvlab.filesystems.zfs.zap import Zap

__all__ = ["Attributes", "Files", "device_number"]

OBJECT_MASK = (1 << 48) - 1
MASTER_NODE = 1
MAX_VERSION = 5
_FILESYSTEM = 2
_SEC = 10**9
_ZNODE = len(C.znode)
_U64 = struct.Struct("<Q")
_TIME = struct.Struct("<2Q")
# Attributes that are numbers; the first six every file has.
NUMBERS = (
    *("ZPL_MODE", "ZPL_SIZE", "ZPL_PARENT", "ZPL_LINKS", "ZPL_UID", "ZPL_GID"),
    *("ZPL_RDEV", "ZPL_XATTR", "ZPL_FLAGS"),
)
_NEEDED = 6
MODIFIED = "ZPL_MTIME"
_IS_XATTR = 1
_MAX_TIME = 1 << 62
_LONG_TIME = _MAX_TIME // _SEC


class Attributes(NamedTuple):
    """What a file is.

    Attributes
    ----------
    mode
        Type and permissions, as in `st_mode`.
    size
        Bytes; of a directory entries + 2.
    parent
        Object of its directory.
    links
        How many names it has.
    owner, group
        Numeric user and group.
    modified
        Nanoseconds since 1970.
    device
        Of a special file, as Linux numbers it.
    kind
        What it is.
    xattrs
        Directory with its extended attributes; 0: it has none.
    is_xattr
        Whether it is an extended attribute, or the directory of some.
    """

    mode: int
    size: int
    parent: int
    links: int
    owner: int
    group: int
    modified: int
    device: int
    kind: Kind
    xattrs: int
    is_xattr: bool


def device_number(stored: int, version: int) -> int:
    """Return `st_rdev` of a device, as Linux has it in user space, from what is stored.

    Three forms are in use. illumos and FreeBSD store major << 32 | minor; OpenZFS on Linux its
    kernel's major << 20 | minor; zfs-fuse, which never got to files of version 5, what we return.

    Parameters
    ----------
    stored
        What is stored.
    version
        Of the files of the dataset.

    Examples
    --------
    >>> [hex(device_number(*found)) for found in ((8 << 32 | 1, 5), (8 << 20 | 1, 5), (0x801, 4))]
    ['0x801', '0x801', '0x801']
    """
    if stored >> 32:
        return os.makedev(stored >> 32, stored & 0xFFFFFFFF)
    return stored if version < MAX_VERSION else os.makedev(stored >> 20, stored & 0xFFFFF)


class Files:
    """The files of a dataset, by the numbers of their objects.

    Parameters
    ----------
    objects
        The dataset's objects.

    Raises
    ------
    PoolError
        It holds no files (a volume), or is of a version that is not read here.
    DamagedError
        Its master node cannot be right.
    """

    def __init__(self, objects: ObjectSet) -> None:
        self.objects = objects
        if objects.kind != _FILESYSTEM:
            what = {1: "the pool's own objects", 3: "a volume"}.get(objects.kind, f"of kind {objects.kind}")
            raise PoolError(f"{objects.name} holds no files: it is {what}", hint="Open another dataset.")
        self.master = Zap(objects.dnode(MASTER_NODE))
        self.version = self.master.number(b"VERSION")
        if not 1 <= self.version <= MAX_VERSION:
            raise PoolError(
                f"{objects.name} has files of version {self.version}; 1 to {MAX_VERSION} are read here",
                hint="Copy them with the system that wrote them.",
            )
        self.root = self.master.number(b"ROOT")
        registry = self.master.number(b"SA_ATTRS")
        self.registry = SystemAttributes(objects, registry) if registry else None

    def attributes(self, dnode: Dnode) -> Attributes:
        """Return what a file is.

        Raises
        ------
        DamagedError
            The object is no file, or cannot be right.
        """
        if dnode.bonus_type == ObjectType.ZNODE:
            found = self._old(dnode)
        elif dnode.bonus_type == ObjectType.SYSTEM_ATTRIBUTES and self.registry is not None:
            found = self._new(dnode, self.registry)
        else:
            kind = ObjectType.text(dnode.bonus_type)
            raise damaged(dnode.name, dnode.offset, f"is no file: it has a bonus of type {kind}")
        return found

    def _old(self, dnode: Dnode) -> Attributes:
        bonus = dnode.bonus
        if len(bonus) < _ZNODE:
            raise damaged(f"znode of {dnode.name}", dnode.offset, f"has {len(bonus)} bytes")
        found = ZNODE_HEAD.unpack_from(bonus)
        _, mode, size, parent, links, xattrs, device, flags, owner, group = found[8:18]
        return self._made(
            dnode, (mode, size, parent, links, owner, group, device, xattrs, flags), (found[2], found[3])
        )

    def _new(self, dnode: Dnode, registry: SystemAttributes) -> Attributes:
        found = registry.of(dnode)
        missing = [name for name in (*NUMBERS[:_NEEDED], MODIFIED) if name not in found]
        if missing:
            raise damaged(f"attributes of {dnode.name}", dnode.offset, f"have no {missing[0]}")
        try:
            numbers = tuple(_U64.unpack(found[name])[0] if name in found else 0 for name in NUMBERS)
            return self._made(dnode, numbers, _TIME.unpack(found[MODIFIED]))
        except struct.error:
            raise damaged(f"attributes of {dnode.name}", dnode.offset, "have other lengths") from None

    def _made(self, dnode: Dnode, numbers: tuple[int, ...], modified: tuple[int, int]) -> Attributes:
        mode, size, parent, links, owner, group, device, xattrs, flags = numbers
        kind = Kind.of_mode(mode & 0xFFFF)
        if kind is None or size >= 1 << 63 or links >= 1 << 32:
            raise damaged(dnode.name, dnode.offset, f"has mode {mode:#o}, {size} bytes, {links} names")
        is_directory = dnode.kind == ObjectType.DIRECTORY_CONTENTS
        if is_directory != (kind is Kind.DIRECTORY):
            raise damaged(dnode.name, dnode.offset, f"is a {kind} and holds {ObjectType.text(dnode.kind)}")
        seconds = modified[0] - (1 << 64) if modified[0] >> 63 else modified[0]
        time = seconds * _SEC + modified[1] % _SEC if abs(seconds) < _LONG_TIME else 0
        return Attributes(
            mode & 0xFFFF,
            size,
            parent,
            links,
            owner & 0xFFFFFFFF,
            group & 0xFFFFFFFF,
            time,
            self._device(dnode, device) if kind in (Kind.BLOCK_DEVICE, Kind.CHARACTER_DEVICE) else 0,
            kind,
            xattrs,
            bool(flags & _IS_XATTR),
        )

    def _device(self, dnode: Dnode, stored: int) -> int:
        try:
            return device_number(stored, self.version)
        except OverflowError:
            raise damaged(dnode.name, dnode.offset, f"is the impossible device {stored:#x}") from None

    def target(self, dnode: Dnode) -> bytes:
        """Return where a symbolic link points."""
        size = self.attributes(dnode).size
        if not 0 < size <= MAX_PATH:
            raise damaged(dnode.name, dnode.offset, f"is a symbolic link of {size} bytes")
        if dnode.bonus_type == ObjectType.SYSTEM_ATTRIBUTES and self.registry is not None:
            found = self.registry.of(dnode).get("ZPL_SYMLINK")
            if found is None or len(found) < size:
                raise damaged(dnode.name, dnode.offset, "is a symbolic link without a target")
            return found[:size]
        behind = dnode.bonus_room[_ZNODE:]
        return behind[:size] if size <= len(behind) else dnode.read(0, size)
