from __future__ import annotations

import io
import stat

from osvlab.filesystems.base import CheckReport, DamagedError
from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
from osvlab.filesystems.tree import Content, Directory


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
    assert repr(fs) == "<bootfs filesystem>"
    assert sorted(str(path) for path in (fs / "/").glob("usr/**/*.so")) == [
        "/usr/c.so",
        "/usr/lib/a.so",
        "/usr/lib/deep/b.so",
    ]
    assert [str(path) for path in (fs / "usr").glob("lib/?.so")] == ["/usr/lib/a.so"]
    assert [(fs / name).suffix for name in ("usr/c.so", "usr/lib", "usr/lib/.hidden")] == [".so", "", ""]
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
