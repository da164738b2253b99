"""The upload of trees, to the `cpiod` module: as a Linux program, under the sanitizers."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from osvlab.filesystems.cpio import write_cpio
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.guest import Address, GuestTimeoutError, GuestUnreachableError, UploadError, cpiod, upload
from tests.kernel import host

MODULE = host.KERNEL / "modules" / "cpiod"


class Daemon:
    """One run of the daemon."""

    def __init__(self, program: Path, prefix: Path, *options: str) -> None:
        argv = [program, "--port", "0", "--prefix", f"{prefix}/", *options]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="surrogateescape"
        )
        self.prefix = prefix
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        self.address = Address("127.0.0.1", int(self.said.split()[-1]))
        self.said += self.process.stdout.readline()

    def end(self) -> tuple[int, str]:
        """Wait for its end; its status and all it said."""
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, self.said + rest


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [str(path) for path in sorted(MODULE.glob("*.c"))]
    return host.build(tmp_path_factory.mktemp("cpiod") / "cpiod", sources)


@pytest.fixture
def daemon(program: Path, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start daemons that unpack below tmp_path/root."""
    started: list[Daemon] = []
    (tmp_path / "root").mkdir()

    def start(*options: str) -> Daemon:
        started.append(Daemon(program, tmp_path / "root", *options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def send(address: Address, data: bytes) -> str:
    """Send bytes as they are; return what is answered."""
    with socket.create_connection((address.host, address.port)) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        return connection.makefile("r").read()


def record(name: bytes, data: bytes = b"", mode: int = 0o100644) -> bytes:
    """Return one record of an archive, with any name at all."""
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % value for value in fields) + name + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


TRAILER = record(b"TRAILER!!!")


def archive(tree: Directory) -> bytes:
    stream = io.BytesIO()
    write_cpio(tree, stream)
    return stream.getvalue()


def contents(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def test_names_of_one_file_stay_one_and_everything_keeps_its_age(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "a").write_text("same")
    os.link(source / "a", source / "below/b")
    os.link(source / "a", source / "below/c")
    (source / "alone").write_text("alone")
    (source / "link").symlink_to("alone")
    (source / "alone").chmod(0o4755)
    ages = {}
    for number, path in enumerate([*sorted(source.rglob("*"), reverse=True), source]):
        ages[path.relative_to(source)] = 1_000_000_000 + number // 2
        os.utime(path, (0, 1_000_000_000 + number // 2), follow_symlinks=False)
    running = daemon("--preserve-modification-time")
    assert upload(running.address, source, root=True).confirmed
    assert running.end()[0] == 0
    found = running.prefix
    assert len({(found / name).stat().st_ino for name in ("a", "below/b", "below/c")}) == 1
    assert (found / "below/c").read_text() == "same"
    assert (found / "alone").stat().st_mode & 0o7777 == 0o4755
    for name in ages:
        assert (found / name).lstat().st_mtime == (source / name).lstat().st_mtime, name


def test_a_tree_arrives(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_001))
    (tmp_path / "big").chmod(0o755)
    tree = Directory({b"big": HostFile.at(tmp_path / "big"), b"empty": Directory()})
    tree.add(b"/etc/hosts", Content(b"127.0.0.1 localhost\n"))
    tree.add(b"/bytes\xff", Content(b""))
    tree.add(b"/link", Symlink(b"/etc/hosts"))
    running = daemon()
    sent = upload(running.address, tree)
    assert (sent.entries, sent.confirmed) == (6, True)
    status, said = running.end()
    assert status == 0
    assert said.splitlines()[1:] == [
        "Waiting for connection from host...",
        "Adding /big...",
        "Adding /bytes\udcff...",
        "Adding /empty...",
        "Adding /etc...",
        "Adding /etc/hosts...",
        "Link /link to /etc/hosts ...",
        "cpiod finished",
    ]
    found = contents(running.prefix)
    assert found.pop("big") == (tmp_path / "big").read_bytes()
    assert found == {
        "empty": None,
        "etc": None,
        "etc/hosts": b"127.0.0.1 localhost\n",
        os.fsdecode(b"bytes\xff"): b"",
        "link": "-> /etc/hosts",
    }
    assert stat.S_IMODE((running.prefix / "big").stat().st_mode) == 0o755


def test_what_gnu_cpio_writes_is_understood(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "c").write_text("c" * 5001)
    (source / "a" / "l").symlink_to("b/c")
    names = b".\na\na/b\na/b/c\na/l\n"
    argv = ["cpio", "--create", "--format=newc", "--quiet"]
    packed = subprocess.run(argv, input=names, cwd=source, capture_output=True, check=True).stdout
    running = daemon("--verbose", "0")
    assert send(running.address, packed) == "ok\n"
    assert running.end()[1].endswith("host...\ncpiod finished\n")
    assert contents(running.prefix) == contents(source)


def test_a_second_upload_replaces_the_first(daemon: Callable[..., Daemon]) -> None:
    first = Directory({b"f": Content(b"old and longer"), b"l": Symlink(b"f"), b"d": Directory()})
    second = Directory(
        {b"f": Content(b"new"), b"l": Content(b"a file now"), b"d": Directory({b"x": Content(b"")})}
    )
    for tree in (first, second):
        running = daemon()
        upload(running.address, tree)
        assert running.end()[0] == 0
    assert contents(running.prefix) == {"f": b"new", "l": b"a file now", "d": None, "d/x": b""}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"../out", "leads out"),
        (b"a/../../out", "leads out"),
        (b"..", "leads out"),
        (b"f/x", "Not a directory"),
        (b"loop/x", "Too many levels|Symbolic link loop"),
        (b"/", "without a name"),
    ],
)
def test_names_that_lead_astray_are_refused(daemon: Callable[..., Daemon], name: bytes, why: str) -> None:
    good = record(b"f", b"whole") + record(b"loop", b"loop", 0o120777)
    running = daemon()
    said = send(running.address, good + record(name, b"evil") + TRAILER)
    assert re.fullmatch(rf"error: {re.escape(name.decode())}: .*({why}).*\n", said)
    assert running.end()[0] == 1
    assert contents(running.prefix) == {"f": b"whole", "loop": "-> loop"}
    assert not (running.prefix.parent / "out").exists()


