"""What a pool will hold, before a byte is read: every node's object number, and the size at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.output import data_runs, open_source
from osvlab.filesystems.tree import (
    Content,
    Directory,
    HostFile,
    Node,
    Symlink,
    TreeError,
    check_name,
    check_target,
)
from osvlab.filesystems.zfs.writer.space import INDIRECT, RECORD, Geometry
from osvlab.filesystems.zfs.writer.zap import MICRO_ENTRIES, MICRO_NAME
from osvlab.paths import format_size

__all__ = ["Clock", "DatasetPlan", "Options", "ZfsDataset", "ZfsPlan", "make_plan"]

_TYPE_DIRECTORY, _TYPE_FILE, _TYPE_LINK = 4, 8, 10  # st_mode >> 12, as directories store it
MAY_HAVE_HOLES = 1 << 20
_MAX_FILE = 1 << 62
_LEVELS = 6  # of pointers, above so many records
_POOL_ITSELF = 4 << 20
_OVERHEAD = 32 << 20
_NANO = 10**9

Clock = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class ZfsDataset:
    """A filesystem of a pool.

    Attributes
    ----------
    tree
        What is in it.
    properties
        Properties that are set on it, such as ``{"canmount": 2, "mountpoint": "/zfs"}``: texts, or
        the numbers by which ZFS stores them.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.zfs import open_zfs, write_zfs
    >>> stream = io.BytesIO()
    >>> data = ZfsDataset(Directory(), {"mountpoint": "/data"})
    >>> _ = write_zfs({"": ZfsDataset(Directory()), "data": data}, stream)
    >>> with open_zfs([stream.getvalue()], "osv/data") as fs:
    ...     print(fs.check().ok)
    True
    """

    tree: Directory
    properties: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """How a pool is written; see `write_zfs`."""

    name: str = "osv"
    compat: str | None = None
    compression: str | None = "lz4"
    checksum: str = "sha256"
    ashift: int = 9

    def __post_init__(self) -> None:
        known = ("lz4", "gzip", *(f"gzip-{level}" for level in range(1, 10)), None)
        for what, given, usable, shell in (
            ("compression", self.compression, known, " (in a shell: off)"),
            ("checksum", self.checksum, ("sha256", "fletcher4"), ""),
            ("compat", self.compat, ("v23", None), ""),
            ("ashift", self.ashift, (9, 12), ""),
        ):
            if given not in usable:
                raise OsvlabError(
                    f"unknown {what} of a ZFS pool: {given!r}",
                    hint=f"Usable are {', '.join(map(str, usable))}{shell}.",
                )
        if self.compat == "v23" and self.compression == "lz4":
            raise OsvlabError(
                "a pool of version 23 knows no lz4", hint="Use compression='gzip', or None for none."
            )
        letters = self.name.replace("_", "").replace("-", "").replace(".", "")
        if not (letters.isascii() and letters.isalnum() and self.name[0].isalpha() and len(self.name) < 200):
            raise OsvlabError(
                f"not a name for a ZFS pool: {self.name!r}",
                hint="Begin with a letter, and use letters, digits, '_', '-' and '.'.",
            )

    @property
    def version(self) -> int:
        """Version of the pool."""
        return 23 if self.compat == "v23" else 5000

    @property
    def has_attributes(self) -> bool:
        """Whether files have system attributes (ZPL 5), not the fixed structure of ZPL 4."""
        return self.compat is None


@dataclass(slots=True)
class Item:
    """A node of the tree and the object that it becomes."""

    node: Node
    parent: int
    path: bytes
    links: int = 1
    entries: list[tuple[bytes, int]] | None = None  # of a directory: names and values as ZFS stores them


@dataclass(slots=True)
class DatasetPlan:
    """A filesystem with its objects.

    Attributes
    ----------
    name
        Under the pool's; empty for the root dataset.
    items
        The tree's nodes; the first one is the root directory.
    first
        The object that it becomes; the others follow.
    clock
        What makes of the time at which something changed, in nanoseconds since 1970, the one that is stored.
    """

    name: str
    properties: Mapping[str, str | int]
    first: int
    items: list[Item] = field(default_factory=list)
    data_room: int = 0
    metadata_room: int = 0
    clock: Clock = int

    def numbered(self) -> Iterator[tuple[int, Item]]:
        """Yield every object's number with what it is made of."""
        return enumerate(self.items, self.first)


