"""The REST server of the guest, where tests reach it: on Linux under sanitizers, and in a guest.

The same tests run against both. On Linux it serves a folder as its root, and cannot reboot or rename the
host.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import osvlab
from tests.kernel import host

MODULE = "modules/httpserver"
WRAPPED = ("reboot", "sethostname", "gethostname")


def build(folder: Path) -> Path:
    """Compile the server as a Linux program under the sanitizers."""
    program = folder / "httpserver"
    if program.exists():
        return program
    sources = [str(p.relative_to(host.KERNEL)) for p in sorted((host.KERNEL / MODULE).glob("*.c"))]
    sources += ["runtime/commands.c", "runtime/texts.c", "tests/host/httpserver_host.c"]
    return host.build(program, sources, ["-I.", *(f"-Wl,--wrap={name}" for name in WRAPPED)])


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, with its body as bytes."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Server:
    """A server that runs.

    `writable` is a directory it can write to, `program` a program that ends at once with success.
    """

    host: str
    port: int
    writable: str
    program: str
    in_guest: bool
    process: subprocess.Popen[str] | None = None

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def socket(self, timeout: float = 60) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request over a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, method, target, body, headers)

    def get(self, target: str) -> Any:
        """Return what a route that must succeed gives, as JSON."""
        answer = self.ask("GET", target)
        assert answer.status == 200, answer
        return answer.json

    def talk(self, request: bytes, *, half_close: bool = True) -> bytes:
        """Send bytes and return all that comes back until the server closes."""
        with self.socket() as connection:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    connection.request(method, target, body, dict(headers or {}))
    reply = connection.getresponse()
    return Answer(reply.status, reply.headers, reply.read())


def read_all(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


@contextlib.contextmanager
def on_linux(program: Path, folder: Path, *options: str) -> Iterator[Server]:
    """Run the server on Linux; it must end by itself when told to, and without a sanitizer's report."""
    root = folder / "root"
    for name in ("tmp", "etc"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    argv = [program, "--port=0", "--ipaddress=127.0.0.1", f"--root={root}", *options]
    environment = {"HOME": "/", "OSV_VERSION": "0.0", "TZ": "UTC"}
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            assert process.stdout is not None
            said = ""
            while "running on port " not in said:
                line = process.stdout.readline()
                assert line, (folder / "log").read_text()
                said += line
            server = Server("127.0.0.1", int(said.split()[-1]), "/tmp", "/bin/true", False, process)
            yield server
            if process.poll() is None:
                token = next((o.partition("=")[2] for o in options if o.startswith("--token=")), None)
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                assert server.ask("POST", "/api/stop", headers=headers).status == 200
            assert process.wait(timeout=60) == 0, (folder / "log").read_text()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        assert (folder / "log").read_text() == ""


@contextlib.contextmanager
def in_guest(folder: Path, *options: str) -> Iterator[Server]:
    """Run the server as a module in a guest; the guest must survive whatever the tests do."""
    tree = folder / "tree"
    (tree / "init").mkdir(parents=True)
    for name, text in {"true": "return 0;", "stay": "for (;;) pause();"}.items():
        source = f"#include <unistd.h>\nint main(void) {{ {text} }}\n"
        command = ["gcc", "-x", "c", "-", "-o", str(tree / name)]
        subprocess.run(command, input=source, text=True, check=True)
    (tree / "init" / "30-auto-00").write_text(" ".join(["/libhttpserver-api.so", *options, "&!\n"]))
    with osvlab.run(tree, "/stay", modules=["httpserver"], ports=[8000], memory="256M", timeout=1700) as vm:
        vm.wait_for("Rest API server running on port 8000", 60)
        yield Server("127.0.0.1", vm.ports[8000], "/tmp", "/true", True)
        assert vm.running, vm.console.text


PLACES = ["linux", pytest.param("guest", marks=pytest.mark.qemu)]
Place = Callable[..., contextlib.AbstractContextManager[Server]]


def place(where: str, program: Path) -> Place:
    """Return what runs the server in one of the `PLACES`, in a folder and with options."""
    if where == "guest":
        return in_guest
    return lambda folder, *options: on_linux(program, folder, *options)
