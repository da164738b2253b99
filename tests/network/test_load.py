"""Many requests, connections, and clients in no hurry: all are answered, and no memory is lost."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import osvlab
from osvlab.demo import static_busybox
from osvlab.vm.vm import VM
from tests.network.inside import counts

pytestmark = pytest.mark.qemu

PAGE = 4096
BOUNDED = 200 << 10
"""Bytes that stay: the pool of 64 packets, pages that heaps keep for later, the buffers of the server."""


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[VM]:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "busybox").write_bytes(static_busybox().read_bytes())
    (tree / "busybox").chmod(0o755)
    options = {"modules": ["httpserver"], "ports": [8000], "memory": "64M"}
    with osvlab.run(tree, "/busybox sleep 10000", timeout=1800, **options) as vm:  # type: ignore[arg-type]
        vm.wait_for("running on port 8000", 60)
        yield vm


def connect(vm: VM) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", vm.ports[8000], timeout=60)


def ask(connection: http.client.HTTPConnection, target: str = "/os/memory/free") -> bytes:
    connection.request("GET", target)
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status == 200, body
    return body


def one_by_one(vm: VM, connections: int, by_guest: bool) -> None:
    """Use so many connections for a request each; every other one may be closed by the guest."""
    for number in range(connections):
        with closing(connect(vm)) as connection:
            last = {"Connection": "close"} if by_guest and number % 2 else {}
            connection.request("GET", "/os/name", headers=last)
            assert connection.getresponse().read()


def only_the_listener(vm: VM, seconds: float = 150) -> None:
    """Wait until all connections are gone; those that the guest has closed first rest for a minute."""
    deadline = time.monotonic() + seconds
    while counts(vm).connections != 1:
        assert time.monotonic() < deadline, counts(vm)
        time.sleep(0.2)


def free_after(vm: VM, requests: int, connections: int, *, by_guest: bool) -> tuple[int, int]:
    """Return the bytes that are free before and after all that."""
    one_by_one(vm, 50, by_guest)
    only_the_listener(vm)
    before = counts(vm).free_pages * PAGE
    with closing(connect(vm)) as connection:
        for number in range(requests):
            ask(connection, ("/os/memory/free", "/os/threads", "/network/ifconfig/", "/fs/df/")[number % 4])
    one_by_one(vm, connections, by_guest)
    only_the_listener(vm)
    return before, counts(vm).free_pages * PAGE


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_thousand_requests_and_two_thousand_connections_take_no_memory(vm: VM) -> None:
    before, after = free_after(vm, 10_000, 2_000, by_guest=True)
    print(f"free: {before} before, {after} after")
    assert before - after < BOUNDED


def test_requests_and_connections_take_no_memory(vm: VM) -> None:
    before, after = free_after(vm, 500, 200, by_guest=False)
    assert before - after < BOUNDED


class Slow:
    """Clients that send a byte of a request now and then, until they are cut off, and come again."""

    def __init__(self, vm: VM, clients: int) -> None:
        self._port = vm.ports[8000]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._drip) for _ in range(clients)]

    def __enter__(self) -> Slow:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _drip(self) -> None:
        while not self._stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
                    for byte in b"GET /os/name HTTP/1.1\r\nX-Slow: " + b"y" * 10_000:
                        connection.sendall(bytes([byte]))
                        if self._stop.wait(0.1):
                            return
            except OSError:
                continue


def idle_and_slow(vm: VM, idle: int) -> float:
    """Return the seconds that the slowest of some honest requests took meanwhile."""
    worst = 0.0
    with ExitStack() as stack:
        for _ in range(idle):
            ask(stack.enter_context(closing(connect(vm))))
        stack.enter_context(Slow(vm, 5))
        for _ in range(50):
            begun = time.monotonic()
            with closing(connect(vm)) as honest:
                ask(honest)
            worst = max(worst, time.monotonic() - begun)
            time.sleep(0.02)
    return worst


def test_idle_connections_and_slow_senders_hold_up_nobody(vm: VM) -> None:
    assert idle_and_slow(vm, 100) < 10


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_five_hundred_idle_connections_and_slow_senders_take_no_memory(vm: VM) -> None:
    idle_and_slow(vm, 20)
    only_the_listener(vm)
    before = counts(vm).free_pages * PAGE
    print(f"slowest honest request: {idle_and_slow(vm, 500):.3f} s")
    only_the_listener(vm)
    after = counts(vm).free_pages * PAGE
    print(f"free: {before} before, {after} after")
    assert before - after < BOUNDED
