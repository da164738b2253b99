"""A dataset of a pool as a filesystem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import CheckReport, Entry, Extent, Filesystem, Kind, Source, show
from osvlab.filesystems.structure import Structure
from osvlab.filesystems.tree import MAX_NAME
from osvlab.filesystems.zfs.dsl import Dataset
from osvlab.filesystems.zfs.errors import FORMAT, PoolError, damaged
from osvlab.filesystems.zfs.format import BlockPointer, Compression
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.pool import Pool
from osvlab.filesystems.zfs.posix import OBJECT_MASK, Attributes, Files
from osvlab.filesystems.zfs.zap import MANY, Zap

__all__ = ["ZfsFilesystem", "open_zfs"]

_OSV_CHILD = b"zfs"
_MOST_AT_ONCE = 16 << 30


def open_zfs(
    sources: Sequence[Source], dataset: str | None = None, *, txg: int | None = None
) -> ZfsFilesystem:
    """Open a dataset of a pool.

    Parameters
    ----------
    sources
        All disks of the pool: files, parts of images, or bytes, in any order.
    dataset
        Which, such as ``osv``, ``osv/data`` or ``osv@monday``. When not given, the one that OSv
        boots from: the pool's root, or its child ``zfs`` when the root has no files and that has.
    txg
        As of which transaction group; the newest when not given. The pool's `uberblocks` tell which
        there still are.

    Raises
    ------
    PoolError
        The sources are no pool, or it has no such dataset, or no such transaction group any more.
    UnsupportedPoolError
        The pool uses what is not read here.
    DamagedError
        The pool or the dataset cannot be right.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> from osvlab.filesystems.zfs import write_zfs
    >>> stream = io.BytesIO()
    >>> _ = write_zfs(Directory({b"hello": Content(b"hi there")}), stream)
    >>> with open_zfs([stream.getvalue()]) as fs:
    ...     print(type(fs).__name__, fs.pool.name, (fs / "hello").read_text())
    ZfsFilesystem osv hi there
    """
    pool = Pool(sources, txg)
    try:
        return ZfsFilesystem(pool, dataset if dataset is not None else _default(pool))
    except BaseException:
        pool.close()
        raise


def _default(pool: Pool) -> str:
    child = f"{pool.name}/{_OSV_CHILD.decode()}"
    if child in pool.datasets and not _names(pool, pool.name) - {_OSV_CHILD} and _names(pool, child):
        return child
    return pool.name


def _names(pool: Pool, name: str) -> set[bytes]:
    """Return the first few names in the root directory of a dataset."""
    found = pool.datasets.get(name)
    if found is None or found.pointer.is_hole:
        return set()
    files = Files(pool.objects(found))
    names: set[bytes] = set()
    for entry in Zap(files.objects.dnode(files.root)).entries():
        names.add(entry.name)
        if len(names) > 1:
            break
    return names


class ZfsFilesystem(Filesystem):
    """A dataset of a pool, read with every checksum verified.

    Attributes
    ----------
    pool
        The pool: name, version, state, features, datasets, uberblocks.
    dataset
        Which of its datasets this is.

    Raises
    ------
    PoolError
        There is no such dataset, or it has no files.
    """

    format = FORMAT

    def __init__(self, pool: Pool, name: str) -> None:
        found = pool.datasets.get(name)
        if found is None:
            known = [one.name for one in pool.datasets.values() if not one.is_internal]
            raise PoolError(f"pool {pool.name} has no dataset {name}", hint=f"It has: {_listed(known)}.")
        if found.pointer.is_hole:
            raise PoolError(f"dataset {name} is empty: it has no root directory", hint="Open another.")
        self.pool = pool
        self.dataset: Dataset = found
        self.files = Files(pool.objects(found))
        self._root = self._entry(b"/", self.files.root)
        if self._root.kind is not Kind.DIRECTORY:
            dnode = self.files.objects.dnode(self.files.root)
            raise damaged(f"root directory of {name} ({dnode.name})", dnode.offset, "is no directory")

    def close(self) -> None:
        """Close the files of the pool."""
        self.pool.close()

    @property
    def root(self) -> Entry:
        """The root directory."""
        return self._root

    @property
    def warnings(self) -> Sequence[str]:
        """That the pool was not exported, and what was wrong with it and did not matter so far."""
        if self.pool.state != "active":
            return tuple(self.pool.notes)
        in_use = (
            f"pool {self.pool.name} was not exported: its machine runs, or ended without a word, and what "
            "it wrote last may be missing here"
        )
        return in_use, *self.pool.notes

    def _dnode(self, entry: Entry) -> Dnode:
        return self.files.objects.dnode(entry.number)

    def _entry(self, path: bytes, number: int) -> Entry:
        return _entry(path, number, self.files.attributes(self.files.objects.dnode(number)))

    def list(self, directory: Entry) -> list[Entry]:
        """Return the entries of a directory in the order in which they are stored.

        Raises
        ------
        DamagedError
            The directory, or a file in it, cannot be right.
        """
        self._expect(directory, Kind.DIRECTORY)
        dnode = self._dnode(directory)
        names, values = Zap(dnode).numbers()
        _check_names(names, directory, dnode)
        base = directory.child_path(b"")
        paths = [base + name for name in names]
        numbers = [value & OBJECT_MASK for value in values]
        if len(numbers) < MANY:
            return [self._entry(path, number) for path, number in zip(paths, numbers, strict=True)]
        from osvlab.filesystems.zfs.bulk import entries_of

        return entries_of(self.files, paths, numbers)

    def lookup(self, directory: Entry, name: bytes) -> Entry | None:
        """Return a directory's entry of a name, or None."""
        self._expect(directory, Kind.DIRECTORY)
        found = Zap(self._dnode(directory)).get(name)
        return None if found is None else self._entry(directory.child_path(name), found.number & OBJECT_MASK)

    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes from `offset`, all up to its end when no `length` is given.

        Raises
        ------
        DamagedError
            A block has a wrong checksum in all its copies.
        OsvlabError
            More than 16 GiB were asked for at once.
        """
        self._expect(file, Kind.FILE)
        left = max(0, file.size - offset)
        wanted = left if length is None else min(length, left)
        if wanted > _MOST_AT_ONCE:
            raise OsvlabError(
                f"{show(file.path)} is too large to be read at once: {wanted:,} bytes",
                hint="Read it in pieces.",
            )
        return self._dnode(file).read(offset, wanted)

    def read_pieces(self, file: Entry, size: int = 1 << 20) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most `size`: its blocks as they are, and zeros for holes."""
        self._expect(file, Kind.FILE)
        dnode = self._dnode(file)
        done = 0
        zeros = b""
        for first, count, pointer in dnode.runs():
            end = min(file.size, (first + count) * dnode.data_size)
            if pointer is not None:
                block = dnode.read_data(pointer, first)[: end - done]
                for start in range(0, len(block), size):
                    yield block if len(block) <= size else block[start : start + size]
                done = max(done, end)
            while done < end:
                zeros = zeros if len(zeros) == min(size, end - done) else bytes(min(size, end - done))
                yield zeros
                done += len(zeros)
        yield from (bytes(min(size, file.size - at)) for at in range(done, file.size, size))

    def target(self, link: Entry) -> bytes:
        """Return where a symbolic link points."""
        self._expect(link, Kind.SYMLINK)
        return self.files.target(self._dnode(link))

    def extents(self, file: Entry) -> Iterator[Extent]:
        """Yield where a file's bytes lie, in order and without gaps.

        Raises
        ------
        DamagedError
            A block of pointers cannot be read.
        """
        self._expect(file, Kind.FILE)
        dnode = self._dnode(file)
        size = dnode.data_size
        end = 0
        for first, count, pointer in dnode.runs():
            start, end = first * size, (first + count) * size
            if start >= file.size:
                return
            yield _extent(self.pool, start, min(end, file.size) - start, pointer)
        if end < file.size:
            yield Extent(end, file.size - end, None, 0, "hole")

    def explain(self) -> Structure:
        """Return the first label of the pool, with pointers down to files' bytes."""
        from osvlab.filesystems.zfs.explain.labels import explain_pool

        return explain_pool(self.pool)

    def explain_entry(self, entry: Entry) -> Structure:
        """Return the dnode of an entry, with pointers to its blocks."""
        from osvlab.filesystems.zfs.explain.objects import explain_number
        from osvlab.filesystems.zfs.explain.places import View

        return explain_number(View(self.pool, self.files.objects), entry.number)

    def explain_path(self, entry: Entry, byte: int = 0) -> Sequence[Structure]:
        """Return the way to one byte of a file: from the label, each structure pointing to the next.

        It ends at the block with the byte, or at the pointer that is a hole; of what is no file, at
        its dnode.
        """
        from osvlab.filesystems.zfs.explain.chain import chain_to

        return chain_to(self.pool, self.dataset, entry, self._dnode(entry), byte)

    def check(self) -> CheckReport:
        """Read and verify everything in the pool: all blocks, all space, all files of all datasets."""
        from osvlab.filesystems.zfs.check import check_pool

        return check_pool(self.pool)


