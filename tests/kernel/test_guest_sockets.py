"""Sockets in the guest: the same programs, and the same errors, on Linux and on the lab kernel."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image
from tests.kernel import programs
from tests.kernel.programs import check_on_linux, compile_program

NAMES = ["local", "rights", "waiting", "datagrams", "streams", "tcp_sockets", "interfaces", "tables"]
# Wild pointers are what it is about.
ERRORS_FLAGS = ["-static", "-Wno-stringop-overread", "-Wno-stringop-overflow", "-Wno-nonnull"]

pytestmark = pytest.mark.qemu


console_of = partial(programs.console_of, timeout=120)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("sockets")
    for name in NAMES:
        compile_program(f"network/{name}", tree / name)
        compile_program(f"network/{name}", tree / f"{name}-static", "-static")
    compile_program("network/errors", tree / "errors", *ERRORS_FLAGS)
    compile_program("network/echo", tree / "echo")
    shutil.copy("/bin/busybox", tree)
    return build(tree, command="/local /tmp", output=tree.parent / "sockets.img")


@pytest.mark.parametrize("linkage", ["", "-static"])
@pytest.mark.parametrize("name", NAMES)
def test_program_passes_on_linux_and_on_the_lab_kernel(
    name: str, linkage: str, image: Image, tmp_path: Path
) -> None:
    check_on_linux(f"network/{name}", linkage, tmp_path)
    assert f"{name}: ok" in console_of(image, f"/{name}{linkage} /tmp")


def test_every_error_is_the_one_that_linux_gives(image: Image, tmp_path: Path) -> None:
    program = compile_program("network/errors", tmp_path / "errors", *ERRORS_FLAGS)
    host = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
    assert console_of(image, "/errors").rstrip().splitlines() == host.stdout.splitlines()


def exchange(clients: list[socket.socket], size: int) -> None:
    for number, client in enumerate(clients):
        client.sendall(b"%04d" % number * (size // 4))
    for number, client in enumerate(clients):
        data = b""
        while len(data) < size:
            piece = client.recv(size - len(data))
            assert piece, f"connection {number} ended after {len(data)} of {size} bytes"
            data += piece
        assert data == b"%04d" % number * (size // 4)


def talk(port: int, connections: int) -> None:
    """Hold so many connections to an echo server at once, say something on each, and end the server.

    Each answers before the next one is made: QEMU accepts one at a time, and when two come at once, the
    host tries again only after a second.
    """
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        for _ in range(connections):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)))
            exchange(clients[-1:], 4)
        exchange(clients, 100)
        exchange(clients, 5000)
        clients[0].sendall(b"quit")
        assert clients[0].recv(10) == b"quit"


CONNECTIONS = 500


def test_textbook_echo_server_on_linux(tmp_path: Path) -> None:
    program = compile_program("network/echo", tmp_path / "echo")
    with subprocess.Popen([program, "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        started = re.match(r"listening on (\d+)", server.stdout.readline())
        assert started is not None
        talk(int(started[1]), CONNECTIONS)
        assert server.wait(60) == 0


def test_textbook_echo_server_serves_500_connections_in_the_guest(image: Image) -> None:
    with osvlab.run(image, command="/echo 7", memory="64M", ports={7: None}, timeout=180) as vm:
        vm.wait_for("listening on 7")
        talk(vm.ports[7], CONNECTIONS)
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert "echo: ok" in vm.console.text


def test_netstat_shows_what_listens(image: Image) -> None:
    said = console_of(image, "/tables /tmp /busybox netstat -tuln")
    tcp, udp = re.findall(r"\d+", said.partition("ports ")[2])[:2]
    assert "No such file" not in said
    assert re.search(rf"^tcp +0 +0 127\.0\.0\.1:{tcp} +0\.0\.0\.0:\* +LISTEN", said, re.MULTILINE), said
    assert re.search(rf"^udp +\d+ +0 127\.0\.0\.1:{udp} +0\.0\.0\.0:\*", said, re.MULTILINE), said
    said = console_of(image, "/tables /tmp /busybox netstat -x -a")
    assert re.search(r"^unix .*ACC.*STREAM +LISTENING .*@tables", said, re.MULTILINE), said
