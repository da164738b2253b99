"""Images through fsspec, as pandas and others see them."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.fsspec import OsvlabFileSystem
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory, Symlink
from tests.filesystems.test_cpio_reader import END, record

BIG = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fsspec") / "x.img"
    tree = Directory()
    tree.add(b"/etc/hosts", Content(b"127.0.0.1 localhost\n"))
    tree.add(b"/data/big", Content(BIG))
    tree.add(b"/data/t.csv", Content(b"a,b\n1,2\n"))
    tree.add(b"/caf\xe9", Content(b"latin"))
    tree.add(b"/name", Symlink(b"etc/hosts"))
    tree.add(b"/data/up", Symlink(b".."))
    tree.add(b"/data/nowhere", Symlink(b"none"))
    with path.open("wb") as file:
        write_rofs(tree, file)
    return path


@pytest.fixture
def files(image: Path) -> OsvlabFileSystem:
    found = fsspec.filesystem("osvlab", image=str(image))
    assert isinstance(found, OsvlabFileSystem)
    return found


def test_listing(files: OsvlabFileSystem) -> None:
    assert files.ls("/", detail=False) == ["/caf\udce9", "/data", "/etc", "/name"]
    assert files.ls("etc/", detail=False) == files.ls("osvlab://etc", detail=False) == ["/etc/hosts"]
    told = {entry["name"]: (entry["type"], entry["size"]) for entry in files.ls("/data")}
    assert told == {
        "/data/big": ("file", len(BIG)),
        "/data/nowhere": ("link", 0),
        "/data/t.csv": ("file", 8),
        "/data/up": ("link", 0),
    }
    assert files.info("/name")["destination"] == "etc/hosts"
    assert files.info("/name")["size"] == 20
    assert files.info("/")["type"] == "directory"
    with pytest.raises(FileNotFoundError):
        files.ls("/none")
    with pytest.raises(FileNotFoundError):
        files.info("/none")


def test_finding_ends_also_where_links_lead_up(files: OsvlabFileSystem) -> None:
    assert files.find("/") == [
        *("/caf\udce9", "/data/big", "/data/nowhere", "/data/t.csv", "/data/up", "/etc/hosts", "/name")
    ]
    assert files.glob("/data/*.csv") == ["/data/t.csv"]
    assert files.glob("/**/hosts") == ["/etc/hosts"]
    assert [folder for folder, _, _ in files.walk("/")] == ["/", "/data", "/etc"]
    assert files.du("/etc") == 20
    assert files.exists("/data/up/etc/hosts")
    assert (files.isfile("/name"), files.isdir("/data/up"), files.isfile("/data/nowhere")) == (
        *(True, True, False),
    )


def test_reading(files: OsvlabFileSystem) -> None:
    assert files.cat("/name") == b"127.0.0.1 localhost\n"
    assert files.cat("/caf\udce9") == b"latin"
    assert files.cat_file("/etc/hosts", start=-10, end=-1) == b"localhost"
    assert files.cat_file("/etc/hosts", start=100) == b""
    assert files.cat(["/etc/hosts", "/data/t.csv"])["/data/t.csv"] == b"a,b\n1,2\n"
    assert files.cat_ranges(["/data/big"] * 2, [0, 300], [4, 304]) == [BIG[:4], BIG[300:304]]
    with files.open("/etc/hosts", "r") as file:
        assert file.readline() == "127.0.0.1 localhost\n"
    with fsspec.open("osvlab://data/t.csv", image=files.storage_options["image"]) as file:
        assert file.read() == b"a,b\n1,2\n"
    with pytest.raises(OSError, match=r"/etc is a directory, not a file"):
        files.open("/etc")
    with pytest.raises(FileNotFoundError):
        files.open("/none")


@given(st.lists(st.tuples(st.integers(0, len(BIG) + 10), st.integers(0, 70_000)), max_size=8))
@settings(deadline=None)
def test_parts_of_a_file_are_what_they_are(image: Path, parts: list[tuple[int, int]]) -> None:
    with OsvlabFileSystem(image).open("/data/big", block_size=4096) as file:
        for start, length in parts:
            file.seek(start)
            assert file.read(length) == BIG[start : start + length]


def test_it_copies_out_and_goes_through_pickle(files: OsvlabFileSystem, tmp_path: Path) -> None:
    files.get("/etc", f"{tmp_path}/out", recursive=True)
    assert (tmp_path / "out/hosts").read_text() == "127.0.0.1 localhost\n"
    assert repr(files) == f"<OsvlabFileSystem of {files.storage_options['image']}: ROFS>"
    again = pickle.loads(pickle.dumps(files))
    assert again.cat("/etc/hosts") == files.cat("/etc/hosts")


def test_pickles_hold_where_the_image_is_not_how_it_was_called(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image.parent)
    files = OsvlabFileSystem(image.name)
    file = files.open("/data/t.csv")
    assert file.read(4) == b"a,b\n"
    kept = pickle.dumps((files, file))
    monkeypatch.chdir("/")
    again, rest = pickle.loads(kept)
    assert again.cat("/etc/hosts") == b"127.0.0.1 localhost\n"
    assert rest.read() == b"1,2\n"


def test_addresses_may_name_the_image(image: Path) -> None:
    with fsspec.open(f"osvlab://etc/hosts::{image}") as file:
        assert file.read() == b"127.0.0.1 localhost\n"
    assert fsspec.open_files(f"osvlab://data/*.csv::file://{image}")[0].path == "/data/t.csv"
    with pytest.raises(OsvlabError, match="no image is named") as caught:
        fsspec.open("osvlab://etc/hosts")
    assert "osvlab://etc/hosts::hello.img" in str(caught.value.hint)
    with pytest.raises(OsvlabError, match=r"is not a file of this host but of memory"):
        fsspec.open("osvlab://etc/hosts::memory://x.img")


def test_links_that_lead_out_of_the_image_are_named(files: OsvlabFileSystem) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^/data/nowhere is a link to none, which is not in the image"
    ):
        files.cat("/data/nowhere")
    assert set(files.cat("/data/[nt]*", on_error="omit")) == {"/data/t.csv"}
    with pytest.raises(FileNotFoundError, match=r"no such file in the image: /data/none"):
        files.cat("/data/none")


def test_it_does_not_write(files: OsvlabFileSystem) -> None:
    for write in (
        lambda: files.open("/etc/hosts", "wb"),
        lambda: files.mkdir("/new"),
        lambda: files.makedirs("/new/deep"),
        lambda: files.rm("/etc", recursive=True),
        lambda: files.rmdir("/etc"),
        lambda: files.rm_file("/etc/hosts"),
        lambda: files.mv("/etc/hosts", "/new"),
        lambda: files.copy("/etc/hosts", "/new"),
        lambda: files.pipe("/new", b"x"),
        lambda: files.touch("/new"),
    ):
        with pytest.raises(OsvlabError, match=r"cannot be written: images are read here") as caught:
            write()
        assert "osvlab cp" in str(caught.value.hint)


def test_times_and_modes_where_the_format_has_them() -> None:
    archive = record(b"f", b"x", 0o104755, mtime=1_000_000_000, uid=5) + record(b"n", mode=0o20600) + END
    files = fsspec.filesystem("osvlab", image=archive)
    told = files.info("/f")
    assert (told["mode"], told["uid"], told["mtime"]) == (0o104755, 5, 1_000_000_000)
    assert files.modified("/f").isoformat() == "2001-09-09T01:46:40+00:00"
    assert files.info("/n")["type"] == "other"


def test_an_image_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.img"
    for data in (b"one", b"two"):
        stream = io.BytesIO()
        write_rofs(Directory({b"f": Content(data)}), stream)
        path.write_bytes(stream.getvalue())
        assert fsspec.filesystem("osvlab", image=os.fspath(path)).cat("/f") == data
