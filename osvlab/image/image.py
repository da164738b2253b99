"""An image: a disk that boots, as a value that can be asked and changed."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, DamagedError, Filesystem
from osvlab.filesystems.containers import Container, container_of, convert, unpacked
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.opening import Volume, open_volume, root_partition, volume_in
from osvlab.filesystems.path import GuestPath
from osvlab.filesystems.recognise import Content, content_of
from osvlab.image.command import join_command_line, parse_command, split_command_line
from osvlab.image.modules import available_modules
from osvlab.image.show import as_html, as_text
from osvlab.kernels import Kernel
from osvlab.paths import no_space, replacing
from osvlab.vm.discover import refuse_use

__all__ = ["Image", "Region"]


# What kernels call the filesystem that they mount from it.
_ROOTFS = {Content.ROFS: "rofs", Content.BOOTFS: "ramfs", Content.ZFS: "zfs"}


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a disk: what it is, where it starts and how long it is, in bytes."""

    name: str
    offset: int
    size: int
    about: str = ""


class Image:
    r"""A bootable disk in a file.

    Parameters
    ----------
    path
        The file: the disk as it is, or in a qcow2, vmdk or vdi file, which is then only read.
    kernel
        The kernel it was built for, when that is known. A disk built for a kernel
        that does not boot from disk needs it to run.

    Raises
    ------
    PathNotFoundError
        There is no such file.
    DamagedError
        It is no bootable disk, or it is truncated.
    ContainerError
        It is in a qcow2, vmdk or vdi file that leads to other files, or cannot be unpacked.

    Examples
    --------
    >>> from osvlab.filesystems.rofs import write_rofs
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> with Path("hello.img").open("w+b") as file:
    ...     _ = file.write(disk.make_boot_sector(None, 0, [Partition(2, disk.TYPE_LINUX, 1 << 20, 1 << 20)]))
    ...     _ = file.write(disk.encode_command_line("--rootfs=rofs /hello"))
    ...     _ = file.seek(1 << 20)
    ...     _ = write_rofs(Directory({b"etc": Directory({b"hosts": Content(b"127.0.0.1\n")})}), file)
    ...     _ = file.truncate(2 << 20)
    >>> image = Image("hello.img")
    >>> image.command, image.filesystem, image.size
    ('/hello', 'rofs', 2097152)
    >>> image.layout[-1]
    Region(name='rofs', offset=1048576, size=1048576, about='partition 2, /dev/vblk0.1 in the guest')
    >>> (image.files / "etc/hosts").read_text()
    '127.0.0.1\n'
    >>> image.command = "/hello again"
    >>> image.command_line
    '--rootfs=rofs /hello again'
    """

    def __init__(self, path: str | os.PathLike[str], kernel: Kernel | None = None) -> None:
        self.path = Path(path).absolute()
        self.kernel = kernel
        self._file = ByteRange(self.path)
        self.container: Container | None = container_of(self._file)
        self._disk = unpacked(self._file, os.fspath(path))
        try:
            self._boot_sector = disk.read_boot_sector(self._disk)
        except DamagedError:
            self._refuse_what_is_no_disk()
            raise
        self.partitions: tuple[Partition, ...] = tuple(disk.read_partitions(self._disk))
        if self._disk.length < disk.COMMAND_LINE_END:
            raise DamagedError(
                "disk", "command line", disk.COMMAND_LINE, "is cut off: the image is truncated"
            )

    def _refuse_what_is_no_disk(self) -> None:
        """Say of a file that is something else what it is: it can be looked into all the same."""
        found = content_of(self._disk)
        if found is not None:
            raise OsvlabError(
                f"{self.path} is a {found}, not a disk that boots",
                hint="Look into it with osvlab.filesystems.open, or osvlab ls, tree, check and explain.",
            )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Image:
        """Open an image file; the same as calling the class."""
        return cls(path)

    # --- sizes and layout --------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of the disk as the guest sees it."""
        return self._disk.length

    @property
    def allocated(self) -> int:
        """Bytes the file takes on the host: what was never written takes none."""
        found = self._file.stat()
        return found.st_blocks * 512 if found is not None else 0

    @property
    def boots_from_disk(self) -> bool:
        """Whether there is a kernel on the disk."""
        return bool(self._boot_sector.kernel_chunks)

    @property
    def layout(self) -> tuple[Region, ...]:
        """The regions of the disk, in order and without gaps."""
        partitions = sorted(self.partitions, key=lambda partition: partition.offset)
        end = partitions[0].offset if partitions else self.size
        used = [Region("boot sector", 0, disk.SECTOR, "16-bit code and the partition table")]
        if disk.has_command_line(partitions):
            room = disk.COMMAND_LINE_END - disk.COMMAND_LINE
            used.append(Region("command line", disk.COMMAND_LINE, room, "kernel options, then the command"))
        if self.boots_from_disk and end > disk.KERNEL:
            size = min(self._boot_sector.kernel_chunks * disk.CHUNK, end - disk.KERNEL)
            used.append(Region("kernel", disk.KERNEL, size, "loaded by the boot sector in pieces of 32 KiB"))
        used += [
            Region(
                self.filesystem if partition == self._root else f"partition {partition.slot}",
                partition.offset,
                partition.size,
                f"partition {partition.slot}, /dev/vblk0.{partition.slot - 1} in the guest",
            )
            for partition in partitions
        ]
        return tuple(_with_gaps(used, self.size))

    # --- the filesystem ----------------------------------------------------------------------------------

    @property
    def _root(self) -> Partition | None:
        try:
            return root_partition(self.partitions, None, self.path.name)
        except OsvlabError:  # several, and none of them where OSv looks
            return None

    @property
    def root_partition(self) -> Partition:
        """The partition with the root filesystem: slot 2, or the only one.

        Raises
        ------
        OsvlabError
            There is none.
        """
        found = root_partition(self.partitions, None, self.path.name)
        if found is None:
            raise OsvlabError(
                f"{self.path.name} has no root filesystem: partition slot {disk.ROOT_SLOT} is empty",
                hint="Name an image made by osvlab build, or one of OSv.",
            )
        return found

    @cached_property
    def _volume(self) -> Volume:
        whole = Volume(os.fspath(self.path), self._disk, Content.DISK, self.container)
        return volume_in(whole, self.root_partition)

    @property
    def filesystem(self) -> str:
        """The root filesystem, as kernels call it (``rofs``, ``ramfs``, ``zfs``), or ``unknown``."""
        if self._root is None:
            return "unknown"
        found = content_of(self._volume.source)
        if found is None and self._volume.content is Content.BOOTFS:
            return "ramfs"  # it has no magic number, and the command line says so
        return "unknown" if found is None else _ROOTFS.get(found, "unknown")

    @cached_property
    def _reader(self) -> Filesystem:
        if self.boots_from_disk and not any(partition.size for partition in self.partitions):
            # A disk of OSv's whose files are all in its kernel.
            return open_volume(Volume(os.fspath(self.path), self._disk, Content.KERNEL, self.container))
        return open_volume(self._volume)

    @property
    def files(self) -> GuestPath:
        """The files in it, as a path: ``image.files / "etc/hosts"``.

        Raises
        ------
        DamagedError
            The filesystem's own description of itself cannot be right.
        """
        return GuestPath(self._reader)

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the lab kernel's modules in it.

        Raises
        ------
        DamagedError
            The filesystem cannot be read.
        """
        files = self.files
        known = available_modules().values()
        return tuple(module.name for module in known if (files / module.program).exists())

    # --- the command -------------------------------------------------------------------------------------

    @property
    def command_line(self) -> str:
        """Everything the kernel is told: its options, then the command. It can be set."""
        return disk.read_command_line(self._disk) if disk.has_command_line(self.partitions) else ""

    @command_line.setter
    def command_line(self, line: str) -> None:
        if self.container is not None:
            raise OsvlabError(
                f"{self.path} is a {self.container} file, which is only read",
                hint=f"Write a plain disk of it: image.write_raw({self.path.stem + '.img'!r})",
            )
        opened = self._disk.stat()
        if (
            opened is None
            or not os.path.exists(self.path)
            or not os.path.samestat(opened, os.stat(self.path))
        ):
            raise OsvlabError(
                f"{self.path} was replaced or removed since this image was opened",
                hint="Open it again with Image.open.",
            )
        disk.write_command_line(self.path, line)

    @property
    def command(self) -> str:
        """What the guest runs. Setting it rewrites the image in place and keeps the kernel's options."""
        return split_command_line(self.command_line)[1]

    @command.setter
    def command(self, command: str) -> None:
        parse_command(command)  # raises for what the guest would not understand
        if command.lstrip().startswith("-"):
            raise OsvlabError(
                f"a command cannot start with a dash: {command!r}",
                hint="The kernel would take it for its own option; those are set with image.command_line.",
            )
        options, _ = split_command_line(self.command_line)
        self.command_line = join_command_line(options, command)

    def write_raw(self, path: str | os.PathLike[str]) -> Image:
        """Write the disk as it is, out of a qcow2, vmdk or vdi file; what was never written stays a hole.

        Parameters
        ----------
        path
            The file to make, whole or not at all.

        Raises
        ------
        OsvlabError
            It is not in such a file, or cannot be unpacked or written.
        ImageInUseError
            The path is a disk that a running guest writes to.
        """
        refuse_use(path, writers_only=True)
        try:
            with replacing(path) as temporary, open(temporary, "r+b") as file:
                convert(self._file, file.fileno(), os.fspath(self.path))
        except OSError as error:
            if isinstance(error, OsvlabError):
                raise
            hint = "Make room." if no_space(error) else "Write it elsewhere."
            raise OsvlabError(f"cannot write {os.fspath(path)}: {error.strerror}", hint) from error
        return Image(path, self.kernel)

    # --- showing -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the file. Images that are forgotten are closed too."""
        if "_reader" in self.__dict__:
            self._reader.close()
            del self._reader
        self._disk.close()
        self._file.close()

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return f"<Image {self.path}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show layout, sizes and command; in a notebook with a picture."""
        try:
            return {"text/plain": as_text(self), "text/html": as_html(self)}
        except (OsvlabError, OSError) as error:  # IPython would swallow it and show nothing of the reason
            warnings.warn(f"cannot show {self.path}: {error}", RuntimeWarning, stacklevel=2)
            return {"text/plain": repr(self)}


def _with_gaps(used: list[Region], size: int) -> list[Region]:
    """Put a region called "unused" wherever there is room between two."""
    found: list[Region] = []
    position = 0
    for region in used:
        if region.offset > position:
            found.append(Region("unused", position, region.offset - position))
        found.append(region)
        position = region.offset + region.size
    if position < size:
        found.append(Region("unused", position, size - position))
    return found
