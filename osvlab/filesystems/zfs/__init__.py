"""ZFS: pools read, checked, explained and written. See `format` for how it lies on disk.

Nothing is imported here before it is used: `format` reads C declarations, and checksums need numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osvlab.filesystems.zfs.pool import Pool
    from osvlab.filesystems.zfs.reader import ZfsFilesystem, open_zfs
    from osvlab.filesystems.zfs.writer.plan import ZfsDataset
    from osvlab.filesystems.zfs.writer.write import plan_zfs, write_zfs

_HOMES = {
    "Pool": "pool",
    "ZfsDataset": "writer.plan",
    "ZfsFilesystem": "reader",
    "open_zfs": "reader",
    "plan_zfs": "writer.write",
    "write_zfs": "writer.write",
}

__all__ = ["Pool", "ZfsDataset", "ZfsFilesystem", "open_zfs", "plan_zfs", "write_zfs"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
