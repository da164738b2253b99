"""What a root filesystem must have, whatever it is made of: mount points, and a few files in /etc."""

from __future__ import annotations

import os
from dataclasses import replace

from osvlab.filesystems.tree import Content, Directory, HostFile, Node, Symlink
from osvlab.image.collection import Collection, RecipeError, why

__all__ = ["add_skeleton"]

# OSv mounts onto these directories and reads these files.
_MOUNT_POINTS = (b"dev", b"proc", b"sys", b"tmp")
_HOSTS = b"127.0.0.1 localhost osv.local\n"
_FSTAB = """\
{device:<12} /          {filesystem:<9} defaults 0 0
none         /dev       devfs     defaults 0 0
none         /proc      procfs    defaults 0 0
none         /sys       sysfs     defaults 0 0
"""
_FSTAB_TMP = """\
none         /tmp       ramfs     defaults 0 0
"""
_REASON = "is part of every image that brings none of its own"


def add_skeleton(files: Collection, filesystem: str, *, writable: bool) -> None:
    """Add what is missing; directories of the tree that was there are not changed.

    Parameters
    ----------
    files
        What is there.
    filesystem
        What kernels call the root filesystem.
    writable
        Whether the guest can write to it, and needs no other place for that.

    Raises
    ------
    RecipeError
        A file stands where a mount point has to be.
    """
    tree = files.tree = replace(files.tree, children=dict(files.tree.children))
    for name in _MOUNT_POINTS:
        if name not in tree.children:
            tree.children[name] = Directory()
            files.reasons[b"/" + name] = "is a directory that the guest mounts a filesystem of its own onto"
        elif isinstance(tree.children[name], HostFile | Content):
            raise RecipeError(
                f"/{os.fsdecode(name)} is a file, and the guest needs a directory there; "
                f"{why(tree, files.reasons, b'/' + name)}",
                hint="Rename it: the guest mounts a filesystem of its own onto it.",
            )
    etc = tree.children.get(b"etc", Directory())
    if isinstance(etc, Directory):  # a link or a file called /etc is the user's own business
        fstab = _FSTAB.format(device="/dev/vblk0.1", filesystem=filesystem) + (
            "" if writable else _FSTAB_TMP
        )
        defaults: dict[bytes, Node] = {
            b"fstab": Content(fstab.encode()),
            b"hosts": Content(_HOSTS),
            b"mnttab": Symlink(b"/proc/mounts"),
            b"resolv.conf": Symlink(b"/proc/net/pnp"),  # the name servers that DHCP gave
        }
        for name in defaults.keys() - etc.children.keys():
            files.reasons[b"/etc/" + name] = _REASON
        if b"etc" not in tree.children:
            files.reasons[b"/etc"] = _REASON
        tree.children[b"etc"] = replace(etc, children={**defaults, **etc.children})
