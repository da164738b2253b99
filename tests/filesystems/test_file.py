"""Files in images as file objects: they do what a file of the host with the same bytes does."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.file import GuestFile
from osvlab.filesystems.path import GuestPath
from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs import write_zfs
from osvlab.filesystems.zfs.reader import open_zfs

DATA = bytes(range(256)) * 1300  # three blocks of ZFS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> GuestPath:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("inside"))
    tree = Directory()
    tree.add(b"/data", Content(DATA))
    tree.add(b"/text", Content("caf\u00e9\r\n\u00fc\n".encode()))
    tree.add(b"/x.tar", Content(stream.getvalue()))
    tree.add(b"/link", Symlink(b"text"))
    path: Path = tmp_path_factory.mktemp("file") / "pool"
    with path.open("w+b") as file:
        write_zfs(tree, file)
    return open_zfs([path]) / "/"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 200_000)),
        st.tuples(st.just("seek"), st.integers(0, len(DATA) + 1000), st.just(io.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-5, 1000), st.just(io.SEEK_CUR)),
        st.tuples(st.just("seek"), st.integers(-len(DATA), 1000), st.just(io.SEEK_END)),
    ),
    max_size=12,
)


@given(steps)
def test_it_reads_and_seeks_as_a_file_does(files: GuestPath, steps: list[tuple[str, int]]) -> None:
    with GuestFile(files._reader, (files / "data").entry()) as file, io.BytesIO(DATA) as same:
        for name, *arguments in steps:
            if arguments[1:] == [io.SEEK_CUR]:
                arguments[0] = max(arguments[0], -same.tell())
            assert getattr(file, name)(*arguments) == getattr(same, name)(*arguments)
            assert file.tell() == same.tell()


def test_what_reads_files_reads_these(files: GuestPath) -> None:
    with (files / "link").open() as file:
        assert file.readlines() == ["caf\u00e9\n", "\u00fc\n"]
    with (files / "data").open("rb") as file:
        assert file.read() == DATA
    with (files / "x.tar").open("rb") as file, tarfile.open(fileobj=file) as archive:
        assert archive.getnames() == ["inside"]
    with pytest.raises(UnicodeDecodeError), (files / "text").open(encoding="ascii") as file:
        file.read()
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_what_cannot_be_opened_says_why(files: GuestPath) -> None:
    with pytest.raises(OSError, match="is a directory, not a file"):
        files.open()
    with pytest.raises(FileNotFoundError):
        (files / "none").open()
    for mode in ("w", "ab", "r+"):
        with pytest.raises(OsvlabError, match="images are read here"):
            (files / "text").open(mode)
    with (files / "data").open("rb") as file, pytest.raises(ValueError, match="before the beginning"):
        file.raw.seek(-1)
