"""HTTP/1.1 itself: connections, framing, limits, refusals. The same tests on Linux and in a guest."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import host, httpserver
from tests.kernel.httpserver import Server, ask, read_all

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
RAW = b"Content-Type: application/octet-stream\r\n"
HOST = b"Host: x\r\n"
# Nothing in here starts a program or reaches beyond the served folder, also when it is changed a little.
CORPUS = [
    b"GET /os/name HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /file//?op=LISTSTATUS&x=%41+ HTTP/1.0\r\n\r\n",
    b"POST /env/A?val=1 HTTP/1.1\r\nContent-Length: 5\r\n" + HOST + FORM + b"\r\nval=2",
    b"POST /file/tmp/fuzz HTTP/1.1\r\nContent-Length: 86\r\n"
    + HOST
    + b"Content-Type: multipart/form-data; boundary=B\r\n\r\n--B\r\n"
    + b'Content-Disposition: form-data; name="f"; filename="g"\r\n\r\ndata\r\n-- \r\n--B--\r\n',
    b"POST /file/tmp/fuzz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    + HOST
    + RAW
    + b"\r\n5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
    b"GET /file/etc/hosts?op=GET&offset=1&length=3 HTTP/1.1\r\nRange: bytes=1-2\r\n" + HOST + b"\r\n"
    b"HEAD /os/threads HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n",
    b"POST /api/batch HTTP/1.1\r\nContent-Length: 66\r\n" + HOST + FORM + b"\r\n"
    b'batch=[{"method":"GET","relative_url":"/os/\\u0061"},{"method":""}] ',
    b"PUT /file/tmp/fuzz?op=COPY&destination=/tmp/2&permission=644&overwrite=1 HTTP/1.1\r\n"
    + HOST
    + b"\r\n",
    b"DELETE /file/tmp/2?op=DELETE&recursive=true HTTP/1.1\r\nExpect: 100-continue\r\n" + HOST + b"\r\n",
    b"GET /trace/status?match=a*%28b%29 HTTP/1.1\r\nAuthorization: Bearer x\r\n" + HOST + b"\r\n",
    b"OPTIONS /app HTTP/1.1\r\n" + HOST + b"\r\n\r\nGET /api-doc/os/ HTTP/1.1\r\nHost: y\r\n\r\n",
]


@pytest.fixture(scope="module", params=httpserver.PLACES)
def server(
    request: pytest.FixtureRequest, rest_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    run = httpserver.place(request.param, rest_program)
    with run(tmp_path_factory.mktemp("run"), "--timeout=2") as running:
        yield running


def status(reply: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d{3}) [A-Z]", reply)
    assert match, reply
    return int(match[1])


def request(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *(fields or (b"Host: x",)), b"", body])


def test_a_connection_is_kept(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        for _ in range(3):
            answer = ask(connection, "GET", "/os/name")
            assert answer.status == 200
            assert "Connection" not in answer.headers
            mark = connection.sock
        assert mark is connection.sock
        ask(connection, "GET", "/nope")
        assert ask(connection, "GET", "/os/name", headers={"Connection": "close"}).status == 200
        assert connection.sock is None


def test_old_clients_are_answered_and_left(server: Server) -> None:
    reply = server.talk(b"GET /os/name HTTP/1.0\r\n\r\n", half_close=False)
    assert b"Connection: close" in reply
    both = server.talk(
        b"GET /os/name HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /os/name HTTP/1.0\r\n\r\n",
        half_close=False,
    )
    assert both.count(b"HTTP/1.1 200 OK") == 2
    assert b"Connection: keep-alive" in both
    assert status(server.talk(b"GET /os/name HTTP/1.0\n\n", half_close=False)) == 200


def test_pipelining(server: Server) -> None:
    server.ask("PUT", f"/file{server.writable}/big?op=WRITE&overwrite=1&content=" + "x" * 4000)
    body = b"val=pipe"
    form = b"Content-Type: application/x-www-form-urlencoded"
    requests = [
        request(b"GET /os/name HTTP/1.1"),
        request(b"POST /env/PIPE HTTP/1.1", b"Host: x", form, b"Content-Length: %d" % len(body), body=body),
        request(f"GET /file{server.writable}/big?op=GET HTTP/1.1".encode()),
        request(b"GET /env/PIPE HTTP/1.1"),
    ]
    reply = server.talk(b"".join(requests) * 60, half_close=True)
    assert reply.count(b"HTTP/1.1 200 OK\r\n") == 240
    assert reply.endswith(b'\r\n\r\n"pipe"')


def test_one_byte_at_a_time(server: Server) -> None:
    with server.socket() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in CORPUS[4].replace(b"tmp/fuzz", b"tmp/slow"):
            connection.sendall(bytes([byte]))
        connection.shutdown(socket.SHUT_WR)
        assert status(read_all(connection)) == 200


def test_head_is_get_without_the_body(server: Server) -> None:
    get, head = server.ask("GET", "/os/name"), server.ask("HEAD", "/os/name")
    assert head.body == b""
    assert head.headers["Content-Length"] == str(len(get.body))
    head = server.ask("HEAD", "/file/etc/hosts?op=GET")
    assert int(head.headers["Content-Length"]) > 0


def test_methods(server: Server) -> None:
    answer = server.ask("PUT", "/os/name")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.json["code"] == 405
    answer = server.ask("OPTIONS", "/env/X")
    assert (answer.status, answer.headers["Allow"]) == (200, "GET, HEAD, POST, DELETE, OPTIONS")
    assert answer.headers["Content-Length"] == "0"
    assert server.ask("BREW", "/os/name").status == 501
    assert server.ask("OPTIONS", "/nope").status == 404


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"GET /os/name HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET /os/name HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /os/name HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /os/name\r\n\r\n", 400),
        (b"GET  /os/name HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G\x00T /os/name HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /os/name HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /os/name HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET /os/name HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
        (b"GET /os/name HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 17000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # somebody speaks TLS
    ],
)
def test_heads_that_are_refused(server: Server, message: bytes, expected: int) -> None:
    reply = server.talk(message, half_close=False)
    assert status(reply) == expected
    assert b"Connection: close" in reply
    assert b'"code": %d}' % expected in reply


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: 3, 3",
        b"Content-Length: +3",
        b"Content-Length: -1",
        b"Content-Length: 0x3",
        b"Content-Length: 3 3",
        b"Content-Length:",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
    ],
)
def test_what_two_readers_could_measure_differently_is_refused(server: Server, fields: bytes) -> None:
    smuggled = b"GET /os/name HTTP/1.1\r\nHost: x\r\n\r\n"
    message = b"POST /env/A?val=1 HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n" + smuggled
    reply = server.talk(message, half_close=False)
    assert status(reply) in (400, 501)
    assert reply.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n",
        b"g\r\n",
        b"\r\n",
        b"-1\r\n",
        b"ffffffffffffffff1\r\n",
        b"0x5\r\n",
    ],
)
def test_chunks_that_are_none(server: Server, chunks: bytes) -> None:
    head = b"POST /env/A?val=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(server.talk(head + chunks, half_close=False)) == 400


def test_chunked_bodies(server: Server) -> None:
    form = b"Content-Type: application/x-www-form-urlencoded"
    head = request(b"POST /env/CHUNKS HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked", form)
    chunks = b"4\r\nval=\r\n00A ;a=b\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
    reply = server.talk(head + chunks + request(b"GET /env/CHUNKS HTTP/1.1"))
    assert reply.endswith(b'"0123456789"')


def test_a_body_is_invited(server: Server) -> None:
    with server.socket() as connection:
        head = f"POST /file{server.writable}/invited HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
        head += "Content-Type: application/octet-stream\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        connection.shutdown(socket.SHUT_WR)
        assert status(read_all(connection)) == 200
    head = head.replace("/file", "/nope")
    assert status(server.talk(head.encode(), half_close=False)) == 404  # and no invitation


def test_large_bodies_are_refused_unless_they_go_to_a_file(server: Server) -> None:
    assert server.ask("POST", "/os/hostname?name=x", b"y" * 300_000).status == 413
    head = request(b"POST /env/A?val=1 HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked")
    assert status(server.talk(head + b"50000\r\n" + b"x" * 0x50000 + b"\r\n0\r\n\r\n")) == 413


def test_the_body_limit(rest_program: Path, tmp_path: Path) -> None:
    raw = {"Content-Type": "application/octet-stream"}
    with httpserver.on_linux(rest_program, tmp_path, "--body-limit=10K") as server:
        assert server.ask("POST", f"/file{server.writable}/x", b"x" * 10240, raw).status == 200
        assert server.ask("POST", f"/file{server.writable}/x", b"x" * 10241, raw).status == 413
        left = os.listdir(tmp_path / "root" / "tmp")
    assert left == ["x"]


def test_slow_senders_are_cut_off_and_hold_up_nobody(server: Server) -> None:
    begun = time.monotonic()
    body = b"POST /env/A?val=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc"
    with server.socket() as head, server.socket() as some_body:
        head.sendall(b"GET /os/name HTTP/1.1\r\nHo")
        some_body.sendall(body)
        assert server.get("/os/name")
        for connection in (head, some_body):
            assert status(read_all(connection)) == 408
    assert time.monotonic() - begun > 1.5


def test_a_client_that_does_not_read_holds_up_nobody(server: Server) -> None:
    write = f"/file{server.writable}/unread"
    server.ask("POST", write, b"x" * (8 << 20), {"Content-Type": "application/octet-stream"})
    with server.socket() as lazy:
        lazy.sendall(request(f"GET {write}?op=GET HTTP/1.0".encode()))
        begun = lazy.recv(10)
        assert server.get("/os/name")
        assert len(begun + read_all(lazy)) > 8 << 20  # nothing is lost


def test_five_hundred_idle_connections(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 1024:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    with contextlib.ExitStack() as stack:
        # Each is used once, as QEMU's port forwarding takes connections one by one.
        idle = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(500)]
        for connection in idle:
            assert ask(connection, "GET", "/os/name").status == 200
        for connection in (idle[0], idle[-1]):
            used = connection.sock
            assert ask(connection, "GET", "/os/name").status == 200
            assert connection.sock is used
    assert server.get("/os/name")


def test_more_connections_than_there_can_be_end_the_idle_ones(rest_program: Path, tmp_path: Path) -> None:
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -n 100\nexec {rest_program} "$@"\n')
    limited.chmod(0o755)
    with httpserver.on_linux(limited, tmp_path) as server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.socket()) for _ in range(150)]
        for _ in range(10):
            assert server.get("/os/name")
        assert idle[0].recv(10) == b""  # the oldest had to go


def test_a_large_upload_and_download_take_no_memory(server: Server) -> None:
    size = 100 << 20
    piece = os.urandom(1 << 20)
    target = f"/file{server.writable}/large"
    before = server.get("/os/memory/free")
    with contextlib.closing(server.connect(120)) as connection:
        connection.putrequest("POST", target)
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        for _ in range(size // len(piece)):
            connection.send(piece)
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b"")
        connection.request("GET", target + "?op=GET")
        reply = connection.getresponse()
        for _ in range(size // len(piece)):
            assert reply.read(len(piece)) == piece
        assert reply.read() == b""
    if server.process is not None:
        text = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", text)[1])  # type: ignore[index]
        assert peak < 80 << 10  # with what the sanitizer takes
    full = server.get("/os/memory/free")
    assert server.ask("DELETE", target + "?op=DELETE").status == 200
    if server.in_guest:  # where files are in memory
        assert before - full >= size
        assert before - server.get("/os/memory/free") < 1 << 20


def test_tokens(rest_program: Path, tmp_path: Path) -> None:
    with httpserver.on_linux(rest_program, tmp_path, "--token=s3cret") as server:
        answer = server.ask("GET", "/os/name")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="osvlab"')
        for wrong in (
            "Bearer s3cre",
            "Bearer s3cret ",
            "Bearer s3creT",
            "Basic s3cret",
            "Bearer ",
            "s3crets3cret",
        ):
            got = server.ask("GET", "/os/name", headers={"Authorization": wrong}).status
            assert got == (200 if wrong.strip() == "Bearer s3cret" else 401), wrong
        assert server.ask("OPTIONS", "/os/name").status == 200
        assert server.ask("GET", "/os/name", headers={"Authorization": "bearer s3cret"}).status == 200


@pytest.mark.parametrize(
    ("allowed", "origin", "answered"),
    [
        ("true", "http://a", "*"),
        ("false", "http://a", None),
        ("http://a,http://b", "http://b", "http://b"),
        ("http://a,http://b", "http://c", None),
        ("http://a,http://b", "http://a,http://b", None),
    ],
)
def test_origins(
    rest_program: Path, tmp_path: Path, allowed: str, origin: str, answered: str | None
) -> None:
    with httpserver.on_linux(rest_program, tmp_path, f"--access-allow={allowed}") as server:
        for method in ("GET", "OPTIONS"):
            headers = server.ask(method, "/os/name", headers={"Origin": origin}).headers
            assert headers["Access-Control-Allow-Origin"] == answered
        shown = headers["Access-Control-Allow-Methods"]
        assert shown == ("GET, POST, PUT, OPTIONS, DELETE" if answered else None)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--ssl", "--ssl: this server has no TLS"),
        ("--ssl=yes", "--ssl: this server has no TLS"),
        ("--config-file=/x", "--config-file: this server"),
        ("--frob", "Unrecognized option: --frob\nhttpserver failed: invalid configuration"),
        ("--port=70000", "the argument ('70000') for option '--port' is invalid"),
        ("--port", "the argument ('') for option '--port' is invalid"),
        ("--ipaddress=nowhere", "httpserver failed: address"),
        ("--ipaddress=192.0.2.77", "httpserver failed: bind"),
    ],
)
def test_options_that_are_refused(rest_program: Path, option: str, said: str) -> None:
    ended = subprocess.run([rest_program, option], capture_output=True, text=True, timeout=60, check=False)
    assert said in ended.stdout
    assert ended.returncode == 1


def test_help_and_the_warning(rest_program: Path) -> None:
    ended = subprocess.run([rest_program, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "--token=T" in ended.stdout


# --- hostile input ---------------------------------------------------------------------------------------


def mutated(random: random.Random) -> bytes:
    data = bytearray(random.choice(CORPUS))
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0 if at < len(data):
                data[at] = random.randrange(256)
            case 1:
                data[at:at] = bytes([random.choice(b'\r\n \t:;%&=?/.-\x00\xff09aZ"\\{[')])
            case 2:
                del data[at : at + random.randint(1, 8)]
            case 3:
                other = random.choice(CORPUS)
                start = random.randrange(len(other))
                data[at:at] = other[start : start + random.randint(1, 40)]
            case 4:
                data[at:at] = data[at : at + 20] * random.choice([1, 2, 50])
            case _:
                data = data[:at] or data
    return bytes(data)


def hammer(server: Server, seed: int, count: int) -> None:
    chance = random.Random(seed)
    for number in range(count):
        message = mutated(chance)
        try:
            reply = server.talk(message)
        except (BrokenPipeError, ConnectionResetError):
            continue  # it was refused before all of it was sent; the next one tells whether the server lives
        assert not reply or reply.startswith(b"HTTP/1.1 "), (seed, number, message, reply)
        if number % 500 == 0:
            assert server.get("/os/name"), (seed, number)
    assert server.get("/os/name")


def test_mutated_requests(server: Server) -> None:
    hammer(server, 1, 3000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_mutated_requests(server: Server, seed: int) -> None:
    hammer(server, 100 + seed, 10_000)


def test_the_parts_by_themselves(tmp_path: Path) -> None:
    """Any way of cutting a request into pieces gives the same; nonsense gives no sanitizer's report."""
    names = ("buffer", "json", "json_read", "head", "chunked", "multipart", "uri")
    sources = ["tests/host/httpserver_test.c", *(f"modules/httpserver/{name}.c" for name in names)]
    program = host.build(tmp_path / "httpserver_test", sources, ["-Imodules/httpserver"])
    assert host.run(program, "1", "20000").endswith("parsed as it should\n")
