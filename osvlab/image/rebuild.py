"""Change the files in an image: read its tree, change that, write the filesystem again in its place.

The new image is written beside the old one, read back, and takes its place in one step, so whoever opens
the image finds the old one or the whole new one. Filesystems are only rebuilt where the lab writes the
format; a disk keeps its boot sector, command line, kernel and other partitions.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from osvlab.errors import OsvlabError
from osvlab.events import Step, step
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, Entry, Filesystem, Kind, show
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.disk_pools import refuse_two_pools
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.opening import Volume, open_volume, partition_of, root_partition, volume_of
from osvlab.filesystems.output import write_at
from osvlab.filesystems.recognise import Content
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Directory, HostFile, Node, Symlink
from osvlab.image.sources.scratch import Scratch
from osvlab.paths import PathNotFoundError, format_size, kind_of_file, no_space, replacing
from osvlab.vm.discover import refuse_use

__all__ = ["RebuildError", "copy_in", "rebuild"]

Progress = Callable[[int, int], object]
Writer = Callable[[Directory, BinaryIO, Progress], int]


def _rofs_writer(_: Filesystem) -> Writer:
    return lambda tree, stream, told: write_rofs(tree, stream, sparse=True, progress=told)  # a new file


def _bootfs_writer(_: Filesystem) -> Writer:
    return lambda tree, stream, told: write_bootfs(tree, stream, sparse=True, progress=told)


def _pool_writer(fs: Filesystem) -> Writer:
    from osvlab.filesystems.zfs.reader import ZfsFilesystem
    from osvlab.filesystems.zfs.rewriting import pool_writer

    assert isinstance(fs, ZfsFilesystem)
    return pool_writer(fs)


WRITERS: dict[str, Callable[[Filesystem], Writer]] = {
    "ROFS": _rofs_writer,
    "bootfs": _bootfs_writer,
    "ZFS": _pool_writer,
}
"""What makes, of an old filesystem, the writer of one like it, by the format's name."""

_PIECE = 16 << 10  # what is all zeros becomes a hole


class RebuildError(OsvlabError, OSError):
    """An image cannot be changed."""


def copy_in(
    image: str | os.PathLike[str],
    source: str | os.PathLike[str],
    path: str | bytes,
    *,
    partition: int | None = None,
) -> int:
    """Copy a file or a directory of the host into an image, and return the image's new size in bytes.

    Parameters
    ----------
    image
        A disk with a ROFS, a bootfs or a ZFS pool that the lab made, or such a filesystem alone.
    source
        What to copy. Symbolic links in a directory are copied as links.
    path
        Where to, in the image. Into a directory that is there it goes under its own name; a file that
        is there is replaced.
    partition
        Which partition of the disk; its root filesystem when not given.

    Raises
    ------
    PathNotFoundError
        Source or image are not there, or the directory in the image is not.
    RebuildError
        The format is not written by the lab, the image is in a container, holds what would be lost, or
        there is no room.
    OsvlabError
        The disk has two pools, and no partition is named. Both are.
    PoolError
        A ZFS pool was not made by the lab, not exported, or holds more than one tree.
    ImageInUseError
        A running VM has the image for a disk. It is named.

    Examples
    --------
    >>> from osvlab.filesystems.tree import Content
    >>> with open("root.img", "wb") as file:
    ...     _ = write_rofs(Directory({b"etc": Directory()}), file)
    >>> _ = Path("hosts").write_text("127.0.0.1")
    >>> copy_in("root.img", "hosts", "/etc")
    1536
    >>> import osvlab.filesystems
    >>> (osvlab.filesystems.open("root.img") / "etc/hosts").read_text()
    '127.0.0.1'
    """
    node, name = _node_of(source)
    target = os.fsencode(path)

    def change(tree: Directory) -> None:
        _put(tree, target, name, node, Path(image))

    return rebuild(image, change, partition=partition)


