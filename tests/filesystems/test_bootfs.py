from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError
from osvlab.filesystems.bootfs import BootfsReader, bootfs_size, write_bootfs
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink, TreeError
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, short_names, trees


def bootfs(tree: Directory) -> bytes:
    stream = io.BytesIO()
    assert write_bootfs(tree, stream) == bootfs_size(tree) == len(stream.getvalue())
    return stream.getvalue()


def record(size: int, offset: int, kind: int, name: bytes) -> bytes:
    return struct.pack("<QQb111s", size, offset, kind, name)


def test_every_byte_is_where_the_format_says() -> None:
    tree = Directory()
    tree.add(b"/etc/hosts", Content(b"hosts"))
    tree.add(b"/z", Symlink(b"/etc"))
    assert bootfs(tree) == (
        record(0, 512, 0, b"etc/")
        + record(5, 512, 0, b"etc/hosts")
        + record(5, 517, 1, b"z")
        + bytes(128)
        + b"hosts/etc\0"
    )


@given(trees(short_names))
@settings(deadline=None)
def test_random_trees_come_back(tree: Directory) -> None:
    try:
        image = bootfs(tree)
    except TreeError as error:
        assume("path too long" not in error.message)
        raise
    assert facts_of_reader(BootfsReader(image)) == facts_of_tree(tree)


def test_an_empty_tree() -> None:
    assert bootfs(Directory()) == bytes(128)
    assert BootfsReader(bytes(128)).list(BootfsReader(bytes(128)).root) == []


def test_a_path_of_110_bytes_fits_and_one_of_111_is_named() -> None:
    tree = Directory({b"x" * 110: Content(b"1")})
    assert facts_of_reader(BootfsReader(bootfs(tree))) == facts_of_tree(tree)
    with pytest.raises(TreeError, match=r"path too long for bootfs .111 bytes"):
        bootfs(Directory({b"x" * 111: Content(b"1")}))


def test_directories_without_a_record_are_there() -> None:
    image = record(2, 256, 0, b"usr/lib/x") + bytes(128) + b"hi"
    reader = BootfsReader(image)
    assert reader.read(reader.find("/usr/lib/x")) == b"hi"
    assert [e.path for e in reader.walk()] == [b"/", b"/usr", b"/usr/lib", b"/usr/lib/x"]


def test_files_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    tree = Directory({b"f": HostFile(os.fsencode(tmp_path / "f"), 3_000_000), b"g": Content(b"after")})
    with open(tmp_path / "image", "wb", buffering=0) as stream:
        write_bootfs(tree, stream)
    with BootfsReader(tmp_path / "image") as reader:
        assert reader.read(reader.find("f")) == b"x" * 3_000_000
        assert reader.read(reader.find("g"), 2, 2) == b"te"
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(OsvlabError, match=r"changed while it was read"):
        write_bootfs(tree, io.BytesIO())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "record 0 at byte 0x0 is cut off"),
        (record(0, 128, 0, b"f"), "record 1 at byte 0x80 is cut off"),
        (record(5, 256, 0, b"f") + bytes(128) + b"1234", "record 0 .* ends at byte 261 of 260"),
        (record(5, 1 << 63, 0, b"f") + bytes(128), "truncated"),
        (record(0, 256, 7, b"f") + bytes(128), "unknown type 7"),
        (record(0, 256, 1, b"l") + bytes(128), "symlink of 0 bytes"),
        (record(1, 256, 0, b"d/") + bytes(128) + b"x", "directory of 1 bytes"),
        (record(0, 256, 0, b"a/../b") + bytes(128), "impossible name"),
        (record(0, 256, 0, b"x" * 111) + bytes(128), "impossible name"),
        (record(0, 256, 0, b"f") * 2 + bytes(128), "record 1 .* repeats the path /f"),
        (record(0, 0, 0, b"f") + record(0, 0, 0, b"f/g") + bytes(128), "repeats the path /f"),
    ],
)
def test_damage_is_named(image: bytes, message: str) -> None:
    with pytest.raises(DamagedError, match=message):
        BootfsReader(image)


@given(trees(short_names), st.data())
@settings(deadline=2000)
def test_random_damage_is_an_error_or_harmless(tree: Directory, data: st.DataObject) -> None:
    with contextlib.suppress(TreeError, DamagedError):
        image = bytearray(bootfs(tree))
        for _ in range(data.draw(st.integers(1, 4))):
            image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
        facts_of_reader(BootfsReader(bytes(image[: data.draw(st.integers(0, len(image)))])))


def test_a_target_longer_than_a_path_is_damage() -> None:
    stream = io.BytesIO()
    write_bootfs(Directory({b"link": Symlink(b"x")}), stream)
    image = bytearray(stream.getvalue().ljust(10_000, b"\0"))
    image[0:8] = (5000).to_bytes(8, "little")
    with pytest.raises(DamagedError, match="symlink of 5000 bytes"):
        BootfsReader(bytes(image))