def test_links_on_the_way_stay_below_the_prefix(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    links = record(b"abs", os.fsencode(outside), 0o120777) + record(b"rel", b"../../outside", 0o120777)
    running = daemon()
    assert send(running.address, links + record(b"abs/x", b"in") + TRAILER) == "ok\n"
    assert (running.prefix / str(outside).lstrip("/") / "x").read_bytes() == b"in"
    running = daemon()
    assert send(running.address, record(b"rel/x", b"in") + TRAILER).startswith(
        "error: rel/x: the name leads out"
    )
    assert not any(outside.iterdir())


def test_a_directory_that_is_a_link_here_stays_below_the_prefix(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o751)
    link = record(b"d", os.fsencode(outside), 0o120777)
    running = daemon()
    assert send(running.address, link + record(b"d", b"", 0o040700) + TRAILER) == "ok\n"
    assert outside.stat().st_mode & 0o777 == 0o751
    assert (running.prefix / str(outside).lstrip("/")).stat().st_mode & 0o777 == 0o700


def test_what_is_neither_file_nor_link_is_passed_over(daemon: Callable[..., Daemon]) -> None:
    running = daemon()
    stream = record(b"null", b"12345", 0o20666) + record(b"f", b"f")
    assert send(running.address, stream + TRAILER) == "ok\n"
    assert "null: unknown type 8192\n" in running.end()[1]
    assert contents(running.prefix) == {"f": b"f"}


def test_a_stream_that_is_cut_leaves_whole_files_only(daemon: Callable[..., Daemon]) -> None:
    tree = Directory({b"%d" % n: Content(bytes([n]) * (n * 997)) for n in range(6)})
    whole = archive(tree)
    for length in sorted(random.Random(1).sample(range(len(whole) - 4), 12)):
        running = daemon()
        said = send(running.address, whole[:length])
        status, console = running.end()
        assert said.startswith("error: ")
        assert status == 1
        assert "ERROR" not in console  # of a sanitizer
        for name, data in contents(running.prefix).items():
            assert data == bytes([int(name)]) * (int(name) * 997)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_streams_do_no_harm(daemon: Callable[..., Daemon], seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    tree = Directory(
        {b"d": Directory({b"f": Content(b"data" * 50), b"l": Symlink(b"f")}), b"e": Content(b"")}
    )
    data = bytearray(archive(tree))
    for _ in range(dice.randint(1, 4)):
        data[dice.randrange(len(data))] = dice.choice([*b"0123456789abcdef/\0.", dice.randrange(256)])
    running = daemon()
    said = send(running.address, bytes(data))
    status, console = running.end()
    assert (status, said) == (0, "ok\n") or (status == 1 and said.startswith("error: ")), console
    assert "Sanitizer" not in console
    assert not list(running.prefix.rglob("*.part"))
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_refusals_reach_the_sender_by_name(daemon: Callable[..., Daemon]) -> None:
    (daemon().prefix / "taken").mkdir()
    tree = Directory({b"taken": Content(b"x" * 10_000_000)})
    with pytest.raises(UploadError, match=r"/taken.*(Is a directory|not empty|exists)"):
        upload(daemon().address, tree)


def test_what_answers_in_another_language_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(4096):
                    pass
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        served = pool.submit(serve)
        address = Address("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(UploadError, match=r"answers as no upload daemon does: 'HTTP/1\.1 400"):
            upload(address, Directory({b"f": Content(b"x")}))
        served.result()


@pytest.mark.parametrize("limit", [{"patience": 0.1}, {"timeout": 0.1}])
def test_who_takes_nothing_is_given_up(limit: dict[str, float]) -> None:
    tree = Directory({b"large": Content(bytes(64 << 20))})  # more than the host keeps for a connection
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(GuestTimeoutError, match="stopped to take data at /large") as caught:
            cpiod.send(address, tree, lambda done, total: None, **limit)
    assert "Is its disk or its memory full?" in (caught.value.hint or "")


def test_nobody_there_is_said_with_a_hint() -> None:
    with socket.socket() as bound:  # a port that nobody listens on
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(GuestUnreachableError, match=r"no upload daemon at 127\.0\.0\.1") as caught:
            upload(Address("127.0.0.1", bound.getsockname()[1]), Directory({b"f": Content(b"")}))
    assert "modules=['cpiod']" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nonsense"], "cpiod: --nonsense: unknown option"),
        (["--port", "70000"], "cpiod: --port: not a value for it"),
        (["--port"], "cpiod: --port: not a value for it"),
        (["--prefix="], "cpiod: --prefix=: not a value for it"),
    ],
)
def test_wrong_options_are_named(program: Path, options: list[str], said: str) -> None:
    done = subprocess.run([program, *options], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == said
