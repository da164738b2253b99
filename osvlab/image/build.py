"""Build an image: boot sector, command line, kernel and root filesystem, in one file or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish, step
from osvlab.filesystems import disk
from osvlab.filesystems.bootfs import bootfs_size, write_bootfs
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.output import Output
from osvlab.filesystems.rofs import plan_rofs, write_rofs
from osvlab.filesystems.tree import Directory, HostFile
from osvlab.image import preflight
from osvlab.image.image import Image
from osvlab.image.modules import ModuleError, chosen_modules
from osvlab.image.recipe import Filesystem, Recipe, RecipeError
from osvlab.image.sources.recognise import SourceKind, recognise
from osvlab.kernels import Capability, DiskStart, Kernel
from osvlab.paths import cache_dir, format_size, no_space, parse_size, replacing

__all__ = ["DiskFullError", "build", "build_recipe"]


class DiskFullError(OsvlabError, OSError):
    """There is no room for an image on the host's disk."""


def build(
    source: Recipe | str | os.PathLike[str],
    command: str | None = None,
    fs: str | None = None,
    kernel: Kernel | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    modules: Iterable[str] = (),
    size: int | str | None = None,
    check: bool = True,
) -> Image:
    """Make a bootable image of a directory, or of whatever else there is a recipe for.

    The same source always gives the same bytes. The output is sparse, and it
    appears only when it is whole.

    Parameters
    ----------
    source
        A directory, which becomes the root of the guest; a Capstanfile, a manifest or a package
        (see `Recipe.from_source`); or a `Recipe`.
    command
        What the guest runs, in OSv's grammar; without it what the source says, and if it says
        nothing, the only ELF program at the top of a directory.
    fs
        ``rofs``, read-only on the disk, or ``ramfs``, unpacked into memory; what a recipe says, or
        else ``rofs``, when not given.
    kernel
        A kernel or its file; the one that a Capstanfile names, or else the lab kernel, when not given.
    output
        The image to write; a file in the cache when not given, the same one for
        the same directory, command, filesystem, kernel and modules.
    modules
        Parts of the guest to include, such as ``httpserver``; what they need comes along.
    size
        Bytes that the root filesystem shall have, or a text like ``"1G"``; as many as its content needs
        when not given. A filesystem that nobody can write to needs no more.
    check
        Whether programs are compared with the kernel first.

    Returns
    -------
    Image
        The image, which shows itself.

    Raises
    ------
    PathNotFoundError
        The source or the kernel is not there.
    RecipeError
        The source is empty, holds what an image cannot, or has no program.
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
    recipe = _recipe(source, command, fs, output)
    if size is not None:
        _note_size(parse_size(size), recipe)
    if not isinstance(kernel, Kernel):
        kernel = (recipe.kernel or Kernel.lab()) if kernel is None else Kernel.open(kernel)
    if chosen:
        if not kernel.can(Capability.RUNS_MODULES):
            raise ModuleError(
                f"{kernel.path.name} runs no modules of the lab kernel: {', '.join(m.name for m in chosen)}",
                hint="Build OSv's own modules into its image, or use the lab kernel.",
            )
        recipe = recipe.with_modules(chosen)
    if output is None:
        output = _place_in_cache(source, recipe, kernel)
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


def _recipe(
    source: Recipe | str | os.PathLike[str],
    command: str | None,
    fs: str | None,
    output: str | os.PathLike[str] | None,
) -> Recipe:
    """Return the recipe of a source, with another command if one is given."""
    if not isinstance(source, Recipe):
        # An image may lie in the directory of its package, which is where Capstan's users are.
        packed = output is not None and recognise(source) is SourceKind.PACKAGE
        recipe = Recipe.from_source(
            source, command, fs or Filesystem.ROFS, **({"leave_out": output} if packed else {})
        )
    elif fs is not None and fs != source.filesystem:
        raise RecipeError(
            f"the recipe is for {source.filesystem}, not {fs}", hint="Make the recipe with fs=..."
        )
    else:
        recipe = source if command is None else source.with_command(command)
    if output is not None and any(map(_real(output).is_relative_to, recipe.folders)):
        raise OsvlabError(
            f"the image would lie inside the directory it is made of: {os.fspath(output)}",
            hint="Write it somewhere else: the next build would put it into the image.",
        )
    return recipe


def _note_size(size: int, recipe: Recipe) -> None:
    if recipe.filesystem in (Filesystem.ROFS, Filesystem.RAMFS):
        publish(Note(f"{format_size(size)} were asked for: {recipe.filesystem} has the size of its content"))


def _real(path: str | os.PathLike[str]) -> Path:
    """Follow links, as far as they lead: one that leads to itself is told by who opens it."""
    return Path(os.path.realpath(path))


def _place_in_cache(source: Recipe | str | os.PathLike[str], recipe: Recipe, kernel: Kernel) -> Path:
    """Return a path that is always the same for the same image."""
    place = None if isinstance(source, Recipe) else _real(source)
    told = hashlib.sha256()
    for text in (
        *(os.fspath(place or ""), recipe.command, recipe.filesystem, os.fspath(kernel.path)),
        *(module.name for module in recipe.modules),
    ):
        told.update(os.fsencode(text) + b"\0")
    if place is None:
        for path, node in recipe.tree.walk():
            what = replace(node, children={}) if isinstance(node, Directory) else node
            told.update(path + b"\0" + repr(what).encode())
    name = "recipe" if place is None else place.name or "root"
    return cache_dir("images") / f"{name}-{told.hexdigest()[:12]}.img"


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
