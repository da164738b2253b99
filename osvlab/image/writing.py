"""Writing an image: format, fill, seal and verify it, in one file or not at all.

The file has no name before it has been read back, so whatever fails leaves no image, and an older one
as it was.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish, step
from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.output import Output
from osvlab.filesystems.tree import HostFile
from osvlab.image.boot_modules import SLOT
from osvlab.image.image import Image
from osvlab.image.recipe import Filesystem, Recipe
from osvlab.image.roots import USUAL_DATASET, Root, RootOptions, plan_root
from osvlab.kernels import DiskStart, Kernel
from osvlab.paths import format_size, no_space, replacing

if TYPE_CHECKING:
    from osvlab.image.builders import Builder

__all__ = ["DiskFullError", "ImageError", "write_image"]

_A_MOMENT = 50_000_000


class DiskFullError(OsvlabError, OSError):
    """There is no room for an image on the host's disk."""


class ImageError(OsvlabError):
    """An image that was written is not read back as it should be."""


def write_image(
    recipe: Recipe,
    kernel: Kernel,
    output: Path,
    options: RootOptions,
    early: bytes,
    builder: Builder | None = None,
    *,
    remember: bool = True,
) -> os.stat_result:
    """Write the image of a recipe, and return what the host knows of the file as it got its name.

    Under that name there may be another at once, by somebody else who builds.

    Parameters
    ----------
    recipe, kernel, options
        What it is made of, and how.
    output
        The file.
    early
        What the kernel needs before it can mount the root filesystem: the first partition's bytes.
    builder
        What an empty VM runs to format and fill the root filesystem; None lets the host do it.
    remember
        Whether the next build may take from it what did not change.

    Raises
    ------
    TreeError
        A name or a link does not fit the filesystem.
    ChangedFileError
        A file changed while it was read.
    DiskFullError
        There is no room.
    ImageError
        What was written does not come back.
    EmptyVmError
        The VM failed, and said why.
    OsvlabError
        An option is none, or the image cannot be written.
    """
    total = 0
    try:
        with (
            replacing(output) as temporary,
            open(temporary, "r+b", buffering=0) as stream,
            ExitStack() as held,
        ):
            assert isinstance(stream, FileIO)
            with step("format") as running:
                root = _plan(recipe, kernel, options, output, builder)
                partitions = _partitions(kernel.disk_start(), early, root)
                total = partitions[-1].offset + root.size
                running.bytes = _format(stream, recipe, kernel, partitions, early)
                stream.truncate(total)  # the last bytes may be a hole
                root.format(stream, held)
            with step("fill") as running:
                stream.seek(partitions[-1].offset)
                running.bytes = _fill(stream, root, running.progress)
            with step("seal"):
                root.seal()
            with step("verify"):
                _verify(temporary, recipe, kernel, root)
            # Whatever is written to the image from now on, even at once, makes it newer than this.
            now = time.time_ns()
            os.utime(stream.fileno(), ns=(now, now - _A_MOMENT))
            written = os.fstat(stream.fileno())
    except OSError as error:
        if isinstance(error, OsvlabError):
            raise
        raise _write_error(error, output, total) from error
    if remember:
        root.placed(written)
    return written


def _plan(
    recipe: Recipe, kernel: Kernel, options: RootOptions, output: Path, builder: Builder | None
) -> Root:
    if builder is None:
        dataset = _dataset(kernel) if recipe.filesystem is Filesystem.ZFS else USUAL_DATASET
        return plan_root(recipe.tree, recipe.filesystem, options, output, dataset)
    from osvlab.image.vm_root import plan_vm_root

    return plan_vm_root(recipe.tree, options, builder)


def _dataset(kernel: Kernel) -> str:
    """Return the dataset that a kernel mounts as its root; say when that is not known."""
    if kernel.zfs_root is None:
        publish(
            Note(f"{kernel.path.name} does not tell which dataset it mounts; {USUAL_DATASET} gets the files")
        )
    return kernel.zfs_root or USUAL_DATASET


def _partitions(start: DiskStart | None, early: bytes, root: Root) -> list[Partition]:
    """Return where the partitions go, the root filesystem last."""
    end = disk.COMMAND_LINE_END
    if start is not None:
        # The boot sector reads whole pieces of 32 KiB; the last one must not reach into a partition.
        end = disk.KERNEL + -(-start.size // disk.CHUNK) * disk.CHUNK
    found = []
    if early:
        found.append(Partition(SLOT, disk.TYPE_LINUX, disk.align(end), len(early)))
        end = found[0].offset + len(early)
    return [*found, Partition(disk.ROOT_SLOT, disk.TYPE_LINUX, disk.align(end), root.size)]


def _format(
    stream: FileIO, recipe: Recipe, kernel: Kernel, partitions: list[Partition], early: bytes
) -> int:
    """Write what lies in front of the root filesystem, and return how many bytes that was."""
    start = kernel.disk_start()
    output = Output(stream)
    output.write(
        disk.make_boot_sector(
            start.boot_sector if start is not None else None,
            start.size if start is not None else 0,
            partitions,
        )
    )
    output.write(disk.encode_command_line(kernel.command_line(recipe.command, rootfs=recipe.filesystem)))
    output.flush()
    if start is not None:
        stream.seek(disk.KERNEL)
        _copy_kernel(output, kernel, start)
    if early:
        stream.seek(partitions[0].offset)
        output.write(early)
        output.flush()
    return output.written


def _copy_kernel(output: Output, kernel: Kernel, start: DiskStart) -> None:
    if start.offset == 0:
        output.copy(HostFile(os.fsencode(kernel.path), start.size))
    else:
        with kernel.path.open("rb") as source:
            source.seek(start.offset)
            output.write(source.read(start.size))
    output.flush()


def _fill(stream: FileIO, root: Root, progress: Callable[[int, int], object]) -> int:
    """Write the contents, and return how many bytes all files have."""
    filled = 0

    def told(done: int, total: int) -> None:
        nonlocal filled
        filled = done
        progress(done, total)

    root.fill(stream, told)
    return filled


def _verify(path: Path, recipe: Recipe, kernel: Kernel, root: Root) -> None:
    """Read back what leads to the files: partition table, command line, filesystem, root directory."""
    image = Image(path, kernel)
    try:
        expected = {
            "command line": kernel.command_line(recipe.command, rootfs=recipe.filesystem),
            "filesystem": str(recipe.filesystem),
        }
        found = {"command line": image.command_line, "filesystem": image.filesystem}
        if root.verify is None:
            expected["root directory"] = ", ".join(sorted(map(os.fsdecode, recipe.tree.children)))
            found["root directory"] = ", ".join(sorted(path.name for path in image.files.iterdir()))
    finally:
        image.close()
    for what, wanted in expected.items():
        if found[what] != wanted:
            raise ImageError(
                f"the {what} of the new image is {found[what]!r}, and should be {wanted!r}",
                hint="This is a bug of the lab, or the disk does not keep what is written to it.",
            )
    if root.verify is not None:
        root.verify(path)


def _write_error(error: OSError, output: Path, total: int) -> OsvlabError:
    if not no_space(error):
        return OsvlabError(f"cannot write {output}: {error.strerror}", hint="Write it elsewhere.")
    free = shutil.disk_usage(output.parent).free
    return DiskFullError(
        f"no room for {output}: the image needs up to {format_size(total)}, {format_size(free)} are free "
        f"({error.strerror})",
        hint="Make room, or write it elsewhere with output=.",
    )
