"""Archives that GNU cpio wrote, archives that we wrote, and archives that nobody should have written."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError, Kind
from osvlab.filesystems.cpio import CpioReader, write_cpio
from osvlab.filesystems.tree import Directory
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, short_names, trees


def record(
    name: bytes, data: bytes = b"", mode: int = 0o100644, *, magic: bytes = b"070701", **fields: int
) -> bytes:
    """Write a record by hand, as cpio(5) describes it."""
    known = dict.fromkeys(
        ("ino", "mode", "uid", "gid", "nlink", "mtime", "filesize", "devmajor", "devminor", "rdevmajor"), 0
    )
    known |= {"rdevminor": 0, "namesize": len(name) + 1, "check": 0}
    known |= {"mode": mode, "nlink": 1, "filesize": len(data)} | fields
    head = magic + b"".join(b"%08X" % value for value in known.values()) + name + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


END = record(b"TRAILER!!!", mode=0)


def gnu_cpio(folder: Path, format: str, names: list[str]) -> bytes:
    argv = ["cpio", "--create", f"--format={format}", "--null", "--quiet"]
    listed = "\0".join(names).encode("utf-8", "surrogateescape")
    return subprocess.run(argv, input=listed, cwd=folder, capture_output=True, check=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    for size in range(9):
        (folder / ("n" * (size + 1))).write_bytes(bytes(range(size)))
    (folder / "deep" / "er" / "big").write_bytes(os.urandom(300_001))
    (folder / "deep" / "er" / "big").chmod(0o4751)
    os.utime(folder / "deep" / "er" / "big", (0, 1_234_567_890))
    os.link(folder / "deep" / "er" / "big", folder / "other name")
    os.link(folder / "deep" / "er" / "big", folder / "a third")
    (folder / "link").symlink_to("deep/er")
    (folder / os.fsdecode(b"bytes\xff")).write_text("no UTF-8")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("format", ["newc", "crc"])
def test_what_gnu_cpio_wrote_is_read(folder: Path, format: str) -> None:
    names = [".", *sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))]
    fs = CpioReader(gnu_cpio(folder, format, names))
    assert sorted(e.path for e in fs.walk()) == sorted([b"/", *(os.fsencode(f"/{n}") for n in names[1:])])
    for name in names[1:]:
        found, path = (folder / name).lstat(), fs / name
        entry = path.entry(follow=False)
        assert (
            stat.S_IFMT(found.st_mode) | stat.S_IMODE(found.st_mode)
            == path.stat(follow_symlinks=False).st_mode
        )
        if entry.kind is not Kind.DIRECTORY:
            assert (entry.links, entry.size) == (found.st_nlink, found.st_size), name
        if entry.kind is Kind.FILE:
            assert path.read_bytes() == (folder / name).read_bytes()
            assert entry.modified == found.st_mtime_ns // 10**9 * 10**9
        if entry.kind is Kind.SYMLINK:
            assert path.readlink() == os.readlink(folder / name)
    big, other = (fs / "deep/er/big").entry(), (fs / "other name").entry()
    assert big.number == other.number
    assert (big.links, big.permissions, big.modified) == (3, 0o4751, 1_234_567_890 * 10**9)
    assert fs.check().ok
    (extent,) = (fs / "a third").extents()
    assert extent.length == 300_001


@pytest.mark.parametrize(
    ("format", "said"),
    [("odc", '"odc" format of POSIX'), ("bin", "old binary format"), ("hpodc", '"odc"')],
)
def test_other_formats_are_refused_by_name(folder: Path, format: str, said: str) -> None:
    with pytest.raises(OsvlabError, match=said) as caught:
        CpioReader(gnu_cpio(folder, format, ["n", "nn"]))
    assert "--format=newc" in str(caught.value.hint)


@given(trees())
@settings(deadline=None)
def test_random_trees_come_back(tree: Directory) -> None:
    stream = io.BytesIO()
    write_cpio(tree, stream)
    fs = CpioReader(stream.getvalue())
    assert facts_of_reader(fs) == facts_of_tree(tree)
    assert fs.check().ok
    assert fs.size == len(stream.getvalue())


def test_devices_keep_their_numbers() -> None:
    fs = CpioReader(
        record(b"null", mode=0o20666, rdevmajor=1, rdevminor=3)
        + record(b"sda", mode=0o60600, rdevmajor=8)
        + END
    )
    null = (fs / "null").entry()
    assert (null.kind, null.device) == (Kind.CHARACTER_DEVICE, os.makedev(1, 3))
    assert (fs / "sda").entry().kind is Kind.BLOCK_DEVICE
    assert (fs / "null").stat().st_mode == stat.S_IFCHR | 0o666
    with pytest.raises(OSError, match=r"/null is a character device, not a file"):
        (fs / "null").read_bytes()


def test_devices_that_cannot_be() -> None:
    with pytest.raises(DamagedError, match=r"\(/null\) is the impossible device 4294967295, 3"):
        CpioReader(record(b"null", mode=0o20666, rdevmajor=0xFFFFFFFF, rdevminor=3) + END)


def test_a_name_that_comes_again_replaces_the_first() -> None:
    fs = CpioReader(record(b"f", b"old") + record(b"./f", b"new") + END)
    assert (fs / "f").read_bytes() == b"new"
    fs = CpioReader(record(b"f", b"old") + record(b"f", b"f", mode=0o120777) + END)
    assert (fs / "f").readlink() == "f"


def test_archives_one_after_the_other_as_linux_allows() -> None:
    fs = CpioReader(
        (record(b"a/x", b"1") + END).ljust(1024, b"\0") + record(b"a/y", b"2") + END + bytes(500)
    )
    assert sorted(path.name for path in (fs / "a").iterdir()) == ["x", "y"]
    assert fs.check().ok
    fs = CpioReader(record(b"a", b"1") + END + b"\x1f\x8bsomething")
    assert (fs / "a").read_bytes() == b"1"
    assert "are no cpio archive" in str(fs.check())


def test_names_of_one_file_share_the_data_of_the_record_that_has_it() -> None:
    same = {"ino": 7, "nlink": 2}
    for records in ([b"", b"data"], [b"data", b""]):
        fs = CpioReader(record(b"one", records[0], **same) + record(b"two", records[1], **same) + END)
        assert (fs / "one").read_bytes() == (fs / "two").read_bytes() == b"data"
        assert (fs / "one").entry().number == (fs / "two").entry().number
    apart = {**same, "devminor": 1}
    fs = CpioReader(record(b"one", b"", **same) + record(b"two", b"data", **apart) + END)
    assert (fs / "one").read_bytes() == b""


def test_it_is_explained_down_to_the_data() -> None:
    image = record(b"hello", b"hi there", uid=1000) + END
    top = CpioReader(image).explain()
    found = top / "record 0"
    assert (found["magic"], found["mode"], found["uid"]) == (b"070701", "0o100644", 1000)
    data = found / "data"
    assert image[data.offset : data.offset + data.length] == data.raw == b"hi there"
    assert "bytes of the name" in str(found)


def test_a_wrong_sum_is_damage() -> None:
    good = record(b"f", b"\1\2", magic=b"070702", check=3) + END
    assert (CpioReader(good) / "f").read_bytes() == b"\1\2"
    bad = CpioReader(record(b"f", b"\1\3", magic=b"070702", check=3) + END)
    with pytest.raises(DamagedError, match=r"record 0 .* sum is 0x4 instead of 0x3"):
        (bad / "f").read_bytes()
    assert "sum is 0x4" in str(bad.check())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "record 0 at byte 0x0 is cut off"),
        (b"070701", "record 0 at byte 0x0 is cut off"),
        (b"070708" + bytes(200), "begins with b'070708'"),
        (record(b"f", b"data"), "record 1 at byte 0x74 is cut off: the end of the archive is missing"),
        (record(b"f", b"data" * 9)[:-8], "ends at byte 148 of 140: the archive is truncated"),
        (record(b"f", filesize=0xFFFFFFFF) + END, "truncated"),
        (record(b"f", namesize=0xFFFFFFFF) + END, "name of 4294967295 bytes"),
        (record(b"", b"") + END, "name of 1 bytes"),
        (record(b"f").replace(b"00000002", b"0000000g", 1) + END, "not hexadecimal"),
        (record(b"f").replace(b"00000002", b"   00002", 1) + END, "not hexadecimal"),
        (record(b"ab", namesize=2) + END, "without its NUL"),
        (record(b"a/../../etc/passwd", b"x") + END, "impossible name"),
        (record(b"a" * 256, b"x") + END, "longer than names can be"),
        (record(b"f", mode=0) + END, "unknown type"),
        (record(b"f", mode=0x1FFFF) + END, "unknown type"),
        (record(b"l", mode=0o120777) + END, "symlink of 0 bytes"),
        (record(b"d", b"data", mode=0o40755) + END, "directory of 4 bytes"),
        (record(b"f") + record(b"f/g") + END, "record 1 .* lies below a file"),
        (record(b"l", b"/etc", 0o120777) + record(b"l/passwd") + END, "lies below a symlink"),
        (record(b"d", mode=0o40755) + record(b"d") + END, "repeats the path /d"),
        (record(b".", b"") + END, "makes the root a file"),
    ],
)
def test_damage_is_named(image: bytes, message: str) -> None:
    with pytest.raises(DamagedError, match=message):
        CpioReader(image)


def test_paths_without_end_do_not_fill_the_memory() -> None:
    deep = b"/".join([b"d"] * 2000)
    many = b"".join(record(b"%03d/" % number + deep) for number in range(50))
    with pytest.raises(DamagedError, match=r"record 1 .*more directories than"):
        CpioReader(many + END)


@given(trees(short_names), st.data())
@settings(deadline=2000)
def test_random_damage_is_an_error_or_harmless(tree: Directory, data: st.DataObject) -> None:
    stream = io.BytesIO()
    write_cpio(tree, stream)
    image = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(OsvlabError):
        fs = CpioReader(bytes(image[: data.draw(st.integers(0, len(image)))]))
        for entry in fs.walk():
            if entry.kind is Kind.FILE:
                fs.read(entry)
        fs.check()
        list(fs.explain().walk())
