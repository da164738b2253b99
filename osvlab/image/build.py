"""Build an image: boot sector, command line, kernel and root filesystem, in one file or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish, step
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Directory, HostFile
from osvlab.image import preflight
from osvlab.image.boot_modules import boot_archive
from osvlab.image.collector import no_collection
from osvlab.image.image import Image
from osvlab.image.modules import ModuleError, chosen_modules
from osvlab.image.recipe import Filesystem, Recipe, RecipeError
from osvlab.image.roots import RootOptions
from osvlab.image.sources.recognise import SourceKind, is_source_file, recognise
from osvlab.image.unchanged import BuildRecord
from osvlab.image.writing import DiskFullError, write_image
from osvlab.kernels import Capability, Kernel
from osvlab.paths import cache_dir, format_size, parse_size
from osvlab.vm.discover import refuse_use

if TYPE_CHECKING:
    from osvlab.image.builders import Builder

__all__ = ["DiskFullError", "build", "build_recipe"]

_WAYS = ("host", "vm")


@no_collection()
def build(
    source: Recipe | str | os.PathLike[str],
    command: str | None = None,
    fs: str | None = None,
    kernel: Kernel | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    modules: Iterable[str] = (),
    size: int | str | None = None,
    compression: str | None = "lz4",
    ashift: int = 9,
    via: str = "host",
    builder: str | os.PathLike[str] | None = None,
    check: bool = True,
    remember: bool = True,
) -> Image:
    """Make a bootable image of a directory, or of whatever else there is a recipe for.

    The same source always gives the same bytes: times that `SOURCE_DATE_EPOCH` puts a limit to included.
    (In what a VM formats there are random numbers; there the files are the same.)
    The output is sparse, and it appears only when it is whole. What did not change since it was made before
    is not made again.

    Parameters
    ----------
    source
        A directory, which becomes the root of the guest; a Capstanfile, a manifest or a package
        (see `Recipe.from_source`); or a `Recipe`.
    command
        What the guest runs, in OSv's grammar; without it what the source says, and if it says
        nothing, the only ELF program at the top of a directory.
    fs
        ``rofs``, read-only on the disk; ``zfs``, which the guest can write to; or ``ramfs``, unpacked into
        memory. What a recipe says, or else ``rofs``, when not given.
    kernel
        A kernel or its file; the one that a Capstanfile names, or else the lab kernel, when not given.
    output
        The image to write; a file in the cache when not given, the same one for
        the same directory, command, filesystem, kernel and modules.
    modules
        Parts of the guest to include, such as ``httpserver``; what they need comes along.
    size
        Bytes that the root filesystem shall have, or a text like ``"1G"``; as many as its content needs
        when not given, and of ZFS room for 64 MiB more. A filesystem that nobody can write to needs no more.
    compression
        Of ZFS: ``lz4``, ``gzip``, ``gzip-1`` to ``gzip-9``, or None.
    ashift
        Of ZFS: the smallest block has 2 to this power bytes, 9 or 12.
    via
        Who formats and fills the disk: ``host``, or ``vm``: an empty VM, to which the files are streamed.
    builder
        What that VM runs: OSv's ``zfs_builder-stripped.elf``, or a lab kernel. When not given, the lab
        kernel builds for itself; for OSv `$OSVLAB_OSV_ZFS_BUILDER` names it, or it lies beside the kernel.
    check
        Whether programs are compared with the kernel first.
    remember
        Whether it is noted in the cache what the image is made of, so that what did not change is not
        made again.

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
    ImageInUseError
        The output is a disk that a running guest writes to.
    EmptyVmError
        The VM cannot make such a disk, or failed; what it said is in the message.

    Examples
    --------
    >>> import shutil
    >>> from osvlab.demo import static_busybox
    >>> os.mkdir("app")
    >>> _ = shutil.copy(static_busybox(), "app/busybox")
    >>> image = build("app", "/busybox uname", fs="zfs", size="64M", output="app.img")
    >>> image.command, image.filesystem, image.root_partition.size >> 20
    ('/busybox uname', 'zfs', 64)
    >>> sorted(path.name for path in image.files.iterdir())
    ['busybox', 'dev', 'etc', 'proc', 'sys', 'tmp']
    """
    chosen = chosen_modules(modules)
    recipe = _recipe(source, command, fs, output)
    if via not in _WAYS:
        raise RecipeError(f"unknown way to fill a disk: {via!r}", hint=f"Usable: {', '.join(_WAYS)}.")
    if builder is not None and via != "vm":
        raise RecipeError(
            f"{os.fspath(builder)} runs in a VM, and the host shall fill the disk", hint="Add via='vm'."
        )
    options = RootOptions(None if size is None else parse_size(size), compression, ashift)
    _note_unused(options, recipe.filesystem)
    if not isinstance(kernel, Kernel):
        kernel = (recipe.kernel or Kernel.lab()) if kernel is None else Kernel.open(kernel)
    if chosen:
        if not kernel.can(Capability.RUNS_MODULES):
            raise ModuleError(
                f"{kernel.path.name} runs no modules of the lab kernel: {', '.join(m.name for m in chosen)}",
                hint="Build OSv's own modules into its image, or use the lab kernel.",
            )
        recipe = recipe.with_modules(chosen)
    in_vm = _builder(recipe, kernel, builder, options) if via == "vm" else None
    if output is None:
        output = _place_in_cache(source, recipe, kernel, options, in_vm)
    return build_recipe(
        recipe, kernel, output, options=options, builder=in_vm, check=check, remember=remember
    )


@no_collection()
def build_recipe(
    recipe: Recipe,
    kernel: Kernel,
    output: str | os.PathLike[str],
    *,
    options: RootOptions | None = None,
    builder: Builder | None = None,
    check: bool = True,
    remember: bool = True,
) -> Image:
    """Make a bootable image of a recipe, as `build` does of a directory.

    Examples
    --------
    >>> from osvlab.demo import static_busybox
    >>> recipe = Recipe.from_program(static_busybox(), ["true"])
    >>> image = build_recipe(recipe, Kernel.lab(), "true.img")
    >>> image.command.endswith("busybox true"), image.filesystem
    (True, 'rofs')
    """
    options = options or RootOptions()
    refuse_use(output, writers_only=True)  # what that guest still writes would be lost
    early = boot_archive(kernel, recipe.filesystem)
    filled_by = None if builder is None else builder.digest()
    about = (options, hashlib.sha256(early).digest(), check, filled_by)
    record = BuildRecord(Path(output), recipe, kernel, about)
    if record.is_current:
        publish(Note(f"nothing changed since {os.fspath(output)} was made"))
        return Image(output, kernel)
    _refuse_inputs(recipe, kernel, Path(output))
    if check:
        with step("preflight"):
            preflight.check(recipe, kernel)
    written = write_image(recipe, kernel, Path(output), options, early, builder, remember=remember)
    if remember:
        record.save(written)
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
    if output is not None and (not os.fspath(output) or os.fspath(output).endswith("/")):
        raise OsvlabError(f"not a name for an image: {os.fspath(output)!r}", hint="Write it like x.img.")
    if output is not None and any(map(_real(output).is_relative_to, recipe.folders)):
        raise OsvlabError(
            f"the image would lie inside the directory it is made of: {os.fspath(output)}",
            hint="Write it somewhere else: the next build would put it into the image.",
        )
    return recipe


def _refuse_inputs(recipe: Recipe, kernel: Kernel, output: Path) -> None:
    """Raise if the image would take the place of something that it is made of."""
    try:
        found = os.stat(output)
    except OSError:
        return  # nothing to lose; what else is wrong is told by who writes
    told = ""
    if is_source_file(output):
        told = f"is a {recognise(output)}"
    elif os.path.samestat(found, os.stat(kernel.path)):
        told = "is the kernel"
    else:
        inode = found.st_dev, found.st_ino
        for path, node in recipe.tree.walk():
            if isinstance(node, HostFile) and node.version is not None and node.version[:2] == inode:
                told = f"goes into it, as {show(path)}"
                break
    if told:
        raise RecipeError(
            f"the image would take the place of {output}, which {told}", hint="Write it somewhere else."
        )


def _builder(
    recipe: Recipe, kernel: Kernel, named: str | os.PathLike[str] | None, options: RootOptions
) -> Builder:
    """Return what an empty VM shall run, once it is clear that it can make the image."""
    from osvlab.image.builders import suitable_builder
    from osvlab.image.vm_root import refuse_for_vm, refuse_own_folder

    refuse_for_vm(recipe.tree, recipe.filesystem)
    found = suitable_builder(kernel, named, compression=options.compression, ashift=options.ashift)
    refuse_own_folder(recipe.tree, found)
    return found


def _note_unused(options: RootOptions, filesystem: Filesystem) -> None:
    """Say which options mean nothing to a filesystem."""
    if filesystem is Filesystem.ZFS:
        return
    if options.size is not None:
        publish(
            Note(f"{format_size(options.size)} were asked for: {filesystem} has the size of its content")
        )
    if options.compression not in (RootOptions().compression, None):
        publish(Note(f"{options.compression} was asked for: {filesystem} is not compressed"))
    if options.ashift != RootOptions().ashift:
        publish(Note(f"an ashift of {options.ashift} was asked for: {filesystem} has none"))


def _real(path: str | os.PathLike[str]) -> Path:
    """Follow links, as far as they lead: one that leads to itself is told by who opens it."""
    return Path(os.path.realpath(path))


def _place_in_cache(
    source: Recipe | str | os.PathLike[str],
    recipe: Recipe,
    kernel: Kernel,
    options: RootOptions,
    builder: Builder | None,
) -> Path:
    """Return a path that is always the same for the same image."""
    place = None if isinstance(source, Recipe) else _real(source)
    told = hashlib.sha256()
    for text in (
        *(os.fspath(place or ""), recipe.command, recipe.filesystem, os.fspath(kernel.path)),
        *(repr(options) if recipe.filesystem is Filesystem.ZFS else "",),
        *((os.fspath(builder.kernel.path),) if builder is not None else ()),
        *(module.name for module in recipe.modules),
    ):
        told.update(os.fsencode(text) + b"\0")
    if place is None:
        for path, node in recipe.tree.walk():
            what = replace(node, children={}) if isinstance(node, Directory) else node
            told.update(path + b"\0" + repr(what).encode())
    name = "recipe" if place is None else place.name or "root"
    return cache_dir("images") / f"{name}-{told.hexdigest()[:12]}.img"
