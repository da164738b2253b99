"""Programs that nobody wrote for this kernel: resolvers, Python's servers, servers of the distribution."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import osvlab
from osvlab.image.image import Image
from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.names import NameServer
from tests.network.programs import add_program, add_python
from tests.network.switch import Switch

pytestmark = pytest.mark.qemu

RESOLVE = Path(__file__).parent.parent / "kernel" / "guest" / "network" / "resolve.c"
NAMES = {"lab.example": "10.3.0.77", "web.lab.example": "10.3.0.1"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("resolvers")
    shutil.copy("/bin/busybox", tree)
    compilers = {"dynamic": ["gcc"], "musl": ["musl-gcc", "-static"], "glibc": ["gcc", "-static", "-w"]}
    for name, compiler in compilers.items():
        # What is static and of glibc warns when it is linked.
        argv = [*compiler, RESOLVE, "-o", tree / name]
        subprocess.run(argv, check=True, capture_output=True)
    return osvlab.build(tree, "/dynamic", modules=["httpserver"], output=tree.parent / "resolvers.img")


def said(image: Image, switch: Switch, command: str) -> str:
    options = "--ip=eth0,10.3.0.2,255.255.255.0 --nameserver=10.3.0.9"
    card = Network(switch=switch.path, mac="02:00:00:00:00:02")
    with osvlab.run(image, f"{options} {command}", network=card, memory="64M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        return vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("program", ["dynamic", "musl", "glibc"])
def test_names_are_resolved(image: Image, program: str, lost: int) -> None:
    """By the kernel's libc, by a static musl, by a static glibc; asked again where a question was lost."""
    with Switch() as switch, NameServer(switch, "10.3.0.9", NAMES, silent=lost) as server:
        text = said(image, switch, f"/{program} lab.example no.example localhost 1.2.3.4")
    assert "lab.example: 10.3.0.77 port 80\n" in text
    assert re.search("^no.example: Name ", text, re.MULTILINE)
    assert "localhost: 127.0.0.1 port 80\n1.2.3.4: 1.2.3.4 port 80\n" in text
    assert server.asked[: lost + 1] == ["lab.example"] * (lost + 1)


def test_busybox_looks_up_and_fetches(image: Image) -> None:
    with Switch() as switch, NameServer(switch, "10.3.0.9", NAMES):
        assert "Address: 10.3.0.77\n" in said(image, switch, "/busybox nslookup lab.example")
        card = Network(switch=switch.path, mac="02:00:00:00:00:01")
        command = "--ip=eth0,10.3.0.1,255.255.255.0 /busybox sleep 1000"
        with osvlab.run(image, command, network=card, memory="64M", timeout=60) as server:
            server.wait_for("running on port 8000", 30)
            text = said(image, switch, "/busybox wget -q -O - http://web.lab.example:8000/os/name")
    assert '"OSv lab kernel"' in text


# --- Servers ---------------------------------------------------------------------------------------------

ECHO = """
import asyncio

async def serve(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 7)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()

asyncio.run(main())
"""
PAGE = "hello\n" * 1000


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Image:
    interpreter = Path("/usr/bin/python3").resolve()
    library = Path("/usr/lib") / interpreter.name
    if not (library / "lib-dynload").is_dir() or not (library / "asyncio").is_dir():
        pytest.skip("the distribution's own Python is not here")
    tree = tmp_path_factory.mktemp("python")
    add_python(tree, interpreter, library)
    (tree / "echo.py").write_text(ECHO)
    (tree / "www").mkdir()
    (tree / "www" / "page.txt").write_text(PAGE)
    return osvlab.build(tree, "/python", output=tree.parent / "python.img", check=False)


def get_page(vm: VM) -> None:
    with urllib.request.urlopen(vm.url(80, "/page.txt"), timeout=60) as reply:
        assert reply.read().decode() == PAGE


def test_http_server_of_python(python: Image) -> None:
    command = "/python -m http.server 80 -d /www"
    with osvlab.run(python, command, ports=[80], memory="256M", timeout=120) as vm:
        vm.wait_for("Serving HTTP", 90)
        for _ in range(5):
            get_page(vm)


def test_asyncio(python: Image) -> None:
    with osvlab.run(python, "/python /echo.py", ports=[7], memory="256M", timeout=120) as vm:
        vm.wait_for("listening", 90)
        data = bytes(range(256)) * 500
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", vm.ports[7]), timeout=60) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                got = b""
                while piece := connection.recv(1 << 16):
                    got += piece
            assert got == data


LIGHTTPD = (
    'server.document-root = "/www"\nserver.port = 80\nserver.upload-dirs = ("/tmp")\nserver.modules = ()\n'
)
# It starts no processes of its own.
NGINX = """daemon off; master_process off; error_log stderr notice; pid /tmp/pid;
events {}
http {
    access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server { listen 80; root /www; }
}
"""


def talk_to_redis(vm: VM) -> None:
    with socket.create_connection(("127.0.0.1", vm.ports[6379]), timeout=60) as connection:
        answers = connection.makefile("rb")
        for number in range(1, 1001):
            connection.sendall(b"INCR counter\r\n")
            assert answers.readline() == b":%d\r\n" % number
        value = b"x" * 1_000_000
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\nGET a\r\n" % (len(value), value))
        assert answers.readline() == b"+OK\r\n"
        assert answers.readline() == b"$%d\r\n" % len(value)
        assert answers.read(len(value) + 2) == value + b"\r\n"


# redis-check-rdb is redis-server under another name, in a package that starts no service.
SERVERS: dict[str, tuple[str, str, int, str, Callable[[VM], None]]] = {
    "redis": ("redis-check-rdb", "--save '' --appendonly no --protected-mode no", 6379,
              "Ready to accept connections", talk_to_redis),
    "lighttpd": ("lighttpd", "-D -f /lighttpd.conf", 80, "server started", get_page),
    "nginx": ("nginx", "-c /nginx.conf -e stderr -p /tmp", 80, "epoll", get_page),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVERS)
def test_server_of_the_distribution(name: str, tmp_path: Path) -> None:
    binary, arguments, port, ready, talk = SERVERS[name]
    program = shutil.which(binary, path="/usr/bin:/usr/sbin")
    if program is None:
        pytest.skip(f"no {name} here")
    tree = tmp_path / "tree"
    (tree / "www").mkdir(parents=True)
    (tree / "etc").mkdir()
    add_program(tree, Path(program), f"{name}-server")
    (tree / "www" / "page.txt").write_text(PAGE)
    (tree / "lighttpd.conf").write_text(LIGHTTPD)
    (tree / "nginx.conf").write_text(NGINX)
    (tree / "etc" / "passwd").write_text("root:x:0:0::/:\nnobody:x:65534:65534::/:\n")
    (tree / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    command = f"/{name}-server {arguments}"
    with osvlab.run(tree, command, ports=[port], memory="128M", timeout=120) as vm:
        vm.wait_for(ready, 60)
        talk(vm)
        assert vm.running
