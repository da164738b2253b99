"""What a file's dnode says about it: system attributes (ZPL 5), or the fixed znode of ZPL 4.

OSv's layout of system attributes is kept as it is: GRUB knows the offsets. The access list is the
trivial one of a mode, as kernels compute it when a file is created.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from osvlab.filesystems.zfs.format import SA_HEAD, ZNODE_HEAD, C
from osvlab.filesystems.zfs.writer.blocks import BIRTH
from osvlab.filesystems.zfs.writer.zap import Entry

__all__ = [
    "LAYOUT_FILE",
    "LAYOUT_LINK",
    "LAYOUT_TARGET",
    "Attributes",
    "layouts",
    "registry",
    "sa_bonus",
    "znode",
]

_MASK = (1 << 64) - 1
_NANO = 10**9

# Number, length in bytes (0: it differs), and how it is turned round: 0 as words of 64 bits, 3 not at all,
# 4 as an access list.
_ATTRIBUTES = {
    "ZPL_ATIME": (0, 16, 0),
    "ZPL_MTIME": (1, 16, 0),
    "ZPL_CTIME": (2, 16, 0),
    "ZPL_CRTIME": (3, 16, 0),
    "ZPL_GEN": (4, 8, 0),
    "ZPL_MODE": (5, 8, 0),
    "ZPL_SIZE": (6, 8, 0),
    "ZPL_PARENT": (7, 8, 0),
    "ZPL_LINKS": (8, 8, 0),
    "ZPL_XATTR": (9, 8, 0),
    "ZPL_RDEV": (10, 8, 0),
    "ZPL_FLAGS": (11, 8, 0),
    "ZPL_UID": (12, 8, 0),
    "ZPL_GID": (13, 8, 0),
    "ZPL_PAD": (14, 32, 0),
    "ZPL_ZNODE_ACL": (15, 88, 3),
    "ZPL_DACL_COUNT": (16, 8, 0),
    "ZPL_SYMLINK": (17, 0, 3),
    "ZPL_SCANSTAMP": (18, 32, 3),
    "ZPL_DACL_ACES": (19, 0, 4),
}
_FILE = (5, 6, 4, 12, 13, 7, 11, 0, 1, 2, 3, 8, 16, 19)
_TARGET = (17,)
LAYOUT_FILE, LAYOUT_LINK, LAYOUT_TARGET = 2, 3, 4

# The first 17 words of that layout, up to the access list.
_FIXED = struct.Struct("<17Q")
_OLD_LIST = 72
_ACE = struct.Struct("<HHI")

_ALLOW, _DENY = 0, 1
_OWNER, _GROUP, _EVERYONE = 0x1000, 0x2040, 0x4000
_READ, _WRITE, _EXECUTE = 0x1, 0x6, 0x20
_ALWAYS = 0x120088  # read ACL, attributes and named attributes; synchronize
_OWNER_ALWAYS = 0x1E0198  # and change them, and the owner

_FLAGS = 0x40800000004  # archive, modified by nobody's scanner, and the access list is trivial
_ALL_MAY_EXECUTE = 0x100
_AUTO_INHERIT = 0x40


class Attributes(NamedTuple):
    """What is known of a file, directory or link.

    Attributes
    ----------
    mode
        As `st_mode`, with the type.
    size
        Bytes; of a directory, entries + 2.
    parent
        Object of its directory.
    links
        How many names it has.
    mtime
        Nanoseconds since 1970.
    """

    mode: int
    size: int
    parent: int
    links: int
    mtime: int

    @property
    def time(self) -> tuple[int, int]:
        """Seconds and nanoseconds as they are stored."""
        seconds, rest = divmod(self.mtime, _NANO)
        return seconds & _MASK, rest

    @property
    def flags(self) -> int:
        """What ZFS keeps in mind of a file."""
        flags = _FLAGS | (_AUTO_INHERIT if stat.S_ISDIR(self.mode) else 0)
        return flags | (_ALL_MAY_EXECUTE if self.mode & 0o111 == 0o111 else 0)


def access_list(mode: int) -> list[tuple[int, int, int]]:
    """Return the trivial access list of a mode: type, whom it is for, and what.

    Entries are asked in order and the first that speaks of a right decides. So where the group may
    less than others, or the owner less than either, denials come first.

    Examples
    --------
    >>> [(kind, hex(who), hex(what)) for kind, who, what in access_list(0o640)]
    [(0, '0x1000', '0x1e019f'), (0, '0x2040', '0x120089'), (0, '0x4000', '0x120088')]
    >>> [hex(what) for kind, _, what in access_list(0o604) if kind == 1]
    ['0x1']
    """
    owner, group, others = _rights(mode >> 6), _rights(mode >> 3), _rights(mode)
    first = owner & ~group & others
    deny_owner = ~owner & (group | others)
    deny_group = ~group & others
    entries = [
        (_ALLOW, _OWNER, first),
        (_DENY, _OWNER, deny_owner),
        (_DENY, _GROUP, deny_group),
    ]
    return [entry for entry in entries if entry[2]] + [
        (_ALLOW, _OWNER, owner | _OWNER_ALWAYS),
        (_ALLOW, _GROUP, group | _ALWAYS),
        (_ALLOW, _EVERYONE, others | _ALWAYS),
    ]


def _rights(bits: int) -> int:
    return (bits & 4 and _READ) | (bits & 2 and _WRITE) | (bits & 1 and _EXECUTE)


@lru_cache(maxsize=512)
def _packed_list(mode: int) -> bytes:
    return b"".join(_ACE.pack(*entry) for entry in access_list(mode))


def sa_bonus(file: Attributes, target: bytes | None = None) -> tuple[bytes, bytes]:
    """Return the system attributes of a file: the bonus, and what spills into a block of its own.

    Parameters
    ----------
    file
        Its attributes.
    target
        Of a symbolic link.
    """
    access = _packed_list(file.mode & 0o777)
    seconds, rest = file.time
    times = (seconds, rest) * 4
    fixed = _FIXED.pack(
        file.mode, file.size, BIRTH, 0, 0, file.parent, file.flags, *times, file.links, len(access) // 8
    )
    body = fixed + access
    if target is None:
        return _header(LAYOUT_FILE, len(access)) + body, b""
    whole = _header(LAYOUT_LINK, len(access), len(target)) + body + target
    if len(whole) <= 320:
        return whole.ljust(len(whole) + 7 & ~7, b"\0"), b""
    return _header(LAYOUT_FILE, len(access)) + body, _header(LAYOUT_TARGET, len(target)) + target


@lru_cache(maxsize=256)
def _header(layout: int, *lengths: int) -> bytes:
    size = 6 + 2 * len(lengths) + 7 & ~7
    head = SA_HEAD.pack(C.SA_MAGIC, size // 8 << 10 | layout)
    return (head + struct.pack(f"<{len(lengths)}H", *lengths)).ljust(size, b"\0")


def registry() -> list[Entry]:
    """Return which attributes there are: number, how to turn them round, and length in one word."""
    return [
        Entry(name.encode(), (number | swap << 16 | length << 24,))
        for name, (number, length, swap) in _ATTRIBUTES.items()
    ]


def layouts() -> list[Entry]:
    """Return the orders in which attributes are stored, by number."""
    named: dict[int, Sequence[int]] = {
        LAYOUT_FILE: _FILE,
        LAYOUT_LINK: (*_FILE, *_TARGET),
        LAYOUT_TARGET: _TARGET,
    }
    return [Entry(b"%d" % number, order, 2) for number, order in named.items()]


def znode(file: Attributes, target: bytes = b"") -> bytes:
    """Return the fixed structure of ZPL 4, and a short link's target behind it."""
    access = _packed_list(file.mode & 0o777)
    seconds, rest = file.time
    head = ZNODE_HEAD.pack(
        *(seconds, rest) * 4,
        *(BIRTH, file.mode, file.size, file.parent, file.links, 0, 0, file.flags, 0, 0, 0),
        *(0, len(access), 1, len(access) // 8),
    )
    return head + access.ljust(_OLD_LIST, b"\0") + target
