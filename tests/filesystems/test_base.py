from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange, CheckReport, DamagedError
from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
from osvlab.filesystems.tree import Content, Directory


def test_a_range_never_reads_beyond_its_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    for source in (bytes(range(100)), tmp_path / "f"):
        part = ByteRange(source, 10, 20)
        assert part.length == 20
        assert part.read_at(15, 100) == bytes(range(25, 30))
        assert part.read_at(20, 1) == part.read_at(-1, 5) == part.read_at(1 << 62, 1) == b""
        assert ByteRange(source, 90, 50).length == 10
        assert ByteRange(source, 200).length == 0
        part.close()
        part.close()


def test_what_was_closed_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    part = ByteRange(tmp_path / "f")
    other = ByteRange(part)
    part.close()
    with pytest.raises(OsvlabError, match="the image was closed") as caught:
        part.read_at(0, 4)
    assert not isinstance(caught.value, DamagedError)
    assert other.read_at(0, 4) == b"data"  # its file is its own


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent"):
        ByteRange(tmp_path / "absent")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OsvlabError, match=r"cannot open .*loop: Too many levels"):
        ByteRange(tmp_path / "loop")


def test_damage_says_what_and_where() -> None:
    error = DamagedError("ROFS", "inode 7", 0x1234, "is upside down")
    assert error.message == "damaged ROFS: inode 7 at byte 0x1234 is upside down"
    assert isinstance(error, ValueError)


def test_paths_glob_and_stat_as_pathlib_does() -> None:
    stream = io.BytesIO()
    tree = Directory()
    for path in (b"/usr/lib/a.so", b"/usr/lib/deep/b.so", b"/usr/c.so", b"/usr/lib/.hidden"):
        tree.add(path, Content(b"12345"))
    write_bootfs(tree, stream)
    fs = BootfsReader(stream.getvalue())
    assert sorted(str(path) for path in (fs / "/").glob("usr/**/*.so")) == [
        "/usr/c.so",
        "/usr/lib/a.so",
        "/usr/lib/deep/b.so",
    ]
    assert [str(path) for path in (fs / "usr").glob("lib/?.so")] == ["/usr/lib/a.so"]
    found = (fs / "usr/c.so").stat()
    assert (found.st_size, found.st_mode, found.st_mtime) == (5, stat.S_IFREG | 0o555, 0)


def test_a_report_is_shown_as_it_is_printed() -> None:
    problem = DamagedError("ROFS", "inode 7", 0x1234, "is upside down")
    report = CheckReport("ROFS", (problem,), {"inodes": 1200})
    assert report._repr_mimebundle_() == {"text/plain": str(report)}
    assert str(report).splitlines()[0] == "ROFS: 1,200 inodes: 1 problem"
    assert str(CheckReport("ROFS", (), {}, ("names",))).splitlines() == [
        "ROFS: no problem",
        "  not checked: names",
    ]
