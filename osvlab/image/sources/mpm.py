"""Archives of packages, ``.mpm``: a tar file, plain or packed by gzip, with names like ``/etc/hosts``.

An archive comes from somebody else. It is looked through completely before anything of it is written, and
what is written lies under names of the lab's own (`scratch`): no entry can reach a path of this host.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, BinaryIO

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Directory, Node, Symlink, TreeError, check_name, check_target
from osvlab.image.collection import Collection, RecipeError, listed
from osvlab.image.sources.scratch import Scratch
from osvlab.image.sources.text import LARGEST, LARGEST_YAML
from osvlab.paths import PathNotFoundError, open_bytes

__all__ = ["META", "Archive", "open_archive"]

META = b"meta"
"""The directory that describes a package, and is in no image."""
DESCRIPTIONS = {b"meta/package.yaml": "package.yaml", b"meta/run.yaml": "run.yaml"}
"""What in it is read."""

MOST_ENTRIES = 1_000_000
MOST_NAMES = 128 << 20  # bytes of all names together: a million long ones would fill the memory
_PIECE = 1 << 20
_LONGEST_TAIL = 64 << 20
_AGAIN = "Get it again from where it came."


@dataclass(frozen=True, slots=True)
class Archive:
    """A package's archive that was looked through and found right.

    Attributes
    ----------
    path
        The file.
    meta
        What describes the package, by name.
    size
        Bytes of all files when unpacked.
    """

    path: Path
    meta: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def put_into(self, files: Collection, scratch: Scratch, reason: str) -> None:
        """Unpack everything but ``meta``; `reason` is why it is there.

        Raises
        ------
        RecipeError
            It has changed and is damaged now, or things in it exclude each other.
        OsvlabError
            There is no room.
        """
        nodes: dict[bytes, Node] = {}
        for entry in _entries(self.path):
            if _in_meta(entry.name):
                continue
            nodes[entry.name] = node = _node(entry, nodes, scratch)
            why = f"{reason} ({self.path}, entry {show(entry.written)})"
            files.add(b"/" + entry.name, node, why)


def open_archive(path: Path) -> Archive:
    """Look through an archive.

    Raises
    ------
    PathNotFoundError
        There is no such file.
    RecipeError
        It is no archive, damaged, or has entries that no package may have: all of them are listed.
    """
    meta: dict[str, bytes] = {}
    problems: list[str] = []
    kinds: dict[bytes, bool] = {}  # whether it is a file that another entry may be a second name of
    size = 0
    for entry in _entries(path):
        problem = _problem(entry, kinds)
        if problem:
            problems.append(f"entry {show(entry.written)}: {problem}")
            continue
        kinds[entry.name] = (entry.tar.isreg() or entry.tar.islnk()) and not _in_meta(entry.name)
        size += entry.tar.size if entry.tar.isreg() else 0
        name = DESCRIPTIONS.get(entry.name)
        if name and entry.tar.isreg():
            if entry.tar.size > LARGEST_YAML:
                problems.append(f"entry {show(entry.written)}: too large for a description")
                continue
            meta[name] = b"".join(entry.pieces())
    if problems:
        raise RecipeError(
            f"{path} holds what a package may not hold:{listed(problems)}",
            hint="Packages have files, directories and links, all below their own root.",
        )
    return Archive(path, meta, size)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of an archive: its name as it is meant and as it is written, and how to read it."""

    name: bytes
    written: bytes
    tar: tarfile.TarInfo
    mtime: int
    archive: tarfile.TarFile
    path: Path

    def pieces(self) -> Iterator[bytes]:
        with _damage_explained(self.path, f"in the entry {show(self.written)}"):
            source = self.archive.extractfile(self.tar)
            assert source is not None
            left = self.tar.size
            while left:
                piece = source.read(min(_PIECE, left))
                if not piece:
                    raise tarfile.ReadError("it is cut off")
                left -= len(piece)
                yield piece


def _problem(entry: _Entry, kinds: dict[bytes, bool]) -> str | None:
    """Return what is wrong with an entry."""
    if b".." in entry.name.split(b"/"):
        return "leads out of the package with .."
    tar = entry.tar
    try:
        for name in filter(None, entry.name.split(b"/")):
            check_name(name, b"/" + entry.name)
        if tar.issym():
            check_target(os.fsencode(tar.linkname), b"/" + entry.name)
    except TreeError as error:
        return error.message
    if tar.islnk():
        target = os.fsencode(tar.linkname)
        if not kinds.get(_clean(target)):
            return f"is a second name of {show(target)}, which is no file of the package before it"
        return None
    if tar.isreg() or tar.isdir() or tar.issym():
        return None if entry.name or tar.isdir() else "has no name"
    kind = {
        tarfile.CHRTYPE: "a character device",
        tarfile.BLKTYPE: "a block device",
        tarfile.FIFOTYPE: "a pipe",
    }
    return f"is {kind.get(tar.type, f'of an unknown kind ({tar.type!r})')}"


