"""Copying out of images, of good ones and of ones that mean harm."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

import osvlab.filesystems
from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError, Entry, Extent, Filesystem, Kind
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.copying import CopyError, CopyReport, copy_out
from osvlab.filesystems.cpio import CpioReader
from osvlab.filesystems.rofs import RofsReader, write_rofs
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.filesystems.zfs import write_zfs
from tests.filesystems.strategies import facts_of_tree, trees
from tests.filesystems.test_cpio_reader import END, record

TERABYTE = 1 << 40


def archive(*records: bytes) -> CpioReader:
    return CpioReader(b"".join(records) + END)


def copied(fs: Filesystem, target: Path, path: str = "/") -> CopyReport:
    return copy_out(fs, fs.find(path), target)


@pytest.fixture
def fs() -> CpioReader:
    same = {"ino": 9, "nlink": 2}
    return archive(
        record(b"etc", mode=0o40750, mtime=1_000_000_000),
        record(b"etc/hosts", b"127.0.0.1", 0o100640, mtime=1_100_000_000),
        record(b"bin", mode=0o40555),
        record(b"bin/sh", b"#!", 0o104755),
        record(b"bin/one", b"", 0o100644, **same),
        record(b"bin/two", b"the same", 0o100644, **same),
        record(b"link", b"etc/hosts", 0o120777, mtime=1_200_000_000),
        record(b"loop", b"loop", 0o120777),
        record(b"null", mode=0o20666, rdevmajor=1, rdevminor=3),
        record(b"pipe", mode=0o10600),
    )


def test_a_tree_comes_with_permissions_times_and_links(fs: CpioReader, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = copied(fs, out)
    assert (report.files, report.directories, report.links, report.bytes) == (4, 2, 2, 19)
    assert [entry.path for entry in report.skipped] == [b"/null", b"/pipe"]
    assert (out / "etc/hosts").read_text() == "127.0.0.1"
    assert stat.S_IMODE((out / "etc/hosts").stat().st_mode) == 0o640
    assert (out / "etc/hosts").stat().st_mtime == 1_100_000_000
    assert stat.S_IMODE((out / "etc").stat().st_mode) == 0o750
    assert (out / "etc").stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((out / "bin").stat().st_mode) == 0o555
    assert stat.S_IMODE((out / "bin/sh").stat().st_mode) == 0o755  # not set-user-id
    assert os.readlink(out / "link") == "etc/hosts"
    assert (out / "link").lstat().st_mtime == 1_200_000_000
    assert (out / "bin/one").samefile(out / "bin/two")
    assert (out / "bin/one").read_text() == "the same"
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert sorted(os.listdir(out)) == ["bin", "etc", "link", "loop"]


def test_it_can_be_copied_again_into_what_is_there(fs: CpioReader, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copied(fs, out)
    (out / "etc/hosts").write_text("changed")
    (out / "etc/mine").write_text("mine")
    out.chmod(0o711)
    (out / "bin").chmod(0o755)
    copied(fs, out)
    assert (out / "etc/hosts").read_text() == "127.0.0.1"
    assert (out / "etc/mine").read_text() == "mine"
    assert stat.S_IMODE(out.stat().st_mode) == 0o711  # what was there stays as it was
    assert not list(out.rglob("*.part"))


def test_single_files_and_what_links_lead_to(fs: CpioReader, tmp_path: Path) -> None:
    copied(fs, tmp_path / "hosts", "/link")
    assert (tmp_path / "hosts").read_text() == "127.0.0.1"
    copied(fs, tmp_path / "hosts", "/bin/one")
    assert (tmp_path / "hosts").read_text() == "the same"
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*/none"):
        copied(fs, tmp_path / "none/hosts", "/etc/hosts")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CopyError, match=r"folder is in the way of /etc/hosts: it is a folder"):
        copied(fs, tmp_path / "folder", "/etc/hosts")
    with pytest.raises(CopyError, match=r"hosts is there, and is no folder"):
        copied(fs, tmp_path / "hosts", "/etc")


def test_formats_without_permissions_give_what_can_be_run(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_rofs(Directory({b"d": Directory({b"f": Content(b"x")})}), stream)
    umask = os.umask(0o027)
    try:
        copied(RofsReader(stream.getvalue()), tmp_path / "out")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "out/d/f").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "out/d").stat().st_mode) == 0o750


def test_holes_are_made_where_there_are_zeros(tmp_path: Path) -> None:
    data = b"a" + bytes(20 << 20) + b"b" + bytes(5 << 20)
    copied(archive(record(b"f", data)), tmp_path / "out")
    assert (tmp_path / "out/f").read_bytes() == data
    assert (tmp_path / "out/f").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("write", [write_rofs, write_bootfs, write_zfs])
def test_a_hole_of_a_terabyte_is_neither_read_nor_written(
    tmp_path: Path, write: Callable[..., object]
) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.write(b"begin")
        file.seek(TERABYTE // 2)
        file.write(b"middle")
        file.truncate(TERABYTE)
    tree = Directory()
    tree.add(b"/a/f", HostFile.at(tmp_path / "f", (tmp_path / "f").stat()))
    tree.add(b"/z", Content(b"behind it"))
    with (tmp_path / "image").open("wb", buffering=0) as stream:
        write(tree, stream, sparse=True)
    with osvlab.filesystems.open(tmp_path / "image") as fs:
        report = fs.check()
        copied(fs, tmp_path / "out")
    assert report.ok, report
    if write is not write_zfs:
        assert report.counts["bytes"] >= TERABYTE  # zeros count, however they are stored
    assert (tmp_path / "out/z").read_bytes() == b"behind it"
    out = tmp_path / "out/a/f"
    assert (out.stat().st_size, out.stat().st_blocks * 512 < 1 << 20) == (TERABYTE, True)
    with out.open("rb") as file:
        assert file.read(6) == b"begin\0"
        file.seek(TERABYTE // 2 - 1)
        assert file.read(8) == b"\0middle\0"


def test_what_is_cut_off_is_no_hole(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb", buffering=0) as stream:
        write_rofs(Directory({b"f": Content(b"x" * 100_000)}), stream)
    with RofsReader(image) as fs:
        os.truncate(image, 50_000)
        with pytest.raises(DamagedError, match=r"contents of /f .* are cut off"):
            copied(fs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("link", ["etc", "etc/hosts", "link"])
def test_links_on_the_host_are_never_followed(fs: CpioReader, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hosts").write_text("precious")
    out = tmp_path / "out"
    (out / "etc").mkdir(parents=True)
    if link == "etc":
        (out / "etc").rmdir()
    (out / link).symlink_to(outside if link == "etc" else outside / "hosts")
    with pytest.raises(CopyError, match=r"is in the way of .*: it is a symbolic link"):
        copied(fs, out)
    assert (outside / "hosts").read_text() == "precious"
    assert os.listdir(outside) == ["hosts"]


class Lying(Filesystem):
    """A filesystem whose names are what a careless reader could let through."""

    format = "lies"
    _root = Entry(b"/", Kind.DIRECTORY, 1, 1)

    def __init__(self, *names: bytes) -> None:
        self._names = names

    @property
    def root(self) -> Entry:
        return self._root

    def list(self, directory: Entry) -> list[Entry]:
        return [Entry(directory.child_path(n), Kind.FILE, 4, 2) for n in self._names]

    def read(self, file: Entry, offset: int = 0, length: int | None = None) -> bytes:
        return b"evil"[offset:][:length]

    def target(self, link: Entry) -> bytes:
        raise NotImplementedError

    def extents(self, file: Entry) -> Iterator[Extent]:
        yield Extent(0, 4, 0, 4)

    check = explain = explain_entry = close = target  # type: ignore[assignment]


@pytest.mark.parametrize("name", [b"..", b"../evil", b"a/../../evil", b"/evil", b"a\0b", b".", b"x" * 256])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "out").mkdir()
    for target in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(OsvlabError, match=r"names a file that cannot be one|cannot copy"):
            copied(Lying(name), target)
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_a_file_then_a_directory_of_the_same_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CopyError, match=r"a is in the way of a: it is a file"):
        copied(Lying(b"a", b"a/b"), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_new_directory_that_fails(tmp_path: Path) -> None:
    stream = io.BytesIO()
    tree = Directory({b"a": Directory({b"f": Content(b"x" * 600)}, mode=0o500), b"z": Content(b"y" * 600)})
    write_rofs(tree, stream)
    (tmp_path / "image").write_bytes(stream.getvalue())
    fs = RofsReader(tmp_path / "image")
    os.truncate(tmp_path / "image", 1300)  # after it was opened
    with pytest.raises(DamagedError, match=r"contents of /z .*cut off"):
        copied(fs, tmp_path / "out")
    assert os.listdir(tmp_path) == ["image"]


def test_a_host_that_refuses_is_told(fs: CpioReader, tmp_path: Path) -> None:
    with pytest.raises(CopyError, match=r"cannot copy /bin/one to /proc/one: "):
        copied(fs, Path("/proc/one"), "/bin/one")


@given(tree=trees())
@settings(deadline=None, max_examples=30)
def test_random_trees_come_out_as_they_went_in(
    tree: Directory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stream = io.BytesIO()
    write_rofs(tree, stream)
    out = tmp_path_factory.mktemp("copying") / "out"
    copied(RofsReader(stream.getvalue()), out)
    found: dict[bytes, tuple[Kind, bytes | None]] = {b"/": (Kind.DIRECTORY, None)}
    top = os.fsencode(out)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            key = path[len(top) :]
            if os.path.islink(path):
                found[key] = (Kind.SYMLINK, os.readlink(path))
            elif os.path.isdir(path):
                found[key] = (Kind.DIRECTORY, None)
            else:
                with open(path, "rb") as file:
                    found[key] = (Kind.FILE, file.read())
    assert found == facts_of_tree(tree)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that pytest does not remove: what is too deep for `rmtree` would fail later runs."""
    folder = Path(tempfile.mkdtemp(prefix="osvlab-deep-"))
    yield folder
    subprocess.run(["rm", "-rf", "--", folder], check=True)


def test_a_tree_deeper_than_descriptors_and_paths_go(outside: Path) -> None:
    tree = Directory()
    tree.add(b"/a" * 1200, Content(b"deep"))
    tree.children[b"l"] = Symlink(b"a")
    stream = io.BytesIO()
    write_rofs(tree, stream)
    report = copied(RofsReader(stream.getvalue()), outside / "out")
    assert (report.directories, report.files) == (1199, 1)


def test_a_deep_tree_that_fails_leaves_nothing(outside: Path) -> None:
    tree = Directory({b"z": Content(b"last")})
    tree.add(b"/a" * 1200, Content(b"deep"))
    stream = io.BytesIO()
    write_rofs(tree, stream)
    (outside / "image").write_bytes(stream.getvalue())
    fs = RofsReader(outside / "image")
    os.truncate(outside / "image", 1024)
    with pytest.raises(DamagedError, match=r"contents of /z"):
        copied(fs, outside / "out")
    assert os.listdir(outside) == ["image"]
