"""What the network does: bulk transfers, small requests, time to the first answer, uploads; against Linux.

Both guests run in the same QEMU with its user networking, in turns. In bulk transfers the guest
connects to this host, so that nobody has to guess when it listens.
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import osvlab
from benchmarks.guests import Online, lab_guest, linux_archive, linux_guest, linux_words
from benchmarks.harness import Bound, Measured, measures, median_seconds
from benchmarks.qemu import TIMEOUT, seconds_to_line
from benchmarks.traffic import GATEWAY, listening, seconds_to_drain, seconds_to_feed
from osvlab.demo import compile_example, static_busybox
from osvlab.errors import OsvlabError
from osvlab.guest.cpiod import PORT as UPLOAD_PORT
from osvlab.guest.cpiod import WAITING, upload
from osvlab.guest.rest import Rest
from osvlab.image.image import Image

PROGRAMS = Path(__file__).parent / "programs"
MIB = 1 << 20
TURNS = 5
BULK = 48 * MIB
PAGE, REQUESTS = 1024, 1000
REST_PORT, WEB_PORT = 8000, 80
REST_LINE, WEB_LINE = "Rest API server running", "httpd is up"
TIME_WAIT = 65.0
FILES, UPLOADED = 1000, 200 * MIB

Guest = AbstractContextManager[Online]
Transfer = Callable[[socket.socket, int], float]


def compile_program(name: str, folder: Path, *options: str) -> Path:
    """Compile one of the C programs of the benchmarks."""
    output = folder / name
    words = ["gcc", "-O2", *options, "-o", str(output), str(PROGRAMS / f"{name}.c")]
    subprocess.run(words, check=True, capture_output=True)
    return output


def bulk_image(folder: Path) -> Image:
    """Build an image with busybox, and a file to send that lies in memory."""
    tree = folder / "app"
    (tree / "bin").mkdir(parents=True)
    shutil.copy2(static_busybox(), tree / "bin" / "busybox")
    for program in ("send", "sink"):
        compile_program(program, tree, "-static")
    (tree / "data").write_bytes(bytes(BULK))
    return osvlab.build(tree, "/send", "ramfs", output=folder / "bulk.img")


def transfer(start: Callable[[str], Guest], command: str, measure: Transfer, size: int = BULK) -> float:
    """Start a guest whose program connects to this host, and measure what comes or goes."""
    with listening() as (server, port), start(f"{command} {GATEWAY} {port}"):
        return measure(server, size)


@measures("bulk")
def bulk() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Let nc of busybox receive, and a program that does what nc does, send."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = bulk_image(folder)
        files = {"send": folder / "app" / "send", "data": folder / "app" / "data"}

        def on_lab(command: str) -> Guest:
            return lab_guest(image, command)

        def on_linux(command: str) -> Guest:
            return linux_guest(linux_archive(folder / "initramfs", command, files))

        receive, send = "/bin/busybox nc", "/send /data"
        for title, figures in {
            "receive": median_seconds(
                lambda: transfer(on_lab, f"--redirect=/dev/null {receive}", seconds_to_feed),
                lambda: transfer(on_linux, f"exec >/dev/null; {receive}", seconds_to_feed),
                times=TURNS,
            ),
            "send": median_seconds(
                lambda: transfer(on_lab, send, seconds_to_drain),
                lambda: transfer(on_linux, send, seconds_to_drain),
                times=TURNS,
            ),
        }.items():
            yield compared(f"TCP, {title} in bulk", figures, BULK / 1e6, "MB/s", Bound(1.0, 1.5, True))


def compared(
    title: str, figures: list[float], amount: float, unit: str, bound: Bound | None
) -> tuple[str, str, Any, Measured]:
    """Return a row of how much more the lab kernel does in a second than Linux."""
    lab, theirs = figures
    raw = {f"lab kernel, {unit}": amount / lab, f"linux, {unit}": amount / theirs}
    return f"{title}: lab kernel / Linux", "x", bound, Measured(theirs / lab, raw)


def seconds_for_requests(
    program: Path, guest: Online, path: str, count: int, *, keep: bool = False
) -> float:
    """Ask for a page again and again, over a new connection each time or (`keep`) over one."""
    head = f"GET {path} HTTP/1.1\r\nHost: guest\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    words = [str(program), str(guest.port), str(count), str(int(keep))]
    done = subprocess.run(words, input=head, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if done.returncode:
        raise OsvlabError(f"asking for {path}: {done.stderr.strip()}")
    return float(done.stdout.split()[0])


def web_image(folder: Path) -> Image:
    """Build an image with the REST server and a page; it waits for requests."""
    tree = folder / "app"
    (tree / "bin").mkdir(parents=True)
    shutil.copy2(static_busybox(), tree / "bin" / "busybox")
    (tree / "page.html").write_bytes(b"x" * PAGE)
    return osvlab.build(tree, "/bin/busybox sleep 600", output=folder / "web.img", modules=["httpserver"])


def web_on_linux(folder: Path, page: Path) -> Path:
    """Write an initramfs that serves the same page."""
    script = f"busybox httpd -h /www -p {WEB_PORT}; echo {WEB_LINE}"
    return linux_archive(folder / "initramfs", script, {"www/page.html": page})


@measures("requests")
def requests() -> Iterator[tuple[str, str, Bound | None, Measured]]:
    """Ask both for the same page, over a connection for each request."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as guests:
        folder = Path(name)
        program = compile_program("requests", folder)
        image = web_image(folder)
        archive = web_on_linux(folder, folder / "app" / "page.html")
        lab = guests.enter_context(lab_guest(image, port=REST_PORT, line=REST_LINE))
        theirs = guests.enter_context(linux_guest(archive, port=WEB_PORT, line=WEB_LINE))
        pages = {"lab": (program, lab, "/file/page.html?op=GET"), "linux": (program, theirs, "/page.html")}
        for page in pages.values():
            seconds_for_requests(*page, 20)  # what is translated, stays translated
        figures = median_seconds(
            lambda: seconds_for_requests(*pages["lab"], REQUESTS),
            lambda: seconds_for_requests(*pages["linux"], REQUESTS),
            times=TURNS,
        )
        bound = Bound(2.0, 5.0, more_is_better=True)
        yield compared("HTTP, a small page per connection", figures, REQUESTS, "requests/s", bound)
        (kept,) = median_seconds(
            lambda: seconds_for_requests(*pages["lab"], REQUESTS, keep=True), times=TURNS
        )
    yield "HTTP, small pages over one connection, lab kernel", "requests/s", None, Measured(REQUESTS / kept)


