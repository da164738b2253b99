"""The host's end of bulk transfers: a guest's program connects to 10.0.2.2, which is this host."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.qemu import TIMEOUT
from osvlab.errors import OsvlabError

__all__ = ["GATEWAY", "listening", "seconds_to_drain", "seconds_to_feed"]

GATEWAY = "10.0.2.2"
PIECE = 1 << 20


@contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    """Listen on a free port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        yield server, server.getsockname()[1]


def _accept(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(TIMEOUT)
    return connection


def seconds_to_feed(server: socket.socket, size: int) -> float:
    """Send `size` bytes to the next guest; return how long it took until its program had them and left."""
    piece = memoryview(bytes(PIECE))
    with _accept(server) as connection:
        began = time.perf_counter()
        left = size
        while left:
            left -= connection.send(piece[:left])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(PIECE):
            pass
        return time.perf_counter() - began


def seconds_to_drain(server: socket.socket, size: int) -> float:
    """Receive from the next guest until it ends; return how long that took.

    Raises
    ------
    OsvlabError
        There were not `size` bytes.
    """
    piece = bytearray(PIECE)
    with _accept(server) as connection:
        began = time.perf_counter()
        total = 0
        while got := connection.recv_into(piece):
            total += got
        seconds = time.perf_counter() - began
    if total != size:
        raise OsvlabError(f"the guest sent {total:,} of {size:,} bytes")
    return seconds
