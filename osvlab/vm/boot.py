"""From an image or a directory to a machine that boots it: what `run` decides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvlab.events import step
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.containers import container_of, measure
from osvlab.filesystems.disk import encode_command_line, write_command_line
from osvlab.kernels import Boot, Capability, Kernel, KernelError
from osvlab.paths import PathNotFoundError, format_size, parse_size
from osvlab.vm.accelerator import acceleration
from osvlab.vm.discover import refuse_use
from osvlab.vm.folder import Folder
from osvlab.vm.machine import Accelerator, Disk, DiskAccess, Machine, MachineError, MachineKind
from osvlab.vm.network import Network

if TYPE_CHECKING:
    from osvlab.guest.cloud_config import CloudConfig
    from osvlab.image.image import Image
    from osvlab.image.recipe import Recipe

__all__ = ["Plan", "is_built", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall run: the machine, the kernel on it, the image on its disk, and the folder they lie in."""

    machine: Machine
    kernel: Kernel
    image: Image
    folder: Folder


def plan(
    source: Image | Recipe | str | os.PathLike[str],
    command: str | None,
    *,
    kernel: Kernel | str | os.PathLike[str] | None,
    memory: int | str,
    cpus: int,
    machine: MachineKind | str | None,
    env: Mapping[str, str] | None,
    modules: Iterable[str] = (),
    verbose: bool = False,
    networks: tuple[Network, ...] = (),
    cloud_init: CloudConfig | None = None,
    persist: bool = False,
) -> Plan:
    """Decide what shall run; an image is made first of what is none. See `osvlab.vm.run.run`."""
    if kernel is not None and not isinstance(kernel, Kernel):
        kernel = Kernel.open(kernel)
    size = parse_size(memory)
    folder = Folder(room=size + _room_for(source))
    try:
        if cloud_init is not None and is_built(source):
            modules = [*modules, CLOUD_INIT]
        image = _plain(_image(source, command, kernel, modules, folder), folder, persist)
        kernel = kernel or image.kernel or Kernel.of_disk(image.path) or Kernel.lab()
        _check_root(image, kernel, _told(image, command))
        _check_memory(kernel, size)
        kind, accelerator = _board(kernel, machine)
        text = kernel.command_line(_told(image, command), verbose=verbose, env=env)
        encode_command_line(text)  # raises for what does not fit; a kernel would cut it off
        disk = image.path
        if kernel.boot is Boot.DISK:
            disk = _bootable(image, kernel, text, folder)
        if persist:
            _check_persistent(image, disk)
        chosen = Machine(
            kind=kind,
            memory=size,
            cpus=cpus,
            disks=(
                Disk(disk, DiskAccess.WRITE if persist else _access(image)),
                *_seed(cloud_init, image, kernel, folder),
            ),
            kernel=kernel.path if kernel.boot is Boot.PVH else None,
            command_line=text if kernel.boot is Boot.PVH else "",
            accelerator=accelerator,
            networks=networks,
        )
    except BaseException:
        folder.remove()
        raise
    return Plan(chosen, kernel, image, folder)


def is_built(source: Image | Recipe | str | os.PathLike[str]) -> bool:
    """Whether an image has to be made of it."""
    from osvlab.image.recipe import Recipe
    from osvlab.image.sources.recognise import is_source_file

    if isinstance(source, Recipe):
        return True
    return isinstance(source, str | os.PathLike) and (os.path.isdir(source) or is_source_file(Path(source)))


def _room_for(source: Image | Recipe | str | os.PathLike[str]) -> int:
    """Estimate the bytes of the image that a directory or recipe becomes, or that is unpacked."""
    from osvlab.filesystems.tree import Content, HostFile
    from osvlab.image.recipe import Recipe

    if isinstance(source, Recipe):
        nodes = (node for _, node in source.tree.walk())
        return sum(node.size for node in nodes if isinstance(node, HostFile | Content)) + (8 << 20)
    if not isinstance(source, str | os.PathLike):
        return _room_to_unpack(source.path)
    if not os.path.isdir(source):
        return _room_to_unpack(Path(source))
    total = 0
    for folder, _, files in os.walk(os.fspath(source)):
        for name in files:
            # What cannot be looked at is named when the image is built.
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total + (8 << 20)


def _room_to_unpack(path: Path) -> int:
    """Return how much a disk in a qcow2, vmdk or vdi file takes when it is unpacked; 0 for other files."""
    if not path.is_file():
        return 0  # what that is, is told by who opens it
    file = ByteRange(path)
    return 0 if container_of(file) is None else measure(file, os.fspath(path))


def _image(
    source: Image | Recipe | str | os.PathLike[str],
    command: str | None,
    kernel: Kernel | None,
    modules: Iterable[str],
    folder: Folder,
) -> Image:
    from osvlab.elf.recognise import is_elf
    from osvlab.image.build import build
    from osvlab.image.command import split_command_line
    from osvlab.image.image import Image

    # Options of the kernel in front of the command are for this run, not for the image.
    program = None if command is None else split_command_line(command)[1] or None
    # It goes away with the VM, so there is nothing to remember.
    made: dict[str, Any] = {"output": folder.path / "image", "remember": False}
    made |= {"kernel": kernel, "modules": modules}
    if isinstance(source, Image):
        _refuse_modules(source.path, modules)
        return source
    if not isinstance(source, str | os.PathLike):
        return build(source, program, **made)
    path = Path(source)
    if not os.fspath(source):  # pathlib takes it for the current directory
        raise PathNotFoundError("no such image or directory: ''", hint="Name one; '.' is where you are.")
    if is_built(path):
        return build(path, program, **made)
    if not path.exists():
        raise PathNotFoundError(f"no such image or directory: {path}", hint="Check the path.")
    _refuse_modules(path, modules)
    if is_elf(path):
        raise MachineError(
            f"{path} is a program, not an image",
            hint="Take it with what it needs: osvlab run --program, or Recipe.from_program.",
        )
    return Image.open(path)