@measures("answer")
def first_answer() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare QEMU's start to an answer over REST with QEMU's start to a Linux whose httpd listens."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = web_image(folder)
        words = linux_words(web_on_linux(folder, folder / "app" / "page.html"))

        def answer() -> None:
            with osvlab.run(image, memory="64M", timeout=TIMEOUT, ports=[REST_PORT]) as vm:
                vm.wait_for(REST_LINE)
                vm.rest.os.version()

        lab, theirs = median_seconds(answer, lambda: seconds_to_line(words, WEB_LINE.encode()), times=TURNS)
    raw = {"lab kernel, seconds": lab, "linux, seconds": theirs}
    bound = Bound(6, 10, more_is_better=True)
    yield (
        "Debian's cloud kernel to httpd / lab kernel to first answer",
        "x",
        bound,
        Measured(theirs / lab, raw),
    )


@measures("leaks")
def leaks() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare free memory before and after many requests and connections."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compile_program("requests", folder)
        with osvlab.run(web_image(folder), memory="128M", timeout=600, ports=[REST_PORT]) as vm:
            vm.wait_for(REST_LINE)
            guest = Online(vm.pid, vm.ports[REST_PORT])

            def ask(connections: int, kept: int) -> None:
                seconds_for_requests(program, guest, "/file/page.html?op=GET", connections)
                seconds_for_requests(program, guest, "/file/page.html?op=GET", kept, keep=True)

            ask(200, 200)  # pools fill
            before = settled(vm.rest)
            ask(2000, 8000)
            after = settled(vm.rest)
    lost = max(0, before - after)
    raw = {"free before, bytes": before, "free after, bytes": after}
    title = "free memory lost to 10,000 requests and 2,000 connections"
    yield title, "KiB", Bound(0, 0), Measured(lost / 1024, raw)


def settled(rest: Rest) -> int:
    """Return how much memory is free once connections have been forgotten (TIME-WAIT is a minute)."""
    time.sleep(TIME_WAIT)
    return rest.os.memory.free()


@measures("modules")
def modules_size() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Weigh the smallest image with a REST server and cloud-init."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name, "app")
        tree.mkdir()
        compile_example("hello", tree / "hello")
        image = osvlab.build(
            tree, "/hello", output=Path(name, "image"), modules=["httpserver", "cloud-init"]
        )
        allocated = image.path.stat().st_blocks * 512
    title = "image with httpserver and cloud-init, on disk"
    yield title, "MiB", Bound(3.0, 2.0), Measured(allocated / MIB)


@measures("upload")
def uploads() -> Iterator[tuple[str, str, Bound | None, Measured]]:
    """Compare an upload of many files, into memory, with transfers of that size to programs that drop it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = bulk_image(folder)
        tree, files = folder / "sent", folder / "files"
        tree.mkdir()
        files.mkdir()
        piece = random.Random(1).randbytes(UPLOADED // FILES)
        for number in range(FILES):
            (files / str(number)).write_bytes(piece)
        shutil.copy2(static_busybox(), tree / "busybox")
        receiver = osvlab.build(
            tree, "/tools/cpiod.so --verbose 0", "ramfs", output=folder / "cpiod.img", modules=["cpiod"]
        )

        def send_files() -> float:
            with osvlab.run(receiver, memory="512M", timeout=TIMEOUT, ports=[UPLOAD_PORT]) as vm:
                vm.wait_for(re.escape(WAITING))
                began = time.perf_counter()
                upload(vm, files)
                return time.perf_counter() - began

        def link(program: str) -> Callable[[], float]:
            words = f"--redirect=/dev/null {program}"
            return lambda: transfer(lambda peer: lab_guest(image, peer), words, seconds_to_feed, UPLOADED)

        bulk, dropped, sent = median_seconds(link("/bin/busybox nc"), link("/sink"), send_files, times=TURNS)
    raw = {"upload, MB/s": UPLOADED / 1e6 / sent, "nc, MB/s": UPLOADED / 1e6 / bulk}
    title = "upload of 200 MiB in 1,000 files / the link's bulk rate (busybox nc)"
    yield title, "%", Bound(80, 95, more_is_better=True), Measured(100 * bulk / sent, raw)
    title = "the same / a program that reads 64 KiB at once and drops them"
    yield title, "%", None, Measured(100 * dropped / sent, {"sink, MB/s": UPLOADED / 1e6 / dropped})
