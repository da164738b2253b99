"""What dnodes hold besides pointers (the bonus), explained."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from osvlab.filesystems.base import DamagedError, show
from osvlab.filesystems.structure import Field
from osvlab.filesystems.zfs.explain.places import View, declared_fields, moment
from osvlab.filesystems.zfs.explain.pointers import brief
from osvlab.filesystems.zfs.format import BlockPointer, C, ObjectType
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.posix import Files
from osvlab.filesystems.zfs.sa import SystemAttributes

__all__ = ["bonus_fields"]

Shown = Mapping[str, Callable[[Any], Any]]
_TIMES = ("accessed", "modified", "changed", "created")
_DECLARED: dict[int, tuple[str, Shown]] = {
    ObjectType.DSL_DIR: (
        "dsl_dir",
        {"created": moment, "used_by": lambda found: str(list(map(int, found)))},
    ),
    ObjectType.DSL_DATASET: ("dsl_dataset", {"created": moment, "pointer": lambda found: _brief(found)}),
    ObjectType.ZNODE: (
        "znode",
        {
            **dict.fromkeys(_TIMES, moment),
            "mode": lambda mode: oct(int(mode)),
            "acl": lambda found: f"{len(found)} entries",
        },
    ),
    ObjectType.SPACE_MAP_HEADER: ("space_map", {}),
    ObjectType.BPOBJ_HEADER: ("bpobj_header", {}),
    ObjectType.DEADLIST_HEADER: ("deadlist_header", {}),
}
# What the attributes of files are, by their registered names.
_MEANINGS = {
    "ZPL_ATIME": "last read",
    "ZPL_MTIME": "last change of the contents",
    "ZPL_CTIME": "last change of the attributes",
    "ZPL_CRTIME": "created",
    "ZPL_GEN": "transaction group in which it was created",
    "ZPL_MODE": "type and permissions, as in st_mode",
    "ZPL_SIZE": "bytes; entries + 2 of a directory",
    "ZPL_PARENT": "object of the directory",
    "ZPL_LINKS": "how many names it has",
    "ZPL_XATTR": "directory of extended attributes",
    "ZPL_RDEV": "of a special file",
    "ZPL_FLAGS": "bits; 0x4: the access control list says no more than the mode",
    "ZPL_UID": "owner",
    "ZPL_GID": "group",
    "ZPL_SYMLINK": "where the link points",
    "ZPL_DACL_COUNT": "entries of the access control list",
    "ZPL_DACL_ACES": "the access control list",
}


def _brief(found: Any) -> str:
    return brief(BlockPointer.unpack(found.dumps()))


def bonus_fields(view: View, dnode: Dnode, start: int) -> list[Field]:
    """Return the fields of a bonus; `start` is where it is in the dnode."""
    known = _DECLARED.get(dnode.bonus_type)
    if known is not None:
        return declared_fields(known[0], dnode.bonus, known[1], start)
    if dnode.bonus_type == ObjectType.SYSTEM_ATTRIBUTES:
        return _attributes(view, dnode, start)
    if dnode.bonus_length:
        kind = ObjectType.text(dnode.bonus_type)
        return [
            Field("bonus", start, dnode.bonus_length, dnode.bonus, f"what the dnode holds besides: {kind}")
        ]
    return []


def _attributes(view: View, dnode: Dnode, start: int) -> list[Field]:
    try:
        registry = Files(view.objects).registry
    except DamagedError:
        registry = None
    if registry is None:
        return [Field("bonus", start, dnode.bonus_length, dnode.bonus, "attributes; they cannot be read")]
    found = [
        *declared_fields(
            "sa_header", dnode.bonus[: len(C.sa_header)], {"lengths": lambda x: str(list(x))}, start
        )
    ]
    return found + _listed(registry, dnode, start)


def _listed(registry: SystemAttributes, dnode: Dnode, start: int) -> list[Field]:
    return [
        Field(
            name, start + first, end - first, _shown(name, dnode.bonus[first:end]), _MEANINGS.get(name, "")
        )
        for name, first, end in registry.places(dnode.bonus, dnode)
    ]


def _shown(name: str, data: bytes) -> Any:
    if name.endswith("TIME") and len(data) == 16:
        return moment(struct.unpack_from("<Q", data)[0])
    if name == "ZPL_SYMLINK":
        return show(data)
    if len(data) == 8:
        value = int.from_bytes(data, "little")
        return oct(value) if name == "ZPL_MODE" else value
    return data
