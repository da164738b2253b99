"""Whether a kernel finds its root in a ZFS pool: OSv goes by names, and says little if there is none."""

from __future__ import annotations

import os

from osvlab.errors import OsvlabError
from osvlab.filesystems import opening
from osvlab.filesystems.base import Filesystem
from osvlab.image.command import split_command_line
from osvlab.image.image import Image
from osvlab.kernels import Boot, Capability, Kernel
from osvlab.vm.machine import MachineError

__all__ = ["POOL", "refuse_other_pool"]

POOL = "osv"
"""What OSv calls the pool with its root, of whatever version it is."""


def refuse_other_pool(image: Image, kernel: Kernel, line: str) -> None:
    """Raise if a kernel would look in vain for its root in the pool that an image has.

    Parameters
    ----------
    image
        What it boots from; of other filesystems than ZFS nothing is asked.
    kernel
        The kernel.
    line
        Its command line: it may be told to mount nothing, or something else.

    Raises
    ------
    MachineError
        The pool has another name, or the dataset that the kernel mounts is not there or empty.
    """
    if image.filesystem != "zfs" or kernel.can(Capability.MOUNTS_ANY_POOL) or not _mounts_zfs(line):
        return
    # What is compressed takes a second to look into, for a rare case.
    wanted = kernel.zfs_root if kernel.boot is Boot.PVH else None
    try:
        name, places = _files(image, wanted)
    except OsvlabError:
        return  # damage and pools in use are the kernel's to judge; it may read more than the lab
    if name != POOL:
        raise MachineError(
            f"{image.path} has its files in a pool called {name}, and {kernel.path.name} looks for its root "
            f"in one called {POOL}",
            hint=_anew(image, kernel),
        )
    if wanted is not None and wanted not in places:
        raise MachineError(
            f"{image.path} has its files in the dataset {' and '.join(places)}, and {kernel.path.name}, of "
            f"another version of OSv, mounts {wanted}",
            hint=_anew(image, kernel),
        )


def _mounts_zfs(line: str) -> bool:
    options = split_command_line(line)[0].split()
    roots = [option.partition("=")[2] for option in options if option.startswith("--rootfs=")]
    return "--nomount" not in options and roots[-1:] in ([], ["zfs"])


def _files(image: Image, wanted: str | None) -> tuple[str, list[str]]:
    """Return what the pool in an image is called, and which datasets that may be the root have files."""
    from osvlab.filesystems.zfs import ZfsFilesystem

    with opening.open(image.path) as fs:
        assert isinstance(fs, ZfsFilesystem)
        places = [fs.dataset.name]
        if wanted in fs.pool.datasets and wanted not in places:
            with opening.open(image.path, dataset=wanted) as other:
                places += [wanted] if _has_files(other) else []
        return fs.pool.name, places


def _has_files(fs: Filesystem) -> bool:
    return any(entry.name != b"zfs" for entry in fs.list(fs.root))  # where that dataset was mounted


def _anew(image: Image, kernel: Kernel) -> str:
    return (
        f"Build a new image of its files: osvlab cp {image.path.name}:/ files; "
        f"osvlab build files --fs zfs --kernel {os.fspath(kernel.path)}"
    )