@dataclass(frozen=True, slots=True)
class ZfsPlan:
    """A pool to be written.

    Attributes
    ----------
    options
        How.
    datasets
        Its filesystems, the root first and parents before children.
    geometry
        Size and division of the vdev.
    content_bytes
        Bytes of all files, for progress.
    copies_room
        Bytes that second copies take at most.
    time
        When it was made, in seconds since 1970: SOURCE_DATE_EPOCH, or when its newest file changed.
    """

    options: Options
    datasets: tuple[DatasetPlan, ...]
    geometry: Geometry
    content_bytes: int
    copies_room: int
    time: int

    @property
    def size(self) -> int:
        """Bytes of the vdev."""
        return self.geometry.size


def make_plan(
    datasets: Mapping[str, ZfsDataset],
    options: Options,
    size: int | None,
    free: int,
    clock: Clock | None = None,
) -> ZfsPlan:
    """Give all nodes their numbers, and the vdev its size.

    Raises
    ------
    TreeError
        A name or link does not fit.
    OsvlabError
        The size that was asked for does not do, or a dataset lacks its parent.
    """
    plans = [_plan_dataset(name, datasets[name], options) for name in _in_order(datasets)]
    data = sum(plan.data_room for plan in plans)
    copies = sum(plan.metadata_room for plan in plans) + _POOL_ITSELF
    # Two cursors, each of which may leave most of a metaslab unused at its end.
    needed = data + 2 * copies
    least = Geometry.for_room(needed, options.ashift)
    for _ in range(2):
        least = Geometry.for_room(needed + (2 << least.metaslab_shift), options.ashift)
    if size is None:
        geometry = least
        if free:
            # Kernels keep 1/32 of a pool, and of a small one 32 MiB, to themselves.
            wanted = needed + free
            wanted += max(wanted // 31, _OVERHEAD)
            geometry = Geometry.for_room(wanted + (2 << least.metaslab_shift), options.ashift)
    else:
        geometry = Geometry(size >> 18 << 18, options.ashift)
        if geometry.size < least.size:
            raise OsvlabError(
                f"a pool of {format_size(size)} is too small: the tree may need {format_size(least.size)}",
                hint=f"Give it a size of {-(-least.size >> 20)}M or more, or none: it is sparse.",
            )
    content = sum(
        item.node.size for plan in plans for item in plan.items if isinstance(item.node, HostFile | Content)
    )
    epoch = source_date_epoch()
    clock = clock or _until(epoch)
    for plan in plans:
        plan.clock = clock
    newest = clock(max(item.node.mtime for plan in plans for item in plan.items))
    seconds = max(0, newest // _NANO) if epoch is None else epoch
    return ZfsPlan(options, tuple(plans), geometry, content, copies, seconds)


def _until(epoch: int | None) -> Clock:
    """Return a clock that stands still from a second on."""
    return int if epoch is None else lambda time: min(time, epoch * _NANO)


def source_date_epoch() -> int | None:
    """Return the time that everything is said to be made at, in seconds, if the environment tells one.

    Specified in: https://reproducible-builds.org/specs/source-date-epoch/

    Raises
    ------
    OsvlabError
        It tells something else.
    """
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told is None:
        return None
    if not told.isascii() or not told.isdigit() or int(told) >= 1 << 34:
        raise OsvlabError(
            f"SOURCE_DATE_EPOCH is no time: {told[:40]!r}", hint="Set it to seconds since 1970, or unset it."
        )
    return int(told)


def _in_order(datasets: Mapping[str, ZfsDataset]) -> list[str]:
    for name in datasets:
        parent = name.rpartition("/")[0]
        if parent not in datasets:
            needed = repr(parent) if parent else "the root dataset"
            raise OsvlabError(
                f"dataset {name!r} needs {needed}, and that is not there",
                hint="Add it, if need be with an empty tree.",
            )
    return sorted(datasets, key=lambda name: name.split("/") if name else [])


def _plan_dataset(name: str, dataset: ZfsDataset, options: Options) -> DatasetPlan:
    plan = DatasetPlan(name, dataset.properties, first=6 if options.has_attributes else 3)
    root = plan.first
    plan.items.append(Item(dataset.tree, root, b"/"))
    numbers: dict[tuple[int, int], int] = {}
    unit = (1 << options.ashift) - 1
    pending = [root]
    while pending:
        number = pending.pop()
        here = plan.items[number - root]
        assert isinstance(here.node, Directory)
        base = here.path.rstrip(b"/") + b"/"
        entries: list[tuple[bytes, int]] = []
        below = []
        for child_name, node in here.node.entries():
            path = base + child_name
            check_name(child_name, path)
            inode = node.inode if isinstance(node, HostFile) else None
            child = numbers.get(inode) if inode is not None else None
            if child is None:
                child = root + len(plan.items)
                plan.items.append(Item(node, number, path))
                if inode is not None:
                    numbers[inode] = child
                _add_room(plan, node, path, unit)
            else:
                plan.items[child - root].links += 1
            kind = _kind(node)
            if kind == _TYPE_DIRECTORY:
                below.append(child)
            entries.append((child_name, kind << 60 | child))
        here.entries = entries
        here.links = 2 + len(below)
        plan.metadata_room += _directory_room(entries) + unit & ~unit
        pending += reversed(below)
    # Dnodes, and the pointers above them.
    plan.metadata_room += (root + len(plan.items)) * 512 * 17 // 16 + (256 << 10)
    return plan


def _kind(node: Node) -> int:
    match node:
        case Directory():
            return _TYPE_DIRECTORY
        case Symlink():
            return _TYPE_LINK
    return _TYPE_FILE


def _add_room(plan: DatasetPlan, node: Node, path: bytes, unit: int) -> None:
    match node:
        case Symlink(target):
            check_target(target, path)
            plan.metadata_room += 8192
        case HostFile() | Content() if node.size <= RECORD:
            plan.data_room += node.size + unit & ~unit
        case HostFile() | Content():
            if node.size >= _MAX_FILE:
                raise TreeError(f"{show(path)} is larger than a file can be", hint="Leave it out.")
            for first, last in _records(node):
                plan.data_room += (last - first) * RECORD
                # Each level has a 128th of the pointers below it, and one more where a run begins and ends.
                plan.metadata_room += ((last - first) // 64 + 2 * _LEVELS) * INDIRECT


def _records(node: HostFile | Content) -> list[tuple[int, int]]:
    if isinstance(node, HostFile) and node.size >= MAY_HAVE_HOLES:
        fd = open_source(node)
        try:
            return list(data_records(fd, node.size))
        finally:
            os.close(fd)
    return [(0, -(-node.size // RECORD))]


def data_records(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield runs of records (first, and one behind the last) of an open file that hold data, not holes."""
    record = 0
    for start, end in data_runs(fd, size):
        first, last = max(record, start // RECORD), -(-end // RECORD)
        if first < last:
            yield first, last
        record = last


def _directory_room(entries: list[tuple[bytes, int]]) -> int:
    """Return how many bytes the ZAP of a directory takes at most."""
    if len(entries) <= MICRO_ENTRIES and all(len(name) <= MICRO_NAME for name, _ in entries):
        return 64 * (len(entries) + 1) + 511
    chunks = sum(2 + -(-(len(name) + 1) // 21) for name, _ in entries)
    # Leaves are at least a third full when hashes spread, and the table has a pointer for each, or a few.
    return chunks * 24 * 4 + (64 << 10)
