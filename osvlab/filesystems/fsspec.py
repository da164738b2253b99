"""Images for fsspec, through which pandas, Dask, pyarrow and many others open files.

>>> import fsspec
>>> from osvlab.filesystems.bootfs import write_bootfs
>>> from osvlab.filesystems.tree import Content, Directory
>>> with open("hello.img", "wb") as file:
...     _ = write_bootfs(Directory({b"data": Directory({b"table.csv": Content(b"a,b")})}), file)
>>> fsspec.filesystem("osvlab", image="hello.img").ls("/data", detail=False)
['/data/table.csv']
>>> with fsspec.open("osvlab://data/table.csv", "rt", image="hello.img") as table:
...     table.read()
'a,b'
>>> with fsspec.open("osvlab://data/table.csv::hello.img", "rt") as table:
...     table.read()
'a,b'
>>> import pandas  # doctest: +SKIP
>>> pandas.read_csv("osvlab://data/table.csv", storage_options={"image": "hello.img"})  # doctest: +SKIP
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import Entry, Filesystem, GuestPathError, GuestPathNotFoundError, Kind, show
from osvlab.filesystems.opening import open as open_image

__all__ = ["OsvlabFileSystem"]

_TYPES = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.SYMLINK: "link"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OsvlabFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The files in an image, read-only.

    Symbolic links are listed as links, and followed inside the image where a file is opened. Names
    that are not UTF-8 are texts with surrogates, as everywhere in Python.

    Parameters
    ----------
    image, dataset, partition, txg
        As of `osvlab.filesystems.open`.
    fo, target_protocol
        The image as fsspec says it of a chained address: ``osvlab://etc/hosts::hello.img``.

    Raises
    ------
    OsvlabError
        As of `osvlab.filesystems.open`; or no image is named, or one that is no file of this host.

    Examples
    --------
    >>> from osvlab.filesystems.rofs import write_rofs
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> with open("root.img", "wb") as file:
    ...     _ = write_rofs(Directory({b"etc": Directory({b"hosts": Content(b"127.0.0.1")})}), file)
    >>> files = OsvlabFileSystem("root.img")
    >>> files.find("/")
    ['/etc/hosts']
    >>> files.cat("/etc/hosts")
    b'127.0.0.1'
    """

    protocol: ClassVar[str] = "osvlab"
    root_marker: ClassVar[str] = "/"
    cachable: ClassVar[bool] = False  # an image may be written again under the same name

    def __init__(
        self,
        image: str | os.PathLike[str] | bytes | None = None,
        dataset: str | None = None,
        partition: int | None = None,
        txg: int | None = None,
        fo: str | os.PathLike[str] | None = None,
        target_protocol: str | None = None,
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        if image is None:
            image = _chained(fo, target_protocol)
        self._files: Filesystem = open_image(image, dataset=dataset, partition=partition, txg=txg)
        # Whoever unpickles this may have another current directory.
        place = image if isinstance(image, bytes) else os.path.abspath(image)
        self._again = {"image": place, "dataset": dataset, "partition": partition, "txg": txg}
        self._again |= storage_options

    def __repr__(self) -> str:
        image = self._again["image"]
        where = "bytes" if isinstance(image, bytes) else image
        return f"<OsvlabFileSystem of {where}: {self._files.format}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._again,)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return "/" + os.fspath(super()._strip_protocol(path)).strip("/")

    def _find(self, path: str, *, follow: bool = True) -> Entry:
        name = os.fsencode(self._strip_protocol(path))
        try:
            return self._files.find(name, follow=follow)
        except GuestPathNotFoundError as error:
            if follow and (target := self._target(name)) is not None:
                raise _leads_nowhere(name, target) from error
            raise

    def _target(self, path: bytes) -> bytes | None:
        """Return where a path leads, if it is a link itself."""
        try:
            entry = self._files.find(path, follow=False)
        except GuestPathError:
            return None
        return self._files.target(entry) if entry.kind is Kind.SYMLINK else None

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what is known of a path: name, type, size, and what else the format stores."""
        return self._described(self._strip_protocol(path), self._find(path, follow=False))

    def _described(self, name: str, entry: Entry) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": name,
            "type": _TYPES.get(entry.kind, "other"),
            "size": entry.size if entry.kind is Kind.FILE else 0,
            "ino": entry.number,
            "nlink": entry.links,
            "uid": entry.owner,
            "gid": entry.group,
            "islink": entry.kind is Kind.SYMLINK,
        }
        if entry.permissions is not None:
            told["mode"] = entry.kind.type_bits | entry.permissions
        if entry.modified is not None:
            told["mtime"] = entry.modified / 1e9
        if entry.kind is Kind.SYMLINK:
            told["destination"] = os.fsdecode(self._files.target(entry))
            told["size"] = self._size_behind(entry)
        return told

    def _size_behind(self, link: Entry) -> int:
        try:
            found = self._files.find(link.path)
        except GuestPathError:  # it leads nowhere, or in a circle
            return 0
        return found.size if found.kind is Kind.FILE else 0

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the entries of a directory, or the one entry that is no directory."""
        path = self._strip_protocol(path)
        entry = self._find(path)
        if entry.kind is Kind.DIRECTORY:
            base = path.rstrip("/") + "/"
            found = [(base + os.fsdecode(child.name), child) for child in self._files.list(entry)]
        else:
            found = [(path, self._find(path, follow=False))]
        return [self._described(name, child) for name, child in found] if detail else [n for n, _ in found]

    def modified(self, path: str) -> datetime:
        """Return when a file was last changed; the year 1970 where the format does not store it."""
        return _EPOCH + timedelta(microseconds=(self._find(path).modified or 0) // 1000)

    created = modified

    def isfile(self, path: str) -> bool:
        """Whether it is a file, or a link to one."""
        return self._is(path, Kind.FILE)

    def isdir(self, path: str) -> bool:
        """Whether it is a directory, or a link to one."""
        return self._is(path, Kind.DIRECTORY)

    def _is(self, path: str, kind: Kind) -> bool:
        try:
            return self._find(path).kind is kind
        except GuestPathError:
            return False

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a file's bytes, or a part of them; numbers below 0 count from its end."""
        entry = self._find(path)
        first, last, _step = slice(start, end).indices(entry.size)
        return self._files.read(entry, first, max(0, last - first))

    def _open(
        self, path: str, mode: str = "rb", block_size: int | str | None = None, **options: Any
    ) -> _ImageFile:
        if mode != "rb":
            raise _read_only(path)
        entry = self._find(path)
        self._files.read(entry, 0, 0)  # raises for what is no file
        for known in ("autocommit", "cache_options", "size"):  # the last is of a file that was pickled
            options.pop(known, None)
        return _ImageFile(self._files, entry, self, path, block_size or "default", **options)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Refuse: images are read here. fsspec itself would do nothing, without a word."""
        raise _read_only(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refuse: images are read here."""
        raise _read_only(path)

    def rmdir(self, path: str) -> None:
        """Refuse: images are read here."""
        raise _read_only(path)

    def _rm(self, path: str) -> None:
        raise _read_only(path)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Refuse: images are read here."""
        raise _read_only(path2)


def _opened(options: dict[str, Any]) -> OsvlabFileSystem:
    return OsvlabFileSystem(**options)


def _chained(fo: str | os.PathLike[str] | None, protocol: str | None) -> str | os.PathLike[str]:
    """Return the image that a chained address names."""
    if fo is None:
        raise OsvlabError(
            "no image is named",
            hint='Give image="hello.img" (storage_options={"image": ...} in pandas), or name it in the '
            "address: osvlab://etc/hosts::hello.img",
        )
    if protocol not in (None, "file", "local"):
        raise OsvlabError(
            f"the image {os.fspath(fo)} is not a file of this host but of {protocol}",
            hint="Copy it here first: fsspec.filesystem(...).get(...).",
        )
    return fo


def _leads_nowhere(path: bytes, target: bytes) -> GuestPathNotFoundError:
    return GuestPathNotFoundError(
        f"{show(path)} is a link to {show(target)}, which is not in the image",
        hint='osvlab cp copies such links as they are; cat(..., on_error="omit") leaves them out.',
    )


def _read_only(path: str) -> GuestPathError:
    return GuestPathError(f"{path} cannot be written: images are read here", "Use osvlab cp to copy in.")


class _ImageFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file in an image; fsspec reads ahead and keeps what was read."""

    def __init__(
        self,
        files: Filesystem,
        entry: Entry,
        owner: OsvlabFileSystem,
        path: str,
        block_size: int | str,
        **options: Any,
    ) -> None:
        super().__init__(owner, path, "rb", block_size, size=entry.size, **options)
        self._files, self._entry = files, entry

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._files.read(self._entry, start, end - start)
