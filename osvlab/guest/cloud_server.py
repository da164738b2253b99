"""A few texts served over HTTP, for guests that fetch their configuration."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from osvlab.guest.address import Address, GuestError

__all__ = ["serving"]


@contextlib.contextmanager
def serving(host: str, texts: Mapping[str, bytes]) -> Iterator[Address]:
    """Serve texts by path on a free port of an address while the block runs.

    Raises
    ------
    GuestError
        This host has no such address.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = texts.get(self.path)
            self.send_response(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK)
            self.send_header("Content-Type", "text/yaml; charset=utf-8")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet: the console belongs to the guest."""

    try:
        server = ThreadingHTTPServer((host, 0), Handler)
    except OSError as error:
        raise GuestError(
            f"cannot listen on {host}: {error.strerror}",
            hint="Give an address of this host; 127.0.0.1 is always there.",
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="osvlab-cloud-config", daemon=True)
    thread.start()
    try:
        yield Address(host, server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