def rebuild(
    image: str | os.PathLike[str], change: Callable[[Directory], object], *, partition: int | None = None
) -> int:
    """Change the tree in an image, in place and in one step; return the image's new size in bytes.

    Parameters
    ----------
    image
        As of `copy_in`.
    change
        Is given the tree, and changes it.
    partition
        As of `copy_in`.

    Raises
    ------
    OsvlabError
        As of `copy_in`; the image is then as it was.

    Examples
    --------
    >>> with open("root.img", "wb") as file:
    ...     _ = write_rofs(Directory({b"old": Directory()}), file)
    >>> rebuild("root.img", lambda tree: tree.children.update({b"new": tree.children.pop(b"old")}))
    1024
    >>> import osvlab.filesystems
    >>> [path.name for path in (osvlab.filesystems.open("root.img") / "/").iterdir()]
    ['new']
    """
    path = Path(image)
    refuse_use(path)
    with _alone(path), closing(Scratch()) as scratch:
        volume = volume_of(path)
        if volume.container is not None:
            raise RebuildError(
                f"{path} is a {volume.container} file, which is only read",
                hint=f"Write a plain disk of it: qemu-img convert -O raw {path} {path.with_suffix('.img')}",
            )
        if partition is None:
            refuse_two_pools(volume)
        part = None
        if volume.content is Content.DISK:
            part = root_partition(disk.read_partitions(volume.source), partition, str(path))
        with open_volume(partition_of(volume, partition)) as fs:
            make = WRITERS.get(fs.format)
            if make is None or (volume.content is Content.DISK and part is None):
                raise RebuildError(
                    f"{path} holds a {fs.format} that the lab only reads",
                    hint="The lab rebuilds ROFS, bootfs and ZFS; build a new image.",
                )
            writer = make(fs)
            with step(f"read the files in {path}") as running:
                tree = _tree_of(fs, scratch, running)
        change(tree)
        return _replace(path, volume, part, tree, writer)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold an image against others that would change it at the same time, and then lose one's change."""
    with closing(ByteRange(path)) as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = os.path.samestat(os.fstat(file.fileno()), os.stat(path))  # or it was replaced just now
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT):
                raise
            alone = False
        if not alone:
            raise RebuildError(f"{path} is being changed by somebody else", hint="Try again after that.")
        yield


def _node_of(source: str | os.PathLike[str]) -> tuple[Node, bytes]:
    """Return what is to be copied, and what it is called."""
    path = Path(source)
    try:
        found = path.stat()
    except OSError as error:
        raise PathNotFoundError(f"no such file: {path} ({error.strerror})", hint="Check the path.") from None
    name = os.fsencode(Path(os.path.abspath(path)).name)
    if path.is_dir():
        return read_tree(path), name
    if not path.is_file():
        raise RebuildError(
            f"{path} cannot be copied: it is {kind_of_file(found.st_mode)}", hint="Name a file."
        )
    return HostFile.at(path, found), name


def _put(tree: Directory, path: bytes, name: bytes, node: Node, image: Path) -> None:
    """Put a node at a path as `cp` would: into a directory that is there, else under that name."""
    found = tree.resolve(path)
    if found is not None and isinstance(found[1], Directory):
        parent, last = found[1], name
    elif path.endswith(b"/") and not isinstance(node, Directory):
        raise PathNotFoundError(
            f"no such directory in {image}: {show(path)}", hint="Leave the slash out, or copy a directory."
        )
    else:
        above, _, last = path.rstrip(b"/").rpartition(b"/")
        there = tree.resolve(above or b"/")
        if there is None or not isinstance(there[1], Directory):
            raise PathNotFoundError(
                f"no such directory in {image}: {show(above)}",
                hint="Copy a whole directory, or name another.",
            )
        parent = there[1]
        if found is not None:  # through a link: what it leads to is replaced, the link stays
            above, _, last = found[0].rpartition(b"/")
            replaced = tree.find(above)
            assert isinstance(replaced, Directory)
            parent = replaced
    old = parent.children.get(last)
    if old is not None and isinstance(old, Directory) and not isinstance(node, Directory):
        raise RebuildError(f"{show(path)} has a directory {show(last)} in {image}", hint="Name another.")
    if old is not None and isinstance(node, Directory) and not isinstance(old, Directory):
        raise RebuildError(f"{show(path)} is no directory in {image}", hint="Name another.")
    if isinstance(old, Directory) and isinstance(node, Directory):
        _merge(old, node, image)
    else:
        Directory({}).add(last, node)  # raises for a name that cannot be one
        parent.children[last] = node


def _merge(old: Directory, new: Directory, image: Path) -> None:
    pending = [(old, new)]
    while pending:
        here, there = pending.pop()
        for name, node in there.children.items():
            found = here.children.get(name)
            if isinstance(found, Directory) != isinstance(node, Directory) and found is not None:
                raise RebuildError(
                    f"{show(name)} is a directory here and none there, of the source and {image}",
                    hint="Remove or rename one.",
                )
            if isinstance(found, Directory) and isinstance(node, Directory):
                pending.append((found, node))
            else:
                here.children[name] = node


