"""Root filesystems that an empty VM makes: format, fill and seal are what it is waited for to do."""

from __future__ import annotations

import os
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from osvlab.filesystems import disk
from osvlab.filesystems.base import show
from osvlab.filesystems.cpio.format import LARGEST
from osvlab.filesystems.opening import open as open_filesystem
from osvlab.filesystems.tree import Content, Directory, HostFile, TreeError
from osvlab.filesystems.zfs.writer.write import plan_zfs
from osvlab.image.builders import Builder, EmptyVmError
from osvlab.image.comparing import first_difference
from osvlab.image.empty_vm import TIMEOUT, EmptyVm
from osvlab.image.recipe import Filesystem, RecipeError
from osvlab.image.roots import Progress, Root, RootOptions
from osvlab.image.times import in_whole_seconds
from osvlab.paths import format_size

__all__ = ["plan_vm_root", "refuse_for_vm", "refuse_own_folder"]

_BYTES_PER_SECOND = 256 << 10
"""What a guest takes at least, translated, on a host that has a lot to do."""


def refuse_for_vm(tree: Directory, filesystem: Filesystem) -> None:
    """Raise if no empty VM can make such a filesystem; nothing has been written then.

    Raises
    ------
    RecipeError
        It is no ZFS.
    TreeError
        A file is too large for the stream.
    """
    if filesystem is not Filesystem.ZFS:
        raise RecipeError(
            f"an empty VM formats ZFS only, not {filesystem}", hint="Use fs='zfs', or via='host'."
        )
    for path, node in tree.walk():
        if isinstance(node, HostFile | Content) and node.size > LARGEST:
            raise TreeError(
                f"{show(path)} has {format_size(node.size)}, too much to be sent into an empty VM",
                hint="Let the host fill the image, with via='host'.",
            )


def refuse_own_folder(tree: Directory, builder: Builder) -> None:
    """Raise if a name in the root is one that the builder needs for itself.

    Raises
    ------
    TreeError
        It is.
    """
    if builder.own_folder in tree.children:
        raise TreeError(
            f"{show(b'/' + builder.own_folder)} is where {builder.kernel.path.name} mounts another dataset",
            hint="Rename it, or let the host fill the image, with via='host'.",
        )


class _VmRoot:
    """What the steps of a build do in the VM."""

    def __init__(self, tree: Directory, builder: Builder, content: int) -> None:
        self._tree = tree
        self._builder = builder
        self._timeout = TIMEOUT + content / _BYTES_PER_SECOND
        self._empty: EmptyVm | None = None

    def format(self, stream: FileIO, held: ExitStack) -> None:
        # The file has no name yet; QEMU, another process, finds it by its descriptor here.
        path = Path(f"/proc/{os.getpid()}/fd/{stream.fileno()}")
        self._empty = held.enter_context(EmptyVm(self._builder, path, timeout=self._timeout))
        self._empty.boot()
        self._empty.format()

    def fill(self, _: FileIO, progress: Progress) -> None:
        assert self._empty is not None
        self._empty.fill(self._tree, progress)

    def seal(self) -> None:
        assert self._empty is not None
        self._empty.seal()

    def verify(self, image: Path) -> None:
        """Compare what is on the disk: OSv's daemon says nothing of a disk that was full."""
        with open_filesystem(image, dataset=self._builder.root_dataset, partition=disk.ROOT_SLOT) as files:
            different = first_difference(self._tree, files, all_of_it=self._builder.keeps_all)
        if different is not None:
            raise EmptyVmError(
                f"the empty VM left another tree on the disk than it was given: {different}",
                hint="Give the filesystem more room, with size=; or let the host fill it, with via='host'.",
            )


def plan_vm_root(tree: Directory, options: RootOptions, builder: Builder) -> Root:
    """Plan a root filesystem that an empty VM makes, of the size that the host would give it.

    Raises
    ------
    TreeError
        A name or a link does not fit.
    OsvlabError
        An option is none, or the size does not do.
    """
    tree = in_whole_seconds(tree)
    plan = plan_zfs(tree, size=options.size, compression=options.compression, ashift=options.ashift)
    if options.size is None and options.compression is None and not builder.keeps_all:
        # Holes arrive as zeros, which only compression makes holes again.
        holes = max(0, plan.content_bytes - sum(dataset.data_room for dataset in plan.datasets))
        plan = plan_zfs(tree, size=plan.size + holes, compression=None, ashift=options.ashift)
    root = _VmRoot(tree, builder, plan.content_bytes)
    return Root(plan.size, root.fill, root.seal, format=root.format, verify=root.verify)
