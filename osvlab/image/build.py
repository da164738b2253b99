"""Build an image: boot sector, command line, kernel and root filesystem, in one file or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.filesystems import disk
from osvlab.filesystems.bootfs import bootfs_size, write_bootfs
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.output import Output
from osvlab.filesystems.rofs import plan_rofs, write_rofs
from osvlab.filesystems.tree import Directory, HostFile
from osvlab.image import preflight
from osvlab.image.image import Image
from osvlab.image.modules import ModuleError, chosen_modules
from osvlab.image.recipe import Filesystem, Recipe
from osvlab.kernels import Capability, DiskStart, Kernel
from osvlab.paths import cache_dir, format_size, no_space, replacing

__all__ = ["DiskFullError", "build", "build_recipe"]


class DiskFullError(OsvlabError, OSError):
    """There is no room for an image on the host's disk."""


def build(
    directory: str | os.PathLike[str],
    command: str | None = None,
    fs: str = Filesystem.ROFS,
    kernel: Kernel | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    modules: Iterable[str] = (),
    check: bool = True,
) -> Image:
    """Make a bootable image of a directory.

    The same directory always gives the same bytes. The output is sparse, and it
    appears only when it is whole.

    Parameters
    ----------
    directory
        Becomes the root of the guest.
    command
        What the guest runs, in OSv's grammar; without it, the only ELF program
        at the top of the directory.
    fs
        ``rofs``, read-only on the disk, or ``ramfs``, unpacked into memory.
    kernel
        A kernel or its file; the lab kernel when not given.
    output
        The image to write; a file in the cache when not given, the same one for
        the same directory, command, filesystem, kernel and modules.
    modules
        Parts of the guest to include, such as ``httpserver``; what they need comes along.
    check
        Whether programs are compared with the kernel first.

    Returns
    -------
    Image
        The image, which shows itself.

    Raises
    ------
    PathNotFoundError
        The directory or the kernel is not there.
    RecipeError
        The directory is empty, holds what an image cannot, or has no program.
    ModuleError
        There is no such module, or not for this kernel.
    PreflightError
        A program is none, or lacks libraries or symbols. All are listed.
    ChangedFileError
        A file changed while it was read.
    DiskFullError
        There is no room. Nothing is left behind.
    """
    chosen = chosen_modules(modules)
    with step("read the directory"):
        recipe = Recipe.from_directory(directory, command, fs)
    if not isinstance(kernel, Kernel):
        kernel = Kernel.lab() if kernel is None else Kernel.open(kernel)
    if chosen:
        if not kernel.can(Capability.RUNS_MODULES):
            raise ModuleError(
                f"{kernel.path.name} runs no modules of the lab kernel: {', '.join(m.name for m in chosen)}",
                hint="Build OSv's own modules into its image, or use the lab kernel.",
            )
        recipe = recipe.with_modules(chosen)
    if output is None:
        output = _place_in_cache(Path(directory), recipe, kernel)
    elif _real(output).is_relative_to(_real(directory)):
        raise OsvlabError(
            f"the image would lie inside the directory it is made of: {os.fspath(output)}",
            hint="Write it somewhere else: the next build would put it into the image.",
        )
    return build_recipe(recipe, kernel, output, check=check)


def build_recipe(
    recipe: Recipe, kernel: Kernel, output: str | os.PathLike[str], *, check: bool = True
) -> Image:
    """Make a bootable image of a recipe, as `build` does of a directory."""
    if check:
        with step("check the program"):
            preflight.check(recipe, kernel)
    with step("write the image") as running:
        running.bytes = _write(recipe, kernel, Path(output), running.progress)
    return Image(output, kernel)


def _real(path: str | os.PathLike[str]) -> Path:
    """Follow links, as far as they lead: one that leads to itself is told by who opens it."""
    return Path(os.path.realpath(path))


def _place_in_cache(directory: Path, recipe: Recipe, kernel: Kernel) -> Path:
    place = _real(directory)
    told = "\0".join(
        [
            *(os.fspath(place), recipe.command, recipe.filesystem, os.fspath(kernel.path)),
            *(module.name for module in recipe.modules),
        ]
    )
    name = place.name or "root"
    return cache_dir("images") / f"{name}-{hashlib.sha256(os.fsencode(told)).hexdigest()[:12]}.img"


def _write(recipe: Recipe, kernel: Kernel, output: Path, progress: Callable[[int, int], object]) -> int:
    """Write the image and return its size."""
    start = kernel.disk_start()
    root, write_root = _plan(recipe.tree, recipe.filesystem, disk.align(_end_of(start)), progress)
    boot_sector = disk.make_boot_sector(
        start.boot_sector if start is not None else None, start.size if start is not None else 0, [root]
    )
    line = disk.encode_command_line(kernel.command_line(recipe.command, rootfs=recipe.filesystem))
    total = root.offset + root.size
    try:
        with replacing(output) as temporary, open(temporary, "r+b", buffering=0) as stream:
            _write_all(stream, boot_sector)
            stream.seek(disk.COMMAND_LINE)
            _write_all(stream, line)
            if start is not None:
                stream.seek(disk.KERNEL)
                _copy_kernel(stream, kernel, start)
            stream.seek(root.offset)
            write_root(stream)
            stream.truncate(total)  # the last bytes may be a hole
    except OSError as error:
        if isinstance(error, OsvlabError):
            raise
        raise _write_error(error, output, total) from error
    return total


def _end_of(start: DiskStart | None) -> int:
    """Return where the first partition may start, before alignment."""
    if start is None:
        return disk.COMMAND_LINE_END
    # The boot sector reads whole pieces of 32 KiB; the last one must not reach into the partition.
    return disk.KERNEL + -(-start.size // disk.CHUNK) * disk.CHUNK


def _plan(
    tree: Directory, filesystem: Filesystem, offset: int, progress: Callable[[int, int], object]
) -> tuple[Partition, Callable[[BinaryIO], int]]:
    """Return the root partition and what writes it."""
    match filesystem:
        case Filesystem.ROFS:
            plan = plan_rofs(tree)
            size = plan.size

            def write(stream: BinaryIO) -> int:
                return write_rofs(plan, stream, sparse=True, progress=progress)

        case Filesystem.RAMFS:
            size = -(-bootfs_size(tree) // disk.SECTOR) * disk.SECTOR

            def write(stream: BinaryIO) -> int:
                return write_bootfs(tree, stream, progress=progress)

    return Partition(disk.ROOT_SLOT, disk.TYPE_LINUX, offset, size), write


def _write_all(stream: BinaryIO, data: bytes) -> None:
    output = Output(stream)
    output.write(data)
    output.flush()


def _copy_kernel(stream: BinaryIO, kernel: Kernel, start: DiskStart) -> None:
    output = Output(stream)
    if start.offset == 0:
        output.copy(HostFile(os.fsencode(kernel.path), start.size))
    else:
        with kernel.path.open("rb") as source:
            source.seek(start.offset)
            output.write(source.read(start.size))
    output.flush()


def _write_error(error: OSError, output: Path, total: int) -> OsvlabError:
    if not no_space(error):
        return OsvlabError(f"cannot write {output}: {error.strerror}", hint="Write it elsewhere.")
    free = shutil.disk_usage(output.parent).free
    return DiskFullError(
        f"no room for {output}: the image needs up to {format_size(total)}, {format_size(free)} are free "
        f"({error.strerror})",
        hint="Make room, or write it elsewhere with output=.",
    )
