"""The REST server's routes in a guest, called from inside a program without a network."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.command import quote
from osvlab.image.image import Image

PROGRAM = Path(__file__).parent / "guest" / "modules" / "inside.c"
pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("inside")
    for name, source in {"inside": PROGRAM.read_text(), "true": "int main(void) { return 0; }"}.items():
        command = ["gcc", "-Wall", "-Wextra", "-Werror", "-x", "c", "-", "-o", str(tree / name)]
        subprocess.run(command, input=source, text=True, check=True)
    (tree / "init").mkdir()
    (tree / "init" / "30-auto-00").touch()  # the server itself is not started
    return build(tree, command="/inside", modules=["httpserver"], output=tree.parent / "inside.img")


def ask(image: Image, *requests: str) -> list[tuple[int, Any]]:
    """Make requests in one guest; return status and body of each."""
    command = " ".join(["/inside", *map(quote, requests)])
    with osvlab.run(image, command=command, memory="32M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        lines = vm.console.text.partition("Cmdline: ")[2].splitlines()[1:]
    replies = [line.partition(" ") for line in lines if line[:3].isdigit()]
    assert len(replies) == len(requests), lines
    return [(int(status), json.loads(body) if body else None) for status, _, body in replies]


def test_the_system(image: Image) -> None:
    asked = ["total", "free", "balloon"]
    replies = ask(image, *(f"GET /os/memory/{one}" for one in asked), "GET /os/uptime", "GET /os/version")
    assert [status for status, _ in replies] == [200] * 5
    total, free, balloon, uptime, version = (body for _, body in replies)
    assert 0 < free < total <= 32 << 20
    assert (balloon, uptime, version) == (0, 0, osvlab.__version__)
    replies = ask(
        image,
        "POST /os/hostname name=lab",
        *("GET /os/hostname", "GET /os/cmdline", "GET /os/dmesg", "POST /os/cmdline cmdline=/x"),
    )
    assert [body for _, body in replies[:2]] == ["", "lab"]
    assert "/inside" in replies[2][1]
    assert (replies[3][0], bool(replies[3][1])) == (200, True)
    assert (replies[4][0], "/dev/vblk0" in replies[4][1]["message"]) == (500, True)  # the disk is read-only


def test_threads(image: Image) -> None:
    [(status, told)] = ask(image, "GET /os/threads")
    assert status == 200
    threads = {thread["name"]: thread for thread in told["list"]}
    assert threads["inside"]["status"] == "running"
    assert any(thread["switches"] > 0 for thread in threads.values())
    assert len(told["list"]) >= 2  # the kernel's own are there


def test_hardware_and_filesystems(image: Image) -> None:
    replies = ask(
        image,
        *("GET /hardware/processor/flags", "GET /hardware/processor/count", "GET /hardware/hypervisor"),
        *("GET /hardware/firmware/vendor", "GET /fs/df/", "GET /fs/df//", "GET /fs/df/nowhere"),
    )
    flags, count, hypervisor, vendor = (body for _, body in replies[:4])
    assert "sse2" in flags.split()
    assert count == 1
    assert hypervisor in ("tcg", "kvm")
    assert vendor
    assert "/" in [mount["mount"] for mount in replies[4][1]]
    root = replies[5][1]
    assert [mount["mount"] for mount in root] == ["/"]
    assert root[0]["btotal"] > 0
    assert replies[6][0] == 404


def test_files(image: Image) -> None:
    replies = ask(
        image,
        "PUT /file/tmp/a/b?op=MKDIRS",
        "PUT /file/tmp/a/b/c?op=WRITE content=hello",
        "GET /file/tmp/a/b/c?op=GETFILESTATUS",
        "PUT /file/tmp/a/b/c?op=COPY&destination=/tmp/a/d",
        "GET /file/tmp/a/*?op=LISTSTATUS",
        "PUT /file/tmp/a/d?op=RENAME&destination=/tmp/a/e",
        "GET /file/tmp/a/d?op=GETFILESTATUS",
        "PUT /file/etc/x?op=WRITE content=x",
        "GET /file/proc/self/comm?op=GETFILESTATUS",
        "DELETE /file/tmp/a?op=DELETE&recursive=true",
        "GET /file/tmp/a?op=LISTSTATUS",
    )
    assert [status for status, _ in replies] == [200, 200, 200, 200, 200, 200, 404, 400, 200, 200, 404]
    assert replies[2][1]["length"] == 5
    assert [one["pathSuffix"] for one in replies[4][1]] == ["b", "d"]
    assert "Read-only" in replies[7][1]["message"]


def test_the_environment_of_later_programs(image: Image) -> None:
    replies = ask(
        image,
        *(
            "POST /env/COLOUR val=blue",
            "GET /env/COLOUR",
            "DELETE /env/COLOUR",
            "GET /env/COLOUR",
            "GET /env/",
        ),
    )
    assert [status for status, _ in replies] == [200, 200, 200, 400, 200]
    assert replies[1][1] == "blue"
    assert f"OSV_VERSION={osvlab.__version__}" in replies[4][1]


def test_programs(image: Image) -> None:
    replies = ask(
        image,
        "PUT /app/ command=/true",
        "PUT /app/ command=/true+%26+/true",
        "PUT /app/ command=/nope",
        "PUT /app/ command=/etc/hosts",
        "PUT /app/ command=/true;/true",
        "GET /app/finished?tid=9999",
        "GET /app/finished?tid=2",
    )
    assert [status for status, _ in replies] == [200, 200, 500, 500, 400, 200, 200]
    assert replies[0][1].isdigit()
    assert len(replies[1][1].split()) == 2
    assert replies[2][1]["message"].startswith("Failed to load object: /nope (/nope: No such file")
    assert "/etc/hosts" in replies[3][1]["message"]
    assert [replies[5][1], replies[6][1]] == ["1", "0"]


def test_counters_count(image: Image) -> None:
    replies = ask(
        image,
        *("POST /trace/count/sched_switch enabled=true", "POST /trace/count/page_fault enabled=1"),
        *("PUT /app/ command=/true", "GET /trace/count", "GET /trace/status", "GET /trace/buffers"),
    )
    counts = {one["name"]: one["count"] for one in replies[3][1]["list"]}
    assert counts["sched_switch"] > 0
    assert counts["page_fault"] > 0
    assert len(replies[4][1]) == 4
    assert replies[5][0] == 501
