"""Times in images: whole seconds that fit into 32 bits, as in the streams that fill disks in a VM.

So an image is the same whoever fills it.
"""

from __future__ import annotations

from dataclasses import replace

from osvlab.filesystems.tree import Directory
from osvlab.filesystems.zfs.writer.plan import Clock, source_date_epoch

__all__ = ["in_whole_seconds", "whole_seconds"]

_SECOND = 10**9
_LATEST = (1 << 32) - 1


def whole_seconds() -> Clock:
    """Return what cuts a time down to whole seconds from 1970 on, no later than `SOURCE_DATE_EPOCH`.

    Raises
    ------
    OsvlabError
        `SOURCE_DATE_EPOCH` is no time.

    Examples
    --------
    >>> clock = whole_seconds()
    >>> clock(5_999_999_999), clock(-1)
    (5000000000, 0)
    """
    epoch = source_date_epoch()
    latest = _LATEST if epoch is None else min(epoch, _LATEST)
    return lambda time: max(0, min(time // _SECOND, latest)) * _SECOND


def in_whole_seconds(tree: Directory) -> Directory:
    """Return a tree whose times `whole_seconds` has cut.

    Raises
    ------
    OsvlabError
        `SOURCE_DATE_EPOCH` is no time.

    Examples
    --------
    >>> in_whole_seconds(Directory(mtime=5_999_999_999)).mtime
    5000000000
    """
    clock = whole_seconds()
    root = Directory({}, tree.mode, clock(tree.mtime))
    pending = [(tree, root)]
    while pending:
        old, new = pending.pop()
        for name, node in old.children.items():
            time = clock(node.mtime)
            if isinstance(node, Directory):
                below = new.children[name] = Directory({}, node.mode, time)
                pending.append((node, below))
            else:
                new.children[name] = node if time == node.mtime else replace(node, mtime=time)
    return root
