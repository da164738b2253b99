"""Files of a guest through its REST API (``/file``)."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from osvlab.errors import OsvlabError
from osvlab.guest.models import FileKind, FileStatus
from osvlab.guest.rest_client import RANGE_NOT_SATISFIABLE, RestClient, RestError, RestNotFoundError
from osvlab.paths import replacing

__all__ = ["FileApi", "quoted"]

PERMISSION = 0o644
"""What a file gets that is put into a guest, unless another is asked for."""


def quoted(path: str) -> str:
    """Percent-encode a guest path as one component, the way OSv's clients write it (``%2Fetc%2Fhosts``).

    Examples
    --------
    >>> quoted("/a b/c")
    '%2Fa%20b%2Fc'
    """
    return quote(path, safe="")


class FileApi:
    """Files of a guest. Paths are absolute, with ``/``; ``..`` is not allowed by the servers."""

    def __init__(self, client: RestClient) -> None:
        self._client = client

    def get(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the contents of a file, or `length` bytes of it from `offset` on.

        Raises
        ------
        RestNotFoundError
            There is no such file.
        IsADirectoryError
            It is a directory.
        """
        headers = _range(offset, length)
        try:
            with self._client.stream("GET", _place(path), {"op": "GET"}, headers=headers) as answer:
                if answer.status == RANGE_NOT_SATISFIABLE:  # it begins behind the end
                    return b""
                data = answer.body()
        except RestError as error:
            if error.status == 400:  # the lab kernel's answer for one
                self._refuse_directory(path)
            raise
        if not data and offset == 0:  # OSv's
            self._refuse_directory(path)
        if headers and answer.status != 206:  # the server knows no ranges and sent all
            end = None if length is None else offset + length
            data = data[offset:end]
        return data

    def _refuse_directory(self, path: str) -> None:
        if self.stat(path).kind is FileKind.DIRECTORY:
            raise IsADirectory(f"{path} is a directory in the guest", hint="List it with files.list().")

    def download(self, path: str, to: str | os.PathLike[str], timeout: float = 600) -> int:
        """Copy a file of the guest to the host; return its size in bytes.

        The file on the host appears when it is whole.
        """
        size = 0
        with (
            self._client.stream("GET", _place(path), {"op": "GET"}, timeout=timeout) as answer,
            replacing(to) as temporary,
            open(temporary, "wb") as file,
        ):
            for piece in answer.pieces():
                size += file.write(piece)
            announced = answer.headers.get("content-length")
            if announced is not None and int(announced) != size:
                raise OsvlabError(
                    f"{path} came incomplete: {size} of {announced} bytes",
                    hint="Try it again; has the guest ended meanwhile?",
                )
        return size

    def put(
        self,
        path: str,
        data: bytes | str | IO[bytes],
        permission: int = PERMISSION,
        timeout: float = 600,
    ) -> None:
        """Write a file whole: it is received beside its place and then moved there.

        Parameters
        ----------
        path
            Where in the guest.
        data
            Its contents; a text is written as UTF-8, an open file is streamed.
        permission
            The permission bits.
        timeout
            Seconds.
        """
        content = data.encode() if isinstance(data, str) else data
        name = posixpath.basename(path) or "file"
        self._client.raw("POST", _place(path), files={"file": (name, content)}, timeout=timeout)
        self.chmod(path, permission)

    def upload(self, source: str | os.PathLike[str], path: str, timeout: float = 600) -> None:
        """Copy a file of the host into the guest, with its permission bits."""
        with Path(source).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            self.put(path, file, permission=mode, timeout=timeout)

    def append(self, path: str, text: str) -> None:
        """Append a text to a file."""
        self._do(path, "WRITE", content=text, overwrite=False, permission=self._permission(path))

    def stat(self, path: str) -> FileStatus:
        """Return what the guest knows of a file."""
        return FileStatus.from_json(self._client.get(_place(path), op="GETFILESTATUS"))

    def exists(self, path: str) -> bool:
        """Say whether there is such a file; links are followed."""
        try:
            self.stat(path)
        except RestNotFoundError:
            return False
        return True

    def list(self, path: str = "/") -> list[FileStatus]:
        """Return what is in a directory, by name; ``*`` and ``?`` match names on the way."""
        found = self._client.get(_place(path), op="LISTSTATUS")
        statuses = [FileStatus.from_json(entry) for entry in found]
        return sorted((s for s in statuses if s.name not in (".", "..")), key=lambda s: s.name)

    def mkdir(self, path: str, permission: int = 0o755) -> None:
        """Make a directory, and its parents where they are missing."""
        self._do(path, "MKDIRS", permission=permission)

    def rename(self, path: str, to: str) -> None:
        """Rename or move a file."""
        self._do(path, "RENAME", destination=to, permission=self._permission(path))

    def copy(self, path: str, to: str) -> None:
        """Copy a file inside the guest."""
        self._do(path, "COPY", destination=to, permission=self._permission(path))

    def chmod(self, path: str, permission: int) -> None:
        """Set permission bits. No call of the API does that alone, but each does it at its end."""
        self._do(path, "WRITE", content="", overwrite=False, permission=permission)

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or a directory.

        OSv's own recursive removal leaves every second entry behind and says that a
        directory is not empty; then it is done from here, entry by entry.
        """
        try:
            self._remove(path, recursive)
        except RestError as error:
            if not recursive or "not empty" not in error.message:
                raise
            for entry in self.list(path):
                below = posixpath.join(path, entry.name)
                self.delete(below, recursive=entry.kind is FileKind.DIRECTORY)
            self._remove(path, False)

    def _remove(self, path: str, recursive: bool) -> None:
        self._client.raw("DELETE", _place(path), {"op": "DELETE", "recursive": recursive or None})

    def _permission(self, path: str) -> int:
        return self.stat(path).permission & 0o7777

    def _do(self, path: str, op: str, *, permission: int, **params: Any) -> None:
        told: Mapping[str, Any] = {"op": op, "permission": f"{permission:o}", **params}
        self._client.raw("PUT", _place(path), told)


class IsADirectory(OsvlabError, IsADirectoryError):
    """A directory stands where a file was asked for."""


def _place(path: str) -> str:
    if not path.startswith("/"):
        raise OsvlabError(f"not an absolute path in the guest: {path!r}", hint=f"Write /{path}.")
    return "/file/" + quoted(path)


def _range(offset: int, length: int | None) -> dict[str, str]:
    if offset < 0 or (length is not None and length < 0):
        raise OsvlabError(
            f"not a range of bytes: offset {offset}, length {length}", hint="Both count from 0."
        )
    if offset == 0 and length is None:
        return {}
    end = "" if length is None else str(offset + max(length, 1) - 1)
    return {"Range": f"bytes={offset}-{end}"}
