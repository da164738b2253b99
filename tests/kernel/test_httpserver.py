"""OSv's REST API, route by route: the same tests on Linux under sanitizers and in a guest."""

from __future__ import annotations

import email.utils
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.kernel import httpserver
from tests.kernel.httpserver import Server


@pytest.fixture(scope="module", params=httpserver.PLACES)
def server(
    request: pytest.FixtureRequest, rest_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    run = httpserver.place(request.param, rest_program)
    with run(tmp_path_factory.mktemp("run")) as running:
        yield running


def file(server: Server, name: str) -> str:
    return "/file" + server.writable + "/" + name


# --- /os, /hardware, /fs ---------------------------------------------------------------------------------


def test_os_says_what_it_is(server: Server) -> None:
    for route in ("name", "vendor", "version", "hostname", "cmdline"):
        value = server.get(f"/os/{route}")
        assert isinstance(value, str), route
        assert value, route
    assert isinstance(server.get("/os/dmesg"), str)


def test_os_numbers(server: Server) -> None:
    total, free = server.get("/os/memory/total"), server.get("/os/memory/free")
    assert 0 < free < total
    assert server.get("/os/memory/balloon") == 0
    before = server.get("/os/uptime")
    assert isinstance(before, int)
    assert 0 <= server.get("/os/uptime") - before < 60


def test_os_date_has_osvs_form(server: Server) -> None:
    assert time.strptime(re.sub(r" \w+ (\d{4})$", r" \1", server.get("/os/date")), "%a %b %d %H:%M:%S %Y")


def test_hostname_is_set_and_asked(server: Server) -> None:
    before = server.get("/os/hostname")
    answer = server.ask("POST", "/os/hostname?name=a.b-c")
    assert (answer.status, answer.body) == (200, b'""')
    assert server.get("/os/hostname") == "a.b-c"
    for bad in ("x" * 300, ""):
        assert server.ask("POST", f"/os/hostname?name={bad}").status == 400
    server.ask("POST", f"/os/hostname?name={quote(before)}")
    assert server.get("/os/hostname") == before


def test_threads(server: Server) -> None:
    found = server.get("/os/threads")
    assert abs(found["time_ms"] / 1000 - time.time()) < 86400 * 365 * 30
    keys = {"id", "cpu", "cpu_ms", "switches", "migrations", "preemptions", "priority", "stack_size"}
    assert all(set(thread) == keys | {"status", "name"} for thread in found["list"])
    assert {thread["status"] for thread in found["list"]} <= {"running", "waiting", "terminated"}
    ids = [thread["id"] for thread in found["list"]]
    assert len(ids) == len(set(ids)) > 0
    assert any("http" in thread["name"] for thread in found["list"])


def test_the_command_line_of_the_next_boot_is_bounded(server: Server) -> None:
    assert server.ask("POST", "/os/cmdline?cmdline=" + "x" * 1024).json["message"] == "command line too long"
    assert server.ask("POST", "/os/cmdline").status == 400


def test_hardware(server: Server) -> None:
    assert "sse2" in server.get("/hardware/processor/flags").split()
    assert server.get("/hardware/processor/count") >= 1
    assert server.get("/hardware/firmware/vendor")
    assert server.get("/hardware/hypervisor")


def test_room_on_filesystems(server: Server) -> None:
    keys = {"filesystem", "mount", "btotal", "bfree", "ftotal", "ffree", "blocksize"}
    listed = server.get("/fs/df/")
    assert all(set(one) == keys for one in listed)
    for root in ("/fs/df/%2F", "/fs/df//"):
        assert [one["mount"] for one in server.get(root)] == ["/"]
    answer = server.ask("GET", "/fs/df/nowhere")
    assert (answer.status, answer.json["message"]) == (404, "mount does not exist")


# --- /env ------------------------------------------------------------------------------------------------


def test_environment(server: Server) -> None:
    assert server.ask("POST", "/env/COLOUR?val=dark%20blue+%26").body == b'""'
    assert server.get("/env/COLOUR") == "dark blue &"
    assert "COLOUR=dark blue &" in server.get("/env/")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    server.ask("POST", "/env/COLOUR?val=uri", b"val=body", form)
    assert server.get("/env/COLOUR") == "body"  # the body counts more, as on OSv
    assert server.ask("DELETE", "/env/COLOUR").body == b'""'
    answer = server.ask("GET", "/env/COLOUR")
    assert (answer.status, answer.json) == (400, {"message": "No environment variable COLOUR", "code": 400})
    answer = server.ask("POST", "/env/COLOUR")
    assert (answer.status, answer.json["message"]) == (400, "Missing mandatory parameter 'val'")
    assert server.ask("POST", "/env/A%3DB?val=x").status == 400


# --- /file -----------------------------------------------------------------------------------------------


def write(server: Server, name: str, content: str, more: str = "") -> None:
    answer = server.ask("PUT", f"{file(server, name)}?op=WRITE&content={quote(content)}{more}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def read(server: Server, name: str) -> bytes:
    answer = server.ask("GET", file(server, name) + "?op=GET")
    assert answer.status == 200, answer
    return answer.body


def test_write_appends_or_overwrites(server: Server) -> None:
    write(server, "words", "one", "&overwrite=true")
    write(server, "words", " two")
    assert read(server, "words") == b"one two"
    write(server, "words", "three", "&overwrite=1&permission=640")
    assert read(server, "words") == b"three"
    status = server.get(file(server, "words") + "?op=GETFILESTATUS")
    keys = {"accessTime", "blockSize", "group", "length", "modificationTime", "owner", "pathSuffix"}
    assert set(status) == keys | {"permission", "replication", "type"}
    assert (status["length"], status["permission"], status["type"]) == (5, "640", "FILE")


def test_bytes_in_between(server: Server) -> None:
    write(server, "digits.txt", "0123456789", "&overwrite=true")
    target = file(server, "digits.txt") + "?op=GET"
    assert server.ask("GET", target + "&offset=3&length=4").body == b"3456"
    assert server.ask("GET", target + "&offset=8").body == b"89"
    assert server.ask("GET", target + "&offset=11").status == 416
    assert server.ask("GET", target + "&offset=x").status == 400
    for given, expected in {"2-4": b"234", "7-": b"789", "-3": b"789", "5-999": b"56789"}.items():
        answer = server.ask("GET", target, headers={"Range": f"bytes={given}"})
        assert (answer.status, answer.body) == (206, expected)
        start = b"0123456789".index(expected)
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/10"
    for ignored in ("bytes=", "bytes=-", "bytes=4-2", "bytes=1-2,4-5", "lines=1-2"):
        answer = server.ask("GET", target, headers={"Range": ignored})
        assert (answer.status, answer.body) == (200, b"0123456789"), ignored
    answer = server.ask("GET", target, headers={"Range": "bytes=10-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10")


def test_types(server: Server) -> None:
    write(server, "page.html", "<p>", "&overwrite=true")
    assert server.ask("GET", file(server, "page.html") + "?op=GET").headers["Content-Type"] == "text/html"
    assert read(server, "page.html") == b"<p>"


def test_what_is_not_there(server: Server) -> None:
    answer = server.ask("GET", file(server, "nothing") + "?op=GET")
    assert (answer.status, answer.json["message"]) == (404, "Page not found")
    for operation in ("GETFILESTATUS", "LISTSTATUS"):
        answer = server.ask("GET", file(server, "nothing") + f"?op={operation}")
        assert (answer.status, answer.json["message"]) == (
            404,
            f"Not found: '{server.writable[1:]}/nothing'",
        )
    assert server.ask("DELETE", file(server, "nothing") + "?op=DELETE").status == 404
    assert server.ask("GET", file(server, "nothing")).json["message"] == "Missing mandatory parameter 'op'"
    assert server.ask("GET", file(server, "nothing") + "?op=get").status == 400
    assert server.ask("GET", "/file/").status == 400
    assert server.ask("GET", f"/file{server.writable}?op=GET").status == 400


def test_directories(server: Server) -> None:
    base = file(server, "dirs")
    server.ask("DELETE", base + "?op=DELETE&recursive=true")
    assert server.ask("PUT", base + "/a/b?op=MKDIRS&permission=750").status == 200
    assert server.ask("PUT", base + "/a/b?op=MKDIRS").status == 200  # it is there: no error
    for name in ("x.txt", "y.txt", "z.c"):
        write(server, f"dirs/a/{name}", name)
    listed = server.get(base + "/a?op=LISTSTATUS")
    assert {one["pathSuffix"] for one in listed} == {".", "..", "b", "x.txt", "y.txt", "z.c"}
    assert {one["pathSuffix"]: one["type"] for one in listed}["b"] == "DIRECTORY"
    matched = server.get(base + "/a/*.txt?op=LISTSTATUS".replace("*", "%2A"))
    assert [one["pathSuffix"] for one in matched] == ["x.txt", "y.txt"]
    assert [one["pathSuffix"] for one in server.get(base + "/%3F/x.txt?op=LISTSTATUS")] == ["a/x.txt"]
    assert [one["pathSuffix"] for one in server.get(base + "/a/z.c?op=LISTSTATUS")] == ["z.c"]
    assert server.ask("DELETE", base + "?op=DELETE").status == 400  # not empty
    assert server.ask("PUT", base + "/a/x.txt/c?op=MKDIRS").status == 400
    answer = server.ask("DELETE", base + "?op=DELETE&recursive=true")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert server.ask("GET", base + "?op=GETFILESTATUS").status == 404


@pytest.mark.parametrize("root", ["/file/%2F", "/file//", "/file/."])
def test_the_root_directory(server: Server, root: str) -> None:
    names = {one["pathSuffix"] for one in server.get(root + "?op=LISTSTATUS")}
    assert {".", "..", "tmp", "etc"} <= names


def test_rename_and_copy(server: Server) -> None:
    base = server.writable
    write(server, "from", "content", "&overwrite=true")
    for name in ("to", "copy", "new"):
        server.ask("DELETE", file(server, name) + "?op=DELETE&recursive=1")
    assert server.ask("PUT", file(server, "from") + f"?op=COPY&destination={base}/copy").status == 200
    answer = server.ask("PUT", file(server, "from") + f"?op=COPY&destination={base}/copy")
    assert (answer.status, "exists" in answer.json["message"]) == (400, True)
    target = f"?op=COPY&destination={base}/copy&overwrite=true&permission=600"
    assert server.ask("PUT", file(server, "from") + target).status == 200
    assert server.get(file(server, "copy") + "?op=GETFILESTATUS")["permission"] == "600"
    target = f"?op=RENAME&destination={base}/new/to&createParent=true"
    assert server.ask("PUT", file(server, "from") + target).status == 200
    assert read(server, "new/to") == read(server, "copy") == b"content"
    assert server.ask("PUT", file(server, "from") + f"?op=RENAME&destination={base}/x").status == 404
    assert server.ask("PUT", file(server, "copy") + "?op=RENAME").status == 400
    assert server.ask("PUT", file(server, "copy") + "?op=COPY&destination=/../x").status == 400
    assert server.ask("PUT", file(server, "copy") + "?op=WRITE&permission=9").status == 400
    assert server.ask("PUT", file(server, "copy") + "?op=CHMOD").status == 400


def test_no_way_up(server: Server) -> None:
    ways = [
        "/file/../etc/hosts",
        "/file/tmp/../../x",
        "/file/%2e%2e/x",
        "/file/..%2fx",
        "/file/tmp/..",
        "/..",
    ]
    for way in ways:
        answer = server.ask("GET", way + "?op=GET")
        assert (answer.status, answer.json["message"]) == (400, "Bad path"), way
    assert server.ask("GET", file(server, "a..b") + "?op=GET").status == 404  # only a name
    assert server.ask("GET", file(server, "x%00y") + "?op=GET").status == 400
    assert server.ask("GET", file(server, "x%zz") + "?op=GET").status == 400


def multipart(
    content: bytes, name: str = "file", file_name: str | None = "f"
) -> tuple[bytes, dict[str, str]]:
    shown = f'; filename="{file_name}"' if file_name is not None else ""
    head = f'--XyZ\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode()
    headers = {"Content-Type": "multipart/form-data; boundary=XyZ"}
    return head + content + b"\r\n--XyZ--\r\n", headers


def test_uploads(server: Server) -> None:
    content = bytes(range(256)) * 300 + b"\r\n--XyY almost\r\n--Xy\r\r\n"
    answer = server.ask("POST", file(server, "up"), *multipart(content))
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert read(server, "up") == content
    raw = {"Content-Type": "application/octet-stream"}
    assert server.ask("POST", file(server, "up"), b"raw", raw).status == 200
    assert read(server, "up") == b"raw"
    assert server.ask("POST", file(server, "up"), *multipart(b"x", file_name=None)).status == 400
    assert server.ask("POST", file(server, "up"), b"--XyZ\r\n", multipart(b"")[1]).status == 400
    assert server.ask("POST", file(server, "up"), b"x", {"Content-Type": "text/x-odd"}).status == 415
    assert server.ask("POST", file(server, "no/such/dir"), *multipart(b"x")).status == 404
    assert read(server, "up") == b"raw"
    left = [one["pathSuffix"] for one in server.get(f"/file{server.writable}?op=LISTSTATUS")]
    assert not [name for name in left if "upload" in name]


def test_curl_uploads_and_downloads(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"0123456789abcdef" * 40000)
    url = f"http://{server.host}:{server.port}{file(server, 'curl')}"
    curl = ["curl", "-sS", "--fail", "-m", "120"]
    subprocess.run([*curl, "-F", f"file=@{tmp_path}/data", url], check=True)
    subprocess.run([*curl, "-o", tmp_path / "back", url + "?op=GET"], check=True)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "data").read_bytes()
    subprocess.run([*curl, "-C", "-", "-o", tmp_path / "back", url + "?op=GET"], check=False)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "data").read_bytes()


def test_names_that_are_not_utf8_give_valid_json(server: Server) -> None:
    name = "odd-%FF%22%5C%0A"
    server.ask("PUT", file(server, "odd") + "?op=MKDIRS")
    write(server, f"odd/{name}", "x", "&overwrite=true")
    listed = server.get(file(server, "odd") + "?op=LISTSTATUS")
    assert 'odd-\ufffd"\\\n' in {one["pathSuffix"] for one in listed}
    assert server.ask("DELETE", file(server, f"odd/{name}") + "?op=DELETE").status == 200


# --- /network, /app, /api, /trace ------------------------------------------------------------------------


def test_interfaces(server: Server) -> None:
    found = {one["config"]["name"]: one for one in server.get("/network/ifconfig/")}
    assert found["lo"]["config"]["addr"] == "127.0.0.1"
    one = server.get("/network/ifconfig/lo")
    assert set(one) == {"config", "data", "time"}
    assert re.fullmatch(r"[0-9a-f]+<UP,LOOPBACK,RUNNING.*>", one["config"]["flags"])
    assert isinstance(one["config"]["mtu"], str)
    assert one["data"]["ifi_ipackets"] >= 0
    answer = server.ask("GET", "/network/ifconfig/nope0")
    assert (answer.status, answer.json["message"]) == (404, "Interface nope0 not found")


def test_network_routes(server: Server) -> None:
    for route in server.get("/network/route/"):
        assert set(route) == {"destination", "gateway", "flags", "netif", "ipv6"}


def finished(server: Server, id: str) -> bool:
    deadline = time.monotonic() + 60
    while server.get(f"/app/finished?tid={id}") == "0":
        if time.monotonic() > deadline:
            return False
    return True


def test_programs(server: Server) -> None:
    answer = server.ask("PUT", f"/app/?command={quote(server.program)}")
    assert answer.status == 200, answer
    assert finished(server, answer.json)
    both = server.ask("PUT", "/app/?command=" + quote(f'{server.program} a "b c" & {server.program}')).json
    ids = both.split()
    assert len(set(ids)) == 2
    assert all(finished(server, id) for id in ids)
    assert server.get("/app/finished?tid=999999") == "1"


def test_programs_that_begin_while_connections_end(server: Server) -> None:
    # A new process has a copy of each descriptor until its program runs.
    body = quote(" & ".join([server.program] * 8))
    for _ in range(40 if server.process is not None else 4):
        assert server.ask("PUT", f"/app/?command={body}", headers={"Connection": "close"}).status == 200
        assert server.get("/os/name")


def test_programs_that_cannot_run(server: Server) -> None:
    answer = server.ask("PUT", "/app/?command=/nope")
    assert answer.status == 500
    assert answer.json["message"].startswith("Failed to load object: /nope")
    assert server.ask("PUT", "/app/?command=" + quote("/a; /b")).status == 400
    assert server.ask("PUT", "/app/?command=" + quote('/a "b')).status == 400
    assert server.ask("PUT", "/app/?command=+").status == 400
    assert server.ask("PUT", "/app/?command=/a&new_program=perhaps").status == 400
    assert server.ask("PUT", "/app/").status == 400
    assert server.ask("GET", "/app/finished?tid=x").status == 400


def batch(server: Server, text: str) -> httpserver.Answer:
    return server.ask("POST", "/api/batch", *multipart(text.encode(), "batch", None))


def test_batches(server: Server) -> None:
    text = """[{"method": "GET", "relative_url": "/os/name"}, {"relative_url": "/nope", "method": "GET"},
        {"method": "POST", "relative_url": "/env/BATCH?val=\\u00e9", "x": 1},
        {"method":"GET","relative_url":"/env/BATCH"},
        {"method": "GET", "relative_url": "/file/etc/hosts?op=GET"}]"""
    answer = batch(server, text)
    assert answer.status == 200
    assert [one["code"] for one in answer.json] == [200, 404, 200, 200, 200]
    assert answer.json[0]["body"] == server.get("/os/name")
    assert answer.json[1]["body"] == {"message": "Not found", "code": 404}
    assert answer.json[3]["body"] == "\u00e9"
    assert "localhost" in answer.json[4]["body"]
    assert batch(server, "[]").json == []
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.ask("POST", "/api/batch", b"batch=" + quote(text).encode(), form).status == 200


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[", "[{}]", "[1]", '[{"method": "GET"}]', '[{"method": "GET", "relative_url": 1', "[] x"],
)
def test_what_is_no_batch(server: Server, text: str) -> None:
    assert batch(server, text).status == 400


def test_a_batch_in_a_batch_is_refused(server: Server) -> None:
    assert (
        batch(server, '[{"method": "POST", "relative_url": "/api/batch?batch=[]"}]').json[0]["code"] == 400
    )


def test_counters(server: Server) -> None:
    events = server.get("/trace/status")
    assert all(set(event) == {"name", "id", "enabled", "backtrace"} for event in events)
    assert "sched_switch" in {event["name"] for event in events}
    assert {event["name"] for event in server.get("/trace/status?match=%5Esched")} == {"sched_switch"}
    assert server.ask("GET", "/trace/status?match=(").status == 400
    assert server.get("/trace/event/sched_switch")["id"] == "sched_switch"
    assert server.ask("GET", "/trace/event/no_such").status == 404
    assert set(server.get("/trace/count")) == {"time_ms"}
    assert server.ask("POST", "/trace/count/sched_switch?enabled=true").status == 200
    first = server.get("/trace/count")["list"]
    assert [one["name"] for one in first] == ["sched_switch"]
    for _ in range(20):
        server.get("/os/uptime")
    assert server.get("/trace/count")["list"][0]["count"] > first[0]["count"]
    assert server.ask("DELETE", "/trace/count").status == 200
    assert set(server.get("/trace/count")) == {"time_ms"}
    assert server.ask("GET", "/trace/buffers").status == 501
    assert server.ask("POST", "/trace/sampler?freq=100").status == 501
    assert server.ask("POST", "/trace/status?enabled=true").status == 501


def test_the_documentation_is_what_there_is(server: Server) -> None:
    listing = server.get("/api-doc")
    assert (listing["apiVersion"], listing["swaggerVersion"]) == ("0.0.1", "1.2")
    answer = server.ask("GET", "/api-doc/os")
    assert answer.status == 301
    assert answer.headers["Location"] == f"http://{server.host}:{server.port}/api-doc/os/"
    routes = 0
    for family in listing["apis"]:
        for api in server.get(f"/api-doc{family['path']}/")["apis"]:
            routes += len(api["operations"])
            path = re.sub(r"\{\w+\}", "x", api["path"])
            allowed = server.ask("OPTIONS", path).headers["Allow"].replace(",", " ").split()
            assert {operation["method"] for operation in api["operations"]} <= set(allowed), path
    assert routes > 40
    assert server.ask("GET", "/api-doc/nope/").status == 404


def test_the_date_of_a_reply_is_right(server: Server) -> None:
    said = email.utils.parsedate_to_datetime(server.ask("GET", "/os/name").headers["Date"])
    assert said.tzinfo is not None


@pytest.mark.parametrize("route", ["/os/poweroff", "/os/shutdown", "/os/reboot"])
def test_the_end(rest_program: Path, tmp_path: Path, route: str) -> None:
    with httpserver.on_linux(rest_program, tmp_path) as server:
        assert server.ask("POST", route).status == 200
        assert server.process is not None
        assert server.process.wait(timeout=60) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read().startswith("reboot 0x")