def _extent(pool: Pool, start: int, length: int, pointer: BlockPointer | None) -> Extent:
    if pointer is None or pointer.is_hole:
        return Extent(start, length, None, 0, "hole")
    about = [] if pointer.compression == Compression.OFF else [Compression.text(pointer.compression)]
    if pointer.is_embedded:
        return Extent(start, length, None, pointer.psize, ", ".join([*about, "in its block pointer"]))
    if pointer.dvas[0].gang:
        about.append("in parts")
    if len(pointer.dvas) > 1:
        about.append(f"{len(pointer.dvas)} copies")
    return Extent(start, length, pool.blocks.place(pointer), pointer.psize, ", ".join(about))


def _entry(path: bytes, number: int, found: Attributes) -> Entry:
    return Entry(
        path,
        found.kind,
        found.size if found.kind is not Kind.DIRECTORY else max(0, found.size - 2),
        number,
        found.mode & 0o7777,
        found.owner,
        found.group,
        found.links,
        found.modified,
        found.device,
    )


def _check_names(names: list[bytes], directory: Entry, dnode: Dnode) -> None:
    joined = b"/".join(names)
    if joined.count(b"/") == max(0, len(names) - 1) and b"\0" not in joined:
        wrong = [name for name in names if len(name) > MAX_NAME or name in (b"", b".", b"..")]
    else:
        wrong = [name for name in names if b"/" in name or b"\0" in name]
    if wrong:
        raise damaged(
            f"directory {show(directory.path)} ({dnode.name})",
            dnode.offset,
            f"has the impossible name {wrong[0][:40]!r}",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
