"""Streaming files into a guest: the protocol of OSv's upload daemon, `cpiod` (tools/cpiod/cpiod.cc).

The daemon prints "Waiting for connection from host...", takes one connection, and reads a
cpio archive from it until its trailer. OSv's closes the connection then, which is all the
answer there is; the lab kernel's says ``ok`` or ``error: ...`` in a line of its own first,
once the data is where it shall stay.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias, cast, runtime_checkable

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.filesystems.base import show
from osvlab.filesystems.cpio import write_cpio
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Directory
from osvlab.guest.address import (
    Address,
    Guest,
    GuestError,
    GuestTimeoutError,
    GuestUnreachableError,
    address_of,
)
from osvlab.guest.deadline import Deadline

__all__ = ["PATIENCE", "PORT", "WAITING", "Upload", "UploadError", "send", "upload"]

PORT = 10000
"""Where the daemon listens in the guest unless it is told otherwise."""

WAITING = "Waiting for connection from host..."
"""What it prints when it does. Behind QEMU's user network a connection opens before that, and is lost."""

PATIENCE = 60.0
"""Seconds after which nobody expects that a guest which took nothing will go on."""


class UploadError(GuestError):
    """A guest did not take all that was sent."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What was sent.

    Attributes
    ----------
    entries
        Files, directories and links.
    size
        Bytes on the wire.
    confirmed
        Whether the guest said that all is in its place; OSv's daemon has no way to.
    """

    entries: int
    size: int
    confirmed: bool


@runtime_checkable
class _Printing(Protocol):
    """A guest whose console can be waited for: a VM."""

    def wait_for(self, pattern: str, timeout: float | None = ..., *, since: int = ...) -> object: ...


Tree: TypeAlias = Directory | str | os.PathLike[str]


def upload(
    guest: Guest, tree: Tree, *, port: int = PORT, timeout: float = 120, root: bool = False
) -> Upload:
    """Send a tree to a guest whose upload daemon waits, or will wait soon.

    Parameters
    ----------
    guest
        A VM, whose console tells when its daemon waits; or the daemon's address, which
        must wait already.
    tree
        A directory of the host, or a `Directory`.
    port
        The daemon's port inside the guest.
    timeout
        Seconds for all of it.
    root
        Whether the directory that the files go to gets the mode and the time of the tree itself.

    Raises
    ------
    UploadError
        The guest refused the stream, or left in the middle of it; the message names the entry.
    GuestUnreachableError
        Nothing takes the connection.
    GuestTimeoutError
        It took longer than `timeout`.
    TreeError
        The tree holds what cannot be sent.
    """
    deadline = Deadline(timeout)
    files = tree if isinstance(tree, Directory) else read_tree(tree)
    address = address_of(guest, port)
    if isinstance(guest, _Printing):
        try:
            guest.wait_for(re.escape(WAITING), deadline.left("sign of the guest's upload daemon"))
        except TimeoutError as error:
            raise GuestTimeoutError(
                f"no sign of the guest's upload daemon within {timeout:g} s",
                hint="Is it in the image (modules=['cpiod']) and in the command (/tools/cpiod.so)?",
            ) from error
    with step("upload") as running:
        sent = send(address, files, running.progress, timeout=deadline.left("upload"), root=root)
        running.bytes = sent.size
    return sent


def send(
    address: Address,
    tree: Directory,
    progress: Callable[[int, int], object],
    *,
    timeout: float = 120,
    patience: float = PATIENCE,
    root: bool = False,
) -> Upload:
    """Send a tree to an upload daemon that waits; see `upload`.

    Parameters
    ----------
    address
        Where the daemon waits.
    tree, timeout, root
        As of `upload`.
    progress
        Is told how many bytes are sent, of how many.
    patience
        Seconds in which the guest has to take something: OSv may stop for ever when its disk is full.

    Raises
    ------
    UploadError, GuestUnreachableError, GuestTimeoutError, TreeError
        As of `upload`.
    """
    deadline = Deadline(timeout)
    with _connect(address, deadline) as connection:
        sent = _send(connection, tree, address, deadline, patience, progress, root)
        confirmed = _answer(connection, address, deadline)
    return Upload(sent.entries, sent.size, confirmed)


def _connect(address: Address, deadline: Deadline) -> socket.socket:
    try:
        return socket.create_connection((address.host, address.port), deadline.left("upload daemon"))
    except TimeoutError as error:
        raise GuestTimeoutError(
            f"{address} did not take the connection in time",
            hint="Is the host overloaded? Give it longer with timeout=.",
        ) from error
    except OSError as error:
        raise GuestUnreachableError(
            f"no upload daemon at {address}: {error.strerror}",
            hint="Is cpiod in the image (modules=['cpiod']) and its port forwarded (ports={10000: None})?",
        ) from error


@dataclass(slots=True)
class _Sent:
    entries: int = 0
    size: int = 0
    entry: bytes = b""


def _send(
    connection: socket.socket,
    tree: Directory,
    address: Address,
    deadline: Deadline,
    patience: float,
    told: Callable[[int, int], object],
    root: bool,
) -> _Sent:
    """Send the archive and then the end of the stream."""
    sent = _Sent()

    def begin(path: bytes) -> None:
        sent.entries += 1
        sent.entry = path

    def limit_the_next_write() -> None:
        connection.settimeout(min(patience, deadline.left(f"end of the upload to {address}")))

    def progress(done: int, total: int) -> None:
        limit_the_next_write()
        told(done, total)

    try:
        limit_the_next_write()
        with connection.makefile("wb", buffering=0) as stream:
            archive = cast(BinaryIO, stream)
            sent.size = write_cpio(tree, archive, progress=progress, entry=begin, root=root)
        connection.shutdown(socket.SHUT_WR)
    except TimeoutError as error:
        raise GuestTimeoutError(
            f"{address} stopped to take data at {show(sent.entry)}",
            hint="Is its disk or its memory full? Its console tells; or give it longer with timeout=.",
        ) from error
    except OSError as error:
        if isinstance(error, OsvlabError):
            raise
        said = _last_words(connection)
        raise UploadError(
            f"the guest at {address} ended the upload at {show(sent.entry)}: {said or error.strerror}",
            hint="Its console tells more.",
        ) from error
    return sent


def _answer(connection: socket.socket, address: Address, deadline: Deadline) -> bool:
    """Wait until the guest has put everything in its place; say whether it said so."""
    connection.settimeout(deadline.left(f"answer from {address}"))
    try:
        said = _read_line(connection)
    except TimeoutError as error:
        raise GuestTimeoutError(
            f"{address} took the upload, and does not say that it is done",
            hint="Its console tells more; or give it longer with timeout=.",
        ) from error
    except OSError as error:
        raise UploadError(
            f"{address} broke the connection off: {error.strerror}",
            hint="Has the guest ended? Its console tells.",
        ) from error
    if said.startswith("error"):
        raise UploadError(
            f"the guest at {address} refused the upload: {said.partition(': ')[2] or said}",
            hint="Its console tells more.",
        )
    if said not in ("", "ok"):
        raise UploadError(
            f"{address} answers as no upload daemon does: {said[:80]!r}",
            hint="Is it the port of cpiod (10000 in the guest)?",
        )
    return said == "ok"


def _read_line(connection: socket.socket) -> str:
    """Read until the other side closes, and return the first line; bounded, whatever comes."""
    data = b""
    while len(data) < 4096:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0].decode(errors="replace").strip()


def _last_words(connection: socket.socket) -> str:
    connection.settimeout(1)
    try:
        return _read_line(connection)
    except OSError:
        return ""
