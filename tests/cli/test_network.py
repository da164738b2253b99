"""`osvlab run` with a network: ports, outbound connections, captures, modules, cloud-init."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Lab

pytestmark = pytest.mark.qemu


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "application"
    folder.mkdir()
    shutil.copy("/bin/busybox", folder)
    return folder


def port_line(process: subprocess.Popen[bytes]) -> str:
    """Read what a started `osvlab run` says, up to the line about a port."""
    assert process.stderr is not None
    for line in process.stderr:
        if b" is port " in line or b'"event": "port"' in line:
            return line.decode()
    raise AssertionError("it said nothing of a port")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answer(url: str) -> object:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}os/version", timeout=30) as reply:
        return json.load(reply)


SERVES = ("--module", "httpserver", "--", "/busybox sleep 1000")


def started(lab: Lab, app: Path, *options: str) -> str:
    """Start a guest with the REST server, and return what is said of its port once it serves."""
    process = lab.start("run", app, *options, *SERVES)
    line = port_line(process)
    assert process.stdout is not None
    while b"Rest API server running" not in process.stdout.readline():
        pass
    return line


def test_a_free_port_is_chosen_and_told(lab: Lab, app: Path) -> None:
    line = started(lab, app, "--port", "8000")
    told = re.search(r"(http://127\.0\.0\.1:\d+/) is port 8000 of the guest", line)
    assert told is not None, line
    assert answer(told[1])


def test_a_port_can_be_named_and_is_told_in_json(lab: Lab, app: Path) -> None:
    port = free_port()
    told = json.loads(started(lab, app, "--json", "--port", f"{port}:8000"))
    assert (told["event"], told["port"], told["url"]) == ("port", 8000, f"http://127.0.0.1:{port}/")
    assert answer(told["url"])


def test_a_port_in_use_is_named(lab: Lab, app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = lab("run", app, "--port", f"{port}:80", "--", "/busybox", "true")
    assert ended.returncode == 125
    assert f"port {port} of 127.0.0.1: address already in use" in ended.stderr
    assert "hint: Choose another port" in ended.stderr
    assert lab.guests() == []


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        (["web"], "--port web: not [HOST:]GUEST"),
        ([":80"], "--port :80: not [HOST:]GUEST"),
        (["127.0.0.1:80:80"], "not [HOST:]GUEST"),
        (["70000"], "there is no port 70000"),
        (["0:80"], "there is no port 0"),
        (["80", "81:80"], "--port 81:80: port 80 of the guest is forwarded already"),
        (["8080:80", "8080:81"], "port 8080 of the host is forwarded twice"),
    ],
)
def test_ports_that_cannot_be(lab: Lab, app: Path, ports: list[str], said: str) -> None:
    ended = lab("run", app, *(word for port in ports for word in ("--port", port)), "--", "/busybox", "true")
    assert ended.returncode == 125
    assert said in ended.stderr
    assert "hint: " in ended.stderr


@pytest.fixture
def web() -> Iterator[int]:
    """A server of this host's own; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the host\n")

        def log_message(self, *words: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_only_with_network_the_guest_opens_connections(lab: Lab, app: Path, web: int) -> None:
    command = ("--", "/busybox", "wget", "-q", "-O", "-", f"http://10.0.2.2:{web}/")
    ended = lab("run", app, "--network", *command)
    assert (ended.returncode, "from the host\n" in ended.stdout) == (0, True), ended.stdout
    ended = lab("run", app, "--port", "80", *command)
    assert (ended.returncode, "from the host" in ended.stdout) == (1, False), ended.stdout


def test_frames_are_captured(lab: Lab, app: Path, tmp_path: Path) -> None:
    capture = tmp_path / "frames.pcap"
    assert lab("run", app, "--capture", capture, "--", "/busybox", "true").returncode == 0
    packets = subprocess.run(["tshark", "-r", capture], capture_output=True, text=True, check=True).stdout
    assert "DHCP Discover" in packets
    ended = lab("run", app, "--capture", tmp_path / "no" / "such", "--", "/busybox", "true")
    assert ended.returncode == 125
    assert "no/such" in ended.stderr


def test_modules_that_cannot_be(lab: Lab, app: Path, tmp_path: Path) -> None:
    ended = lab("run", app, "--module", "httpsever")
    assert ended.returncode == 125
    assert "no such module: httpsever" in ended.stderr
    assert "hint: Did you mean httpserver?" in ended.stderr
    image = tmp_path / "app.img"
    assert lab("build", app, "-o", image, "--", "/busybox", "true").returncode == 0
    ended = lab("run", image, "--module", "httpserver")
    assert ended.returncode == 125
    assert "is an image already" in ended.stderr


def test_cloud_init_configures_the_guest(lab: Lab, app: Path, tmp_path: Path) -> None:
    config = tmp_path / "user-data.yaml"
    config.write_text("files:\n  /tmp/hello: from cloud-init\n")
    ended = lab("run", app, "--cloud-init", config, "--", "/busybox", "cat", "/tmp/hello")
    assert ended.returncode == 0, ended.stderr
    assert "from cloud-init" in ended.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hostnam: web\n", "user-data.yaml, line 1: unknown key: hostnam"),
        ("- a list\n", "must be a mapping"),
        ("files: {/a: b\n", "user-data.yaml, line 1: no YAML"),
        (None, "cannot read"),
    ],
)
def test_a_wrong_configuration_boots_nothing(
    lab: Lab, app: Path, tmp_path: Path, text: str | None, said: str
) -> None:
    config = tmp_path / "user-data.yaml"
    if text is not None:
        config.write_text(text)
    ended = lab("run", app, "--cloud-init", config, "--", "/busybox", "true")
    assert ended.returncode == 125
    assert said in ended.stderr
    assert "hint: " in ended.stderr
    assert "OSv" not in ended.stdout