def _node(entry: _Entry, nodes: dict[bytes, Node], scratch: Scratch) -> Node:
    tar = entry.tar
    mode, mtime = stat.S_IMODE(tar.mode), entry.mtime
    if tar.isdir():
        return Directory(mode=mode, mtime=mtime)
    if tar.issym():
        return Symlink(os.fsencode(tar.linkname), mtime)
    if tar.islnk():
        return replace(nodes[_clean(os.fsencode(tar.linkname))])
    return scratch.keep(entry.pieces(), tar.size, mode, mtime)


def _in_meta(name: bytes) -> bool:
    return name == META or name.startswith(META + b"/")


def _clean(name: bytes) -> bytes:
    """Return a name without what people put in front: ``/x``, ``./x`` and ``x`` are the same."""
    return b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))


# --- the bytes of an archive -------------------------------------------------------------------------------


class _Bounded:
    """What tarfile reads through: no single read of a damaged length fills the memory."""

    def __init__(self, source: BinaryIO | gzip.GzipFile) -> None:
        self._source = source

    def read(self, count: int) -> bytes:
        if not 0 <= count <= LARGEST:
            raise tarfile.ReadError(f"it has a header of {count} bytes")
        return self._source.read(count)

    def seek(self, position: int) -> int:
        return self._source.seek(position)

    def tell(self) -> int:
        return self._source.tell()


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the entries of an archive in their order; its end has to be a proper one."""
    with _opened(path) as source:
        bounded = _Bounded(source)
        last = "at the beginning"
        archive: tarfile.TarFile | None = None
        names = 0
        for _ in range(MOST_ENTRIES):
            with _damage_explained(path, last):
                if archive is None:
                    archive = tarfile.TarFile(
                        fileobj=bounded,  # type: ignore[arg-type]
                        encoding="utf-8",
                        errors="surrogateescape",
                    )
                tar = archive.next()
                archive.members.clear()  # type: ignore[attr-defined]  # it would remember a million
                if tar is None:
                    _check_end(bounded, archive.offset)
                    return
                written = os.fsencode(tar.name) or b"/"
                last = f"after the entry {show(written)}"
                mtime = max(0, int(tar.mtime)) * 10**9
                names += len(written) + len(tar.linkname)
                if names > MOST_NAMES:
                    raise tarfile.ReadError(f"its names have more than {MOST_NAMES:,} bytes")
                if tar.size < 0:
                    raise tarfile.ReadError(f"its size is {tar.size}")
            yield _Entry(_clean(written), written, tar, mtime, archive, path)
        raise RecipeError(f"{path} has more than {MOST_ENTRIES:,} entries", hint="Split it.")


@contextlib.contextmanager
def _damage_explained(path: Path, where: str) -> Iterator[None]:
    """Turn what tarfile and gzip say of damage into an error that names the archive and the place."""
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, RecursionError) as error:
        raise RecipeError(f"{path} is a damaged archive, {where}: {error}", hint=_AGAIN) from error
    except (ValueError, OverflowError) as error:  # a number that is none
        if isinstance(error, OsvlabError):
            raise
        raise RecipeError(f"{path} is a damaged archive, {where}: {error}", hint=_AGAIN) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    try:
        raw: IO[bytes] = open(open_bytes(path), "rb")  # noqa: SIM115 - closed below
        magic = raw.read(2)
        raw.seek(0)
    except FileNotFoundError:
        raise PathNotFoundError(f"no such package: {path}", hint="Check the path.") from None
    except OSError as error:
        raise RecipeError(
            f"cannot read the package {path}: {error.strerror}", hint="Check path and permissions."
        ) from error
    with raw:
        if magic == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked
        else:
            yield raw  # type: ignore[misc]


def _check_end(source: _Bounded, position: int) -> None:
    """Raise unless an archive ends as it must: tarfile takes a damaged header for the end.

    Reading up to the last byte also lets gzip compare its checksum.
    """
    source.seek(position)
    block = source.read(tarfile.BLOCKSIZE)
    if block != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut off" if len(block) < tarfile.BLOCKSIZE else "a header is damaged")
    for _ in range(_LONGEST_TAIL // _PIECE):
        if not source.read(_PIECE):
            return
    raise tarfile.ReadError("it goes on for a long time after its end")