def _plain(image: Image, folder: Folder, persist: bool) -> Image:
    """Return an image whose file is the disk itself: boot sector and kernel are looked for in the file."""
    if image.container is None:
        return image
    if persist:
        raise MachineError(
            f"{image.path} is a {image.container} file, which is unpacked to run, so changes would be lost",
            hint="Write a plain disk of it first: image.write_raw(...)",
        )
    with step(f"unpack the {image.container} file"):
        return image.write_raw(folder.path / "image")


def _check_root(image: Image, kernel: Kernel, line: str) -> None:
    from osvlab.image.root_pool import refuse_other_pool

    refuse_other_pool(image, kernel, line)


def _check_memory(kernel: Kernel, size: int) -> None:
    """Refuse a machine so small that the kernel does not even get far enough to say so itself."""
    if size < kernel.loaded_end:
        raise MachineError(
            f"{format_size(size)} of memory do not hold the kernel {kernel.path.name}, "
            f"which is loaded up to {format_size(kernel.loaded_end)}",
            hint="Give it more, as in memory='64M'.",
        )


def _refuse_modules(image: Path, modules: Iterable[str]) -> None:
    names = [modules] if isinstance(modules, str) else list(modules)
    if names:
        raise MachineError(
            f"{image} is an image already, and modules ({', '.join(names)}) go in when it is built",
            hint="Build it with them: osvlab build --module NAME, or osvlab.build(..., modules=[...]).",
        )


def _board(kernel: Kernel, wanted: MachineKind | str | None) -> tuple[MachineKind, Accelerator]:
    accelerator = acceleration().best
    microvm = kernel.boot is Boot.PVH and (
        accelerator is Accelerator.KVM or kernel.can(Capability.BOOTS_MICROVM_WITHOUT_KVM)
    )
    if wanted is None:
        return (MachineKind.MICROVM if microvm else MachineKind.PC), accelerator
    kind = MachineKind.named(wanted)
    if kind is MachineKind.MICROVM and not microvm:
        why = (
            "it boots from its own disk"
            if kernel.boot is Boot.DISK
            else "it finds no clock there without KVM"
        )
        raise MachineError(f"{kernel.path.name} does not boot on a microvm: {why}", hint="Use machine='pc'.")
    return kind, accelerator


def _check_persistent(image: Image, disk: Path) -> None:
    """Refuse to keep a guest's changes where nobody finds them, or where another guest keeps its own."""
    if disk != image.path:
        raise MachineError(
            f"{image.path.name} boots with another command from a copy, where changes would be lost",
            hint="Change the image's own command first: image.command = ...",
        )
    refuse_use(image.path)


CLOUD_INIT = "cloud-init"
# What the module can do (modules/cloud-init/handlers.c); a test holds the two together.
LAB_CLOUD_INIT = ("run", "files", "hostname", "httpserver", "monitor-agent", "include")


def _seed(config: CloudConfig | None, image: Image, kernel: Kernel, folder: Folder) -> Iterator[Disk]:
    """Yield the disk from which cloud-init configures the guest, if it is to be configured."""
    if config is None:
        return
    from osvlab.image.modules import available_modules

    program = available_modules()[CLOUD_INIT].program
    if image.filesystem in ("rofs", "ramfs") and not (image.files / program).exists():
        raise MachineError(
            f"{image.path.name} has no cloud-init, so nothing would read the configuration",
            hint="Build it with osvlab build --module cloud-init, or modules=['cloud-init'] in Python.",
        )
    if kernel.can(Capability.RUNS_MODULES):
        config.require(LAB_CLOUD_INIT, "the lab kernel's cloud-init")
    seed = folder.path / "seed.iso"
    config.write_iso(seed)
    yield Disk(seed)


def _told(image: Image, command: str | None) -> str:
    """Return the image's own command line, or its options with another command."""
    from osvlab.image.command import join_command_line, split_command_line

    line = image.command_line
    if command is None:
        return line
    given, program = split_command_line(command)
    options, own = split_command_line(line)
    return join_command_line(given or options, program or own)


def _access(image: Image) -> DiskAccess:
    # These are only read, and many machines may then share the file.
    only_read = bool(image.partitions) and image.filesystem in ("rofs", "ramfs")
    return DiskAccess.READ_ONLY if only_read else DiskAccess.SCRATCH


def _bootable(image: Image, kernel: Kernel, text: str, folder: Folder) -> Path:
    """Return a disk that boots by itself and holds this command line: the image, or a copy of it."""
    if not kernel.is_on(image.path):
        raise KernelError(
            f"{image.path} does not hold the kernel {kernel.path.name}, which boots from its disk",
            hint="Build the image with it: osvlab build --kernel FILE, or osvlab.build(..., kernel=...).",
        )
    if text == image.command_line:
        return image.path
    # The user's image is not touched: another run may be reading it.
    copy = folder.path / "disk"
    shutil.copyfile(image.path, copy)
    write_command_line(copy, text)
    return copy
