"""Real peers: the host's curl, nc and http.client against a guest, and what tshark thinks of it all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

import osvlab
from osvlab.demo import static_busybox
from osvlab.image.image import Image
from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.gateway import Gateway
from tests.network.switch import Switch, Weather
from tests.network.transfers import boot, build_image, said, weather_of

pytestmark = pytest.mark.qemu

# Severities in Wireshark's epan/proto.h: 0x200000 chat, 0x400000 note, 0x600000 warning, 0x800000 error.
WARNINGS = (
    "_ws.expert.severity >= 0x600000"
    # A window that is full or closed is flow control at work.
    " && !tcp.analysis.window_full && !tcp.analysis.zero_window"
)
CHECKED = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
# An acknowledgement that says the same twice is the sign of a loss, and here nothing is lost.
REPEATED = "tcp.analysis.duplicate_ack && ip.src == {}"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def frames(capture: Path, wanted: str, *more: str) -> list[str]:
    """Return tshark's line for each wanted frame."""
    argv = [tool("tshark"), "-n", "-r", capture, *CHECKED, *more, "-Y", wanted]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("peers")
    (tree / "busybox").write_bytes(static_busybox().read_bytes())
    (tree / "busybox").chmod(0o755)
    return osvlab.build(
        tree, "/busybox sleep 1000", modules=["httpserver"], output=tree.parent / "peers.img"
    )


def run(image: Image, capture: Path | None = None) -> VM:
    vm = osvlab.run(image, ports=[8000], capture=capture, memory="64M", timeout=120)
    vm.wait_for("running on port 8000", 60)
    return vm


def curl(vm: VM, path: str, *options: str | Path) -> bytes:
    argv = [tool("curl"), "-sS", "--fail", "--max-time", "60", *options, vm.url(8000, path)]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout


def test_curl(image: Image, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(3_000_000))
    with run(image) as vm:
        name = curl(vm, "/os/name")
        assert curl(vm, "/os/name", "--http1.0") == name
        assert curl(vm, "/os/name", "-H", "Connection: close") == name
        binary = ("-H", "Content-Type: application/octet-stream")
        curl(vm, "/file/tmp/x", *binary, "--data-binary", f"@{sent}")  # announced with Expect: 100-continue
        curl(vm, "/file/tmp/y", *binary, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{sent}")
        curl(vm, "/file/tmp/z", "-F", f"file=@{sent}")  # a form
        for copy in "xyz":
            assert curl(vm, f"/file/tmp/{copy}?op=GET") == sent.read_bytes()
        assert curl(vm, "/file/tmp/x?op=GET", "-r", "100-199") == sent.read_bytes()[100:200]
        urls = [vm.url(8000, "/os/name")] * 40  # one after the other over a connection that is kept
        argv = [tool("curl"), "-sS", "--fail", "--max-time", "60", "-w", "%{num_connects} ", *urls]
        answers = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
        assert answers == name + b"1 " + (name + b"0 ") * 39


def test_nc(image: Image) -> None:
    """Debian's nc, which half-closes (-N), connects without a word (-z), and breaks off."""
    with run(image) as vm:
        port = str(vm.ports[8000])
        request = b"GET /os/name HTTP/1.1\r\nHost: x\r\n\r\n"
        argv = [tool("nc"), "-N", "-w", "60", "127.0.0.1", port]
        answer = subprocess.run(argv, input=request * 3, stdout=subprocess.PIPE, check=True).stdout
        assert answer.count(b"HTTP/1.1 200 OK") == 3
        subprocess.run([tool("nc"), "-z", "127.0.0.1", port], check=True)
        with subprocess.Popen([tool("nc"), "127.0.0.1", port], stdin=subprocess.PIPE) as cut_off:
            cut_off.kill()
        assert curl(vm, "/os/name")


def test_a_clean_exchange_is_clean_for_tshark(image: Image, tmp_path: Path) -> None:
    capture = tmp_path / "exchange.pcap"
    data = os.urandom(5_000_000)
    with run(image, capture) as vm:
        connection = http.client.HTTPConnection("127.0.0.1", vm.ports[8000], timeout=60)
        with contextlib.closing(connection):  # closed by the peer
            for _ in range(20):
                connection.request("GET", "/os/threads")
                assert connection.getresponse().read()
            binary = {"Content-Type": "application/octet-stream"}
            connection.request("POST", "/file/tmp/x", data, binary)
            assert (reply := connection.getresponse()).read() == b""
            assert reply.status == 200
            connection.request("GET", "/file/tmp/x?op=GET")
            assert hashlib.sha256(connection.getresponse().read()).digest() == hashlib.sha256(data).digest()
        with socket.create_connection(("127.0.0.1", vm.ports[8000]), timeout=60) as other:
            other.sendall(b"GET /os/name HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while other.recv(4096):  # closed by the guest
                continue
    assert len(frames(capture, "tcp.flags.fin == 1")) >= 4
    assert len(frames(capture, "tcp.len > 0")) > 2 * len(data) / 1460
    assert frames(capture, WARNINGS) == []
    assert len(frames(capture, REPEATED.format("10.0.2.15"))) < 5


def test_two_guests_are_clean_for_tshark(tmp_path: Path) -> None:
    """With all options agreed on: timestamps, SACK, a window that is scaled."""
    capture = tmp_path / "guests.pcap"
    image = build_image(tmp_path)
    size = 5_000_000
    with Switch() as switch, ExitStack() as guests:
        server = boot(guests, image, switch, 1, f"/transfer listen 5000 {size}")
        said(server, "listening", 60)
        command = f"--ip=eth0,10.9.0.2,255.255.255.0 /transfer 10.9.0.1 5000 {size}"
        card = Network(switch=switch.path, mac="02:00:00:00:00:02", capture=capture)
        client = guests.enter_context(osvlab.run(image, command, network=card, memory="64M", timeout=120))
        for vm in (server, client):
            said(vm, "transfer: ok", 60)
        guests.close()
    plain = ("-d", "tcp.port==5000,data")  # the port has protocols of its own
    assert len(frames(capture, "tcp.options.timestamp.tsval && tcp.len > 0", *plain)) > 2 * size / 1460
    assert len(frames(capture, "tcp.options.sack_perm && tcp.options.wscale.shift == 2", *plain)) == 2
    assert frames(capture, WARNINGS, *plain) == []


def fetch_through(weather: Weather, image: Image, size: int) -> None:
    """Fetch so many bytes through bad weather, with a TCP that knows no SACK, scale or timestamps.

    Not the other way: that TCP waits ever longer before it sends again, until the server takes it for dead.
    """
    data = random.Random(weather.seed).randbytes(size)
    with Switch() as switch, Gateway(switch, 8000) as gateway:
        card = Network(switch=switch.path)
        with osvlab.run(image, network=card, memory="128M", timeout=800) as vm:
            vm.wait_for("running on port 8000", 60)
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=400)
            with contextlib.closing(connection):
                connection.request("POST", "/file/tmp/x", data, {"Content-Type": "application/octet-stream"})
                assert connection.getresponse().read() == b""
                switch.weather = weather
                connection.request("GET", "/file/tmp/x?op=GET")
                got = connection.getresponse().read()
            assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


def test_another_tcp_through_bad_weather(image: Image) -> None:
    fetch_through(weather_of(11), image, 500_000)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(200, 212))
def test_many_bytes_to_another_tcp(image: Image, seed: int) -> None:
    fetch_through(weather_of(seed), image, 10_000_000)
