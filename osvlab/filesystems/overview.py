"""A whole image from the outside in: checked and explained, from the boot sector to a file's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, CheckReport, DamagedError, Source
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.disk_pools import DiskPool, namesakes, pools_on
from osvlab.filesystems.disk_structures import (
    explain_boot_sector,
    explain_command_line,
    explain_partition,
)
from osvlab.filesystems.findings import Findings, overlaps
from osvlab.filesystems.opening import Volume, open_volume, partition_of, volume_in, volume_of
from osvlab.filesystems.osv_kernel import KernelFile, KernelForm, kernel_form
from osvlab.filesystems.recognise import Content, refuse_unknown
from osvlab.filesystems.structure import Pointer, Structure

__all__ = ["check", "explain"]


def explain(
    image: Source, *, dataset: str | None = None, partition: int | None = None, txg: int | None = None
) -> Structure:
    """Return the structure from which everything in an image is found.

    Parameters
    ----------
    image, dataset, partition, txg
        As of `osvlab.filesystems.open`; with the image alone, a disk is explained from its boot sector on.

    Raises
    ------
    OsvlabError
        As of `osvlab.filesystems.open`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from osvlab.filesystems.rofs import write_rofs
    >>> from osvlab.filesystems.tree import Directory
    >>> table = [Partition(2, disk.TYPE_LINUX, 1 << 20, 2048)]
    >>> with Path("small.img").open("w+b") as file:
    ...     _ = file.write(disk.make_boot_sector(None, 0, table))
    ...     _ = file.seek(1 << 20)
    ...     _ = write_rofs(Directory({b"etc": Directory()}), file)
    ...     _ = file.truncate((1 << 20) + 2048)
    >>> boot = explain("small.img")
    >>> boot, boot / "partition 2"
    (<boot sector at 0x0, 512 bytes>, <partition 2 at 0x1ce, 16 bytes>)
    >>> print(boot / "partition 2" / "filesystem" / "root directory" / "etc")
    directory entry 0 at byte 0x100200, 13 bytes
    ...
    """
    volume = volume_of(image)
    if partition is None and dataset is None and txg is None:
        if volume.content is Content.DISK:
            return explain_disk(volume)
        if volume.content is Content.KERNEL:
            return KernelFile(volume.source).explain()
    return open_volume(partition_of(volume, partition), dataset, txg).explain()


def check(
    image: Source, *, dataset: str | None = None, partition: int | None = None, txg: int | None = None
) -> list[CheckReport]:
    """Read everything in an image and report whatever cannot be right, layer by layer.

    Parameters
    ----------
    image, dataset, partition, txg
        As of `osvlab.filesystems.open`; without a partition, all of a disk are checked.

    Raises
    ------
    OsvlabError
        The image cannot be opened at all, or is nothing known; or there is no such dataset or
        transaction group. Damage is reported.

    Examples
    --------
    >>> from pathlib import Path
    >>> from osvlab.filesystems.rofs import write_rofs
    >>> from osvlab.filesystems.tree import Directory
    >>> table = [Partition(2, disk.TYPE_LINUX, 1 << 20, 2048)]
    >>> with Path("small.img").open("w+b") as file:
    ...     _ = file.write(disk.make_boot_sector(None, 0, table))
    ...     _ = file.seek(1 << 20)
    ...     _ = write_rofs(Directory({b"etc": Directory()}), file)
    ...     _ = file.truncate((1 << 20) + 2048)
    >>> for report in check("small.img"):
    ...     print(report)
    disk: 1 partitions: no problem
    ROFS: 2 inodes, 1 entries, 0 bytes: no problem
    """
    volume = volume_of(image)
    if volume.content is Content.KERNEL and partition is None:
        return [_check_kernel(volume.source)]
    if volume.content is None:
        raise refuse_unknown(volume.source, volume.name)
    if volume.content is not Content.DISK or partition is not None:
        return [_check_files(partition_of(volume, partition), dataset, txg)]
    found, partitions = _check_disk(volume.source)
    for same in namesakes(pools_on(volume)):
        found.add(_namesakes(volume.name, same))
    reports = [found.report()]
    if kernel_form(volume.source) in (KernelForm.LOADER, KernelForm.DISK):
        reports.append(_check_kernel(volume.source))
    for each in partitions:
        if each.size:
            meant = (dataset, txg) if each.slot == disk.ROOT_SLOT else (None, None)
            reports.append(_check_files(volume_in(volume, each), *meant))
    return reports


def _namesakes(name: str, pools: list[DiskPool]) -> OsvlabError:
    copies = " (copies of one pool)" if len({pool.guid for pool in pools}) == 1 else ""
    return OsvlabError(
        f"pools of the same name on one disk{copies}: {name} has {' and '.join(map(str, pools))}",
        hint="A kernel that looks for its root by name takes either: keep one of them on another disk.",
    )


def _check_files(volume: Volume, dataset: str | None, txg: int | None) -> CheckReport:
    """Check a filesystem; one that is so damaged that it cannot be opened has one problem, that."""
    try:
        with open_volume(volume, dataset, txg) as fs:
            return fs.check()
    except OsvlabError as problem:
        asked = dataset is not None or txg is not None
        if asked and not isinstance(problem, DamagedError):
            raise  # what was asked for is not there, which is nothing wrong with the image
        return CheckReport(volume.content or volume.name, (problem,), {})


def _check_kernel(source: ByteRange) -> CheckReport:
    try:
        return KernelFile(source).check()
    except OsvlabError as problem:
        return CheckReport("kernel", (problem,), {})


def _check_disk(source: ByteRange) -> tuple[Findings, list[Partition]]:
    """Look at what lies in front of and between the partitions; return those that are on the disk."""
    found = Findings("disk")
    partitions: list[Partition] = []
    for each in disk.partitions_in(source):
        with found.gathering():
            disk.require_on_disk(each, source)
            partitions.append(each)
    found.count("partitions", len(partitions))
    used = [(0, disk.SECTOR, "the boot sector")]
    used += [(each.offset, each.offset + each.size, f"partition {each.slot}") for each in partitions]
    chunks = disk.read_boot_sector(source).kernel_chunks
    if chunks and kernel_form(source) is not None:
        used.append((disk.KERNEL, disk.KERNEL + chunks * disk.CHUNK, "the kernel"))
    for start, one, other in overlaps(used):
        found.add(DamagedError("disk", one, source.offset + start, f"begins inside {other}"))
    if disk.has_command_line(partitions) and source.length >= disk.COMMAND_LINE_END:
        with found.gathering():
            disk.read_command_line(source)
    return found, partitions


def explain_disk(volume: Volume) -> Structure:
    """Return a disk's boot sector, which points to command line, kernel and partitions."""
    source = volume.source

    def pointers() -> Iterator[Pointer]:
        partitions = list(disk.partitions_in(source))
        if disk.has_command_line(partitions):
            yield Pointer("command line", partial(explain_command_line, source))
        if kernel_form(source) in (KernelForm.LOADER, KernelForm.DISK):
            yield Pointer("kernel", lambda: KernelFile(source).explain_wrapped())
        for each in partitions:
            yield Pointer(f"partition {each.slot}", partial(_partition, volume, each))

    about = "What a BIOS loads and starts; it loads the command line and the kernel behind it."
    return explain_boot_sector(source, pointers, about)


def _partition(volume: Volume, partition: Partition) -> Structure:
    def filesystem() -> Structure:
        return open_volume(volume_in(volume, partition)).explain()

    return explain_partition(volume.source, partition, [Pointer("filesystem", filesystem)])
