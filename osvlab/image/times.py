"""Times in images: whole seconds that fit into 32 bits, as in the streams that fill disks in a VM.

So an image is the same whoever fills it.
"""

from __future__ import annotations

from dataclasses import replace

from osvlab.filesystems.tree import Directory, Node
from osvlab.filesystems.zfs.writer.plan import source_date_epoch

__all__ = ["in_whole_seconds"]

_SECOND = 10**9
_LATEST = (1 << 32) - 1


def in_whole_seconds(tree: Directory) -> Directory:
    """Return a tree whose times are whole seconds from 1970 on, and no later than `SOURCE_DATE_EPOCH`.

    Raises
    ------
    OsvlabError
        `SOURCE_DATE_EPOCH` is no time.

    Examples
    --------
    >>> in_whole_seconds(Directory(mtime=5_999_999_999)).mtime
    5000000000
    """
    epoch = source_date_epoch()
    latest = _LATEST if epoch is None else min(epoch, _LATEST)
    root = Directory()
    pending = [(tree, root)]
    while pending:
        old, new = pending.pop()
        for name, node in old.children.items():
            new.children[name] = cut = _cut(node, latest)
            if isinstance(node, Directory):
                assert isinstance(cut, Directory)
                pending.append((node, cut))
    return replace(root, mode=tree.mode, mtime=_seconds(tree.mtime, latest))


def _cut(node: Node, latest: int) -> Node:
    mtime = _seconds(node.mtime, latest)
    if isinstance(node, Directory):
        return Directory({}, node.mode, mtime)
    return node if mtime == node.mtime else replace(node, mtime=mtime)


def _seconds(mtime: int, latest: int) -> int:
    return max(0, min(mtime // _SECOND, latest)) * _SECOND
