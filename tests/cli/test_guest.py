"""`osvlab top, cp, exec, curl`: speaking with guests that run, that have ended, and that lie."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.cli.conftest import Lab
from tests.cli.test_network import port_line

pytestmark = pytest.mark.qemu

ODD_NAMES = [
    "two blanks  here",
    "line\nbreak",
    "ü",
    "quote\"'s",
    "percent%2Fsign",
    "..dots",
    "-dash",
    "plus+&=?#",
]


STAY = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"

# The command, on a host where only this test's guests run.
ALONE = """
import os, sys
from pathlib import Path
from osvlab.cli import main
from osvlab.vm import discover
discover.folders = lambda: Path(os.environ["XDG_RUNTIME_DIR"]).rglob("vm-*")
sys.exit(main())
"""


class Speaking(Lab):
    """A lab whose commands see no guests but its own."""

    def __call__(self, *arguments: str | Path, **_: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", ALONE, *map(str, arguments)]
        return subprocess.run(
            words, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL, text=True,
            timeout=60, check=False,
        )  # fmt: skip


@contextmanager
def guest(folder: Path, *, options: str = "", serves: bool = True, port: bool = True) -> Iterator[Lab]:
    """Run a guest that stays, in a lab of its own; there until it serves."""
    folder.mkdir()
    lab = Speaking(folder)
    add_guest(lab, options=options, serves=serves, port=port)
    yield lab
    for process in lab.started:
        process.terminate()
        process.communicate(timeout=30)


def add_guest(lab: Lab, *, options: str = "", serves: bool = True, port: bool = True) -> None:
    app = lab.folder / "application"
    if not app.exists():
        (app / "init").mkdir(parents=True)
        shutil.copy("/bin/busybox", app)
        argv = ["gcc", "-x", "c", "-", "-o", str(app / "stay")]
        subprocess.run(argv, input=STAY, text=True, check=True)
        if serves:
            (app / "init" / "30-auto-00").write_text(f"/libhttpserver-api.so {options} &!\n")
    words = ["--port", "8000"] if port else []
    words += ["--module", "httpserver"] if serves else []
    process = lab.start("run", app, *words, "--", "/stay")
    if port:
        port_line(process)
    assert process.stdout is not None
    while (b"Rest API server running" if serves else b"Cmdline") not in process.stdout.readline():
        pass


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with guest(tmp_path_factory.mktemp("speaking") / "lab") as lab:
        yield lab


def good(lab: Lab, *words: str | Path) -> str:
    ended = lab(*words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refused(lab: Lab, *words: str | Path) -> str:
    """Return what is said; nothing but one error with a hint."""
    ended = lab(*words)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stderr.startswith("osvlab: ")
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_top_shows_threads_and_memory(lab: Lab) -> None:
    shown = good(lab, "top", "--once")
    assert " of 64 MiB free" in shown or "MiB free" in shown
    assert "network" in shown
    facts = json.loads(good(lab, "top", "--once", "--json"))
    assert 0 < facts["memory"]["free"] < facts["memory"]["total"] <= 64 << 20
    assert "network" in {thread["name"] for thread in facts["threads"]}


def test_curl_asks_and_changes(lab: Lab) -> None:
    assert json.loads(good(lab, "curl", "/os/name"))
    good(lab, "curl", "-X", "post", "/os/hostname", "-d", "name=web")
    assert json.loads(good(lab, "curl", "/os/hostname")) == "web"
    assert "404" in refused(lab, "curl", "/no/such")
    assert "/file/" in refused(lab, "curl", "/file/%2Fno%2Fsuch?op=GET")
    assert "hint: Write /os/name." in refused(lab, "curl", "os/name")
    assert "--data x: not NAME=VALUE" in refused(lab, "curl", "/os/name", "-d", "x")


def test_exec_runs_a_command_to_its_end(lab: Lab) -> None:
    good(lab, "exec", "--", "/busybox", "mkdir", "/tmp/made by exec")
    assert "made by exec" in good(lab, "curl", "/file/%2Ftmp?op=LISTSTATUS")
    assert int(good(lab, "exec", "--detach", "--", "/stay")) > 0
    assert "/no/such" in refused(lab, "exec", "--", "/no/such")
    assert "no command to run" in refused(lab, "exec")
    assert "within 0.2 s" in refused(lab, "exec", "--limit", "0.2", "--", "/stay")


def test_cp_copies_a_directory_there_and_back(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "empty").mkdir(parents=True)
    for number, name in enumerate(ODD_NAMES):
        (source / name).write_bytes(bytes([number]) * number)
        (source / f"folder {name}").mkdir()
        (source / f"folder {name}" / name).write_text(name)
    good(lab, "cp", source, ":/tmp/tree")
    good(lab, "cp", ":/tmp/tree", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(source)
    good(lab, "cp", source, ":/tmp/tree")  # into one that is there
    (tmp_path / "into").mkdir()
    good(lab, "cp", ":/tmp/tree/tree", tmp_path / "into")
    assert contents(tmp_path / "into" / "tree") == contents(source)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_cp_copies_files_and_keeps_permissions(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(bytes(range(256)) * 5000)
    program.chmod(0o750)
    good(lab, "cp", program, ":/tmp")
    listed = json.loads(good(lab, "curl", "/file/%2Ftmp%2Fprogram?op=GETFILESTATUS"))
    assert (listed["length"], listed["permission"]) == (256 * 5000, "750")
    good(lab, "cp", ":/tmp/program", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == program.read_bytes()


def test_cp_says_what_is_wrong(lab: Lab, tmp_path: Path) -> None:
    assert "no such file" in refused(lab, "cp", tmp_path / "none", ":/tmp")
    assert "/no/such" in refused(lab, "cp", ":/no/such", tmp_path)
    assert "one of the two" in refused(lab, "cp", tmp_path, tmp_path)
    assert "one of the two" in refused(lab, "cp", ":/a", ":/b")
    assert not any(tmp_path.iterdir())


def test_no_guest_runs(tmp_path: Path) -> None:
    lab = Speaking(tmp_path)
    assert "no guest runs\nhint: Start one: osvlab run." in refused(lab, "top", "--once")
    assert "no guest abc runs" in refused(lab, "curl", "abc", "/os/name")


def test_two_guests_are_told_apart(tmp_path: Path) -> None:
    with guest(tmp_path / "lab") as lab:
        add_guest(lab)
        said = refused(lab, "curl", "/os/name")
        assert "more than one guest is meant" in said
        assert "hint: Give the name of one." in said
        named = [line.split() for line in said.splitlines() if line.startswith("  ")]
        assert sorted(int(words[2].rstrip(":")) for words in named) == sorted(lab.guests())
        for number, (name, _, pid, *_) in enumerate(named):
            good(lab, "curl", "-X", "POST", "-d", f"name=guest{number}", name, "/os/hostname")
            assert json.loads(good(lab, "curl", pid.rstrip(":"), "/os/hostname")) == f"guest{number}"


def test_a_guest_without_the_module_or_the_port(tmp_path: Path) -> None:
    with guest(tmp_path / "a", serves=False) as lab:
        said = refused(lab, "curl", "--timeout", "1", "/os/name")
        assert "nothing answers at 127.0.0.1:" in said
        assert "modules=['httpserver']" in said
    with guest(tmp_path / "b", serves=False, port=False) as lab:
        said = refused(lab, "curl", "/os/name")
        assert "port 8000 of the guest" in said
        assert "is not forwarded; forwarded: none" in said
        assert "hint: Start it with --port 8000." in said


def test_a_guest_that_has_ended(tmp_path: Path) -> None:
    with guest(tmp_path / "lab") as lab:
        said = good(lab, "curl", "/os/name")
        assert said
        good(lab, "curl", "-X", "POST", "/os/hostname", "-d", "name=x")
        lab.started[0].terminate()
        lab.started[0].communicate(timeout=30)
        assert "no guest runs" in refused(lab, "curl", "/os/name")


def test_the_right_token_opens(tmp_path: Path) -> None:
    with guest(tmp_path / "lab", options="--token=secret") as lab:
        for wrong in ((), ("--token", "wrong")):
            said = refused(lab, "curl", "/os/name", *wrong)
            assert "401" in said
            assert "token" in said
        assert good(lab, "curl", "--token", "secret", "/os/name")


# --- a guest that lies ---


@contextmanager
def liar(names: Callable[[str], list[dict[str, Any]]]) -> Iterator[str]:
    """Serve a REST API that lists what a function says of a path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path.removeprefix("/file/"))
            if "op=LISTSTATUS" in self.path:
                body = json.dumps(names(path)).encode()
            elif "op=GETFILESTATUS" in self.path:
                body = json.dumps({"pathSuffix": "d", "type": "DIRECTORY", "permission": "755"}).encode()
            else:
                body = b"evil"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def entry(name: str, kind: str = "FILE") -> dict[str, Any]:
    return {"pathSuffix": name, "type": kind, "permission": "644", "length": 4}


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "", "a/b", "nul\0", "/", "../"])
@pytest.mark.parametrize("kind", ["FILE", "DIRECTORY"])
def test_names_are_not_trusted_with_the_hosts_files(tmp_path: Path, name: str, kind: str) -> None:
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    with liar(lambda path: [entry(name, kind)] if path == "/d" else []) as address:
        said = refused(Lab(tmp_path), "cp", f"{address}:/d", target)
    assert "hint: Do not trust this guest" in said
    assert contents(target) in ({}, {"d": None})
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "runtime"}
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_directories_without_end_come_to_one(tmp_path: Path) -> None:
    with liar(lambda path: [entry("x" * 250, "DIRECTORY")]) as address:
        said = refused(Lab(tmp_path), "cp", f"{address}:/d", tmp_path / "target")
    assert "directories without end in /d" in said
