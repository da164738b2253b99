r"""Open whatever holds files: unpack what it is kept in, find the root filesystem, choose the reader.

This is the only place that knows all formats; each is imported when it is met.

>>> import io
>>> from osvlab.filesystems.disk import TYPE_LINUX, make_boot_sector, read_partitions
>>> from osvlab.filesystems.rofs import write_rofs
>>> from osvlab.filesystems.tree import Directory
>>> image, table = io.BytesIO(), [Partition(2, TYPE_LINUX, 2048, 2048)]
>>> _ = image.write(make_boot_sector(None, 0, table).ljust(2048, b"\0"))
>>> _ = write_rofs(Directory(), image)
>>> whole: Volume = volume_of(image.getvalue().ljust(4096, b"\0"))
>>> print(whole.content)
disk
>>> found = root_partition(read_partitions(whole.source), None, whole.name)
>>> part = partition_of(whole, None)
>>> print(found.slot, part.name, part.content, volume_in(whole, found).content)
2 partition 2 of the image ROFS ROFS
>>> print(open_volume(part).check())
ROFS: 1 inodes, 0 bytes: no problem
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, DamagedError, Filesystem, Source
from osvlab.filesystems.containers import Container, container_of, unpacked
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.recognise import Content, content_of, refuse_unknown

__all__ = ["Volume", "open", "open_volume", "partition_of", "root_partition", "volume_in", "volume_of"]


@dataclass(frozen=True, slots=True)
class Volume:
    """What an image is, once it is unpacked.

    Attributes
    ----------
    name
        What to call it in messages.
    source
        Its bytes.
    content
        What they are; None when they are nothing known.
    container
        What it is kept in.
    """

    name: str
    source: ByteRange
    content: Content | None
    container: Container | None = None


def open(
    image: Source | Sequence[Source],
    *,
    dataset: str | None = None,
    partition: int | None = None,
    txg: int | None = None,
) -> Filesystem:
    """Open the filesystem in an image, whatever the image is.

    That may be a disk with a partition table, a bare ROFS, bootfs or ZFS vdev, a cpio archive, or a
    kernel with files linked into it; as it is, or inside a qcow2, vmdk or vdi file.

    Parameters
    ----------
    image
        Bytes or the path of a file or block device; several are the vdevs of one ZFS pool.
    dataset
        Which dataset of a ZFS pool, such as ``osv/zfs``; the one that OSv mounts when not given.
    partition
        Which partition of a disk, 1 to 4; when not given, the second, where OSv has its root, or the
        only one. A disk without partitions is asked for the files in its kernel.
    txg
        As of which transaction group of a ZFS pool; the newest when not given.

    Raises
    ------
    PathNotFoundError
        There is no such file.
    UnknownContentError
        It is nothing that can be opened; the message says what was looked for.
    DamagedError
        It is, but cannot be right. Structure and offset are named.
    ContainerError
        It is in a container that leads to other files or is encrypted.

    Examples
    --------
    >>> from osvlab.filesystems.rofs import write_rofs
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> with __builtins__["open"]("root.img", "wb") as file:
    ...     _ = write_rofs(Directory({b"hello": Content(b"hi there")}), file)
    >>> with open("root.img") as fs:
    ...     print(fs.format, (fs / "hello").read_text())
    ROFS hi there
    """
    if isinstance(image, list | tuple):
        volumes = [partition_of(volume_of(source), partition) for source in image]
        return _open_pool(volumes, dataset, txg)
    assert isinstance(image, bytes | str | os.PathLike | ByteRange)
    return open_volume(partition_of(volume_of(image), partition), dataset, txg)


def volume_of(image: Source) -> Volume:
    """Unpack an image and say what it is."""
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else "the image"
    source = ByteRange(image)
    container = container_of(source)
    if container is not None:
        source = unpacked(source, name)
    return Volume(name, source, content_of(source), container)


def partition_of(volume: Volume, slot: int | None) -> Volume:
    """Return the partition of a disk that is meant, and anything else as it is; see `open`."""
    if volume.content is not Content.DISK:
        if slot is not None:
            raise OsvlabError(
                f"{volume.name} is no disk with partitions but {volume.content or 'something unknown'}",
                hint="Leave the partition out.",
            )
        return volume
    found = root_partition(disk.read_partitions(volume.source), slot, volume.name)
    if found is None:  # a disk of OSv's whose files are all in its kernel
        return Volume(volume.name, volume.source, Content.KERNEL, volume.container)
    return volume_in(volume, found)


def root_partition(partitions: Iterable[Partition], slot: int | None, name: str) -> Partition | None:
    """Return the partition that is meant: the one of a slot, or the root; None if none has any bytes.

    Raises
    ------
    OsvlabError
        There is no such partition, or it is not clear which is the root.
    """
    known = {partition.slot: partition for partition in partitions if partition.size}
    listed = ", ".join(map(str, known)) or "none"
    if slot is not None:
        if slot not in known:
            raise OsvlabError(
                f"{name} has no partition in slot {slot}; used are: {listed}", hint="Name one of these."
            )
        return known[slot]
    if disk.ROOT_SLOT in known:
        return known[disk.ROOT_SLOT]
    if len(known) > 1:
        raise OsvlabError(
            f"{name} has partitions in the slots {listed}, and none in slot {disk.ROOT_SLOT}, where OSv has "
            "its root",
            hint="Say which: partition=1, or --partition 1.",
        )
    return next(iter(known.values()), None)


def volume_in(volume: Volume, partition: Partition) -> Volume:
    """Return what a partition of a disk holds."""
    source = ByteRange(volume.source, partition.offset, partition.size)
    content = content_of(source)
    name = f"partition {partition.slot} of {volume.name}"
    if content in (None, Content.DISK):
        content = _promised(volume.source)
    return Volume(name, source, content, volume.container)


def _promised(source: ByteRange) -> Content | None:
    """Say what the command line promises the root to be: its magic number may be damaged, or it has none."""
    known = {"rofs": Content.ROFS, "ramfs": Content.BOOTFS, "zfs": Content.ZFS}
    if not disk.has_command_line(disk.partitions_in(source)):
        return None
    try:
        line = disk.read_command_line(source)
    except DamagedError:
        return None  # that is another matter, and told by who asks for the command line
    promised = [word.partition("=")[2] for word in line.split() if word.startswith("--rootfs=")]
    return known.get(promised[0]) if promised else None


def open_volume(volume: Volume, dataset: str | None = None, txg: int | None = None) -> Filesystem:
    """Open what a volume holds; see `open`."""
    for name, what, value in (("dataset", "datasets", dataset), ("txg", "transaction groups", txg)):
        if value is not None and volume.content is not Content.ZFS:
            raise OsvlabError(
                f"{volume.name} is no ZFS pool but {volume.content or 'something unknown'}, "
                f"which has no {what}",
                hint=f"Leave the {name} out.",
            )
    match volume.content:
        case Content.ROFS:
            from osvlab.filesystems.rofs import RofsReader

            return RofsReader(volume.source)
        case Content.BOOTFS:
            from osvlab.filesystems.bootfs import BootfsReader

            return BootfsReader(volume.source)
        case Content.CPIO:
            from osvlab.filesystems.cpio import CpioReader

            return CpioReader(volume.source)
        case Content.ZFS:
            return _open_pool([volume], dataset, txg)
        case Content.KERNEL:
            return _open_kernel(volume)
        case _:
            raise refuse_unknown(volume.source, volume.name)


def _open_kernel(volume: Volume) -> Filesystem:
    from osvlab.filesystems.osv_kernel import KernelFile, kernel_form

    if kernel_form(volume.source) is None:
        raise OsvlabError(
            f"{volume.name} is a disk without a filesystem and without a kernel",
            hint="Check that it is the right file, and whole.",
        )
    files = KernelFile(volume.source).bootfs()
    if files is None:
        raise OsvlabError(
            f"no files are linked into {volume.name}, which is a kernel or another ELF file",
            hint="Look at its structures: osvlab explain.",
        )
    return files


def _open_pool(volumes: Sequence[Volume], dataset: str | None, txg: int | None) -> Filesystem:
    for volume in volumes:
        if volume.content is not Content.ZFS:
            raise refuse_unknown(volume.source, volume.name)
    from osvlab.filesystems.zfs import open_zfs

    return open_zfs([volume.source for volume in volumes], dataset, txg=txg)