def _tree_of(fs: Filesystem, scratch: Scratch, running: Step) -> Directory:
    """Return the tree in a filesystem; contents of large files wait in a folder until they are written."""
    known: dict[bytes, Directory] = {}
    linked: dict[int, Node] = {}
    entries = list(fs.walk())
    total = sum(entry.size for entry in entries if entry.kind is Kind.FILE)

    def data(entry: Entry) -> Iterator[tuple[int, bytes]]:
        for position, piece in fs.data_pieces(entry):
            yield position, piece
            running.progress(running.bytes + position + len(piece), total)
        running.bytes += entry.size

    for entry in entries:
        node = linked.get(entry.number) or _node_in(fs, entry, scratch, data)
        if isinstance(node, Directory):
            known[entry.path] = node
        elif entry.links > 1:
            linked[entry.number] = node
        if entry.path != b"/":
            known[entry.path.rpartition(b"/")[0] or b"/"].children[entry.name] = node
    return known[b"/"]


def _node_in(
    fs: Filesystem, entry: Entry, scratch: Scratch, data: Callable[[Entry], Iterable[tuple[int, bytes]]]
) -> Node:
    mtime = entry.modified or 0
    lost = f"belongs to user {entry.owner} and group {entry.group}" if entry.owner or entry.group else ""
    match entry.kind:
        case Kind.DIRECTORY if not lost:
            return Directory(mode=0o755 if entry.permissions is None else entry.permissions, mtime=mtime)
        case Kind.SYMLINK if not lost:
            return Symlink(fs.target(entry), mtime)
        case Kind.FILE if not lost:
            mode = 0o644 if entry.permissions is None else entry.permissions
            inode = (0, entry.number) if entry.links > 1 else None
            return scratch.keep_data(data(entry), entry.size, mode, mtime, inode)
    raise RebuildError(
        f"{show(entry.path)} {lost or f'is a {entry.kind}'}, which would be lost", hint="Build a new image."
    )


def _replace(path: Path, volume: Volume, part: Partition | None, tree: Directory, writer: Writer) -> int:
    """Write the image anew, look whether it can be read, and put it in the old one's place."""
    try:
        with replacing(path) as temporary, temporary.open("r+b", buffering=0) as stream:
            with step(f"write {path} again") as running:
                write = partial(_write_counted, writer, running)
                if part is None:
                    size = write(tree, stream)
                else:
                    size = _write_disk(volume.source, part, tree, write, stream)
                stream.truncate(size)
            with (
                step("verify"),
                open_volume(partition_of(volume_of(temporary), part.slot if part else None)) as fs,
            ):
                for problem in fs.check().problems:
                    raise problem
            return size
    except OSError as error:
        if isinstance(error, OsvlabError):
            raise
        hint = "Make room there." if no_space(error) else "Check its permissions."
        raise RebuildError(f"cannot write {path} again: {error.strerror}", hint=hint) from error


def _write_counted(writer: Writer, running: Step, tree: Directory, stream: BinaryIO) -> int:
    """Write a filesystem, with word of how far that is, and return its size."""
    running.bytes = writer(tree, stream, running.progress)
    return running.bytes


def _write_disk(
    old: ByteRange,
    part: Partition,
    tree: Directory,
    write: Callable[[Directory, BinaryIO], int],
    stream: FileIO,
) -> int:
    """Write a disk with another filesystem in one of its partitions, and return its size."""
    others = [each for each in disk.read_partitions(old) if each.offset > part.offset]
    _copy_range(old, stream, 0, part.offset)
    stream.seek(part.offset)
    size = -(-write(tree, stream) // disk.SECTOR) * disk.SECTOR
    end = part.offset + size
    following = min(others, key=lambda each: each.offset, default=None)
    if following is not None:
        if end > following.offset:
            raise RebuildError(
                f"the files need {format_size(size)}, and partition {following.slot} begins "
                f"{format_size(following.offset - part.offset)} behind the beginning of theirs",
                hint="Build a new image.",
            )
        _copy_range(old, stream, following.offset, old.length)
        end = old.length
    sector = disk.with_partition(old.read_at(0, disk.SECTOR), replace(part, size=size))
    stream.seek(0)
    stream.write(sector)
    return end


def _copy_range(old: ByteRange, stream: FileIO, start: int, end: int) -> None:
    """Copy a part of a disk to the same place in a new file, whose holes are zeros."""
    for first, last in old.data_runs(start, end):
        for position in range(first, last, _PIECE):
            data = old.read_at(position, min(_PIECE, last - position))
            if data.strip(b"\0"):
                write_at(stream.fileno(), memoryview(data), position)
