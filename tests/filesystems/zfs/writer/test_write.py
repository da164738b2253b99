"""A pool is written whole, always the same, and read back as what went in."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from osvlab.errors import OsvlabError
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.output import ChangedFileError
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink, TreeError
from osvlab.filesystems.zfs import Pool, ZfsFilesystem, open_zfs
from osvlab.filesystems.zfs.writer.plan import ZfsDataset
from osvlab.filesystems.zfs.writer.space import NoSpaceError
from osvlab.filesystems.zfs.writer.write import plan_zfs, write_zfs
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, trees
from tests.filesystems.zfs.trees import assert_same, make_tree
from tests.filesystems.zfs.writer.pools import VARIANTS, bytes_of, nested, write_pool


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tree") / "top"
    make_tree(top, special=False)
    return top


@pytest.mark.parametrize("name", VARIANTS)
def test_a_tree_is_read_back(tree: Path, tmp_path: Path, name: str) -> None:
    with open_zfs([write_pool(tree, tmp_path / "pool.img", **VARIANTS[name])]) as files:
        assert assert_same(files, tree) > 100
        assert files.check().ok, str(files.check())
        assert files.pool.state == "exported"
        assert not files.pool.notes


@given(trees())
@settings(max_examples=25, deadline=5000)
def test_random_trees_are_read_back(tree: Directory) -> None:
    for options in ({}, {"compat": "v23", "compression": None}):
        with open_zfs([bytes_of(tree, **options)]) as files:
            assert facts_of_reader(files) == facts_of_tree(tree)


def test_the_same_tree_gives_the_same_bytes(tree: Path) -> None:
    assert bytes_of(read_tree(tree)) == bytes_of(read_tree(tree))


def guids(image: bytes) -> tuple[int, int]:
    pool = Pool([image])
    found = pool.config["pool_guid"], pool.config["vdev_tree"]["guid"]
    pool.close()
    return found


def test_pools_that_differ_have_numbers_of_their_own() -> None:
    one = Directory({b"a": Content(b"x")})
    images = [bytes_of(one), bytes_of(Directory({b"a": Content(b"y")})), bytes_of(one, name="other")]
    numbers = [number for image in images for number in guids(image)]
    assert len(set(numbers)) == 6


def test_source_date_epoch_is_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Directory({b"a": Content(b"x", mtime=5 * 10**9)})
    newest = Pool([bytes_of(tree)]).uberblock.timestamp
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567")
    assert (newest, Pool([bytes_of(tree)]).uberblock.timestamp) == (5, 1234567)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(OsvlabError, match="SOURCE_DATE_EPOCH is no time: 'yesterday'"):
        bytes_of(tree)


def test_nothing_is_younger_than_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    young = 2 * 10**18
    below = Directory({b"f": Content(b"x", mtime=young), b"l": Symlink(b"f", young)}, mtime=young)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567")
    with open_zfs([bytes_of(Directory({b"d": below}, mtime=young))]) as fs:
        assert {entry.modified for entry in fs.walk()} == {1234567 * 10**9}


def test_a_stream_that_was_used_before_holds_nothing_of_that() -> None:
    tree = Directory({b"a": Content(b"x")})
    clean = bytes_of(tree)
    stream = io.BytesIO(b"\xff" * (len(clean) + 3000))
    stream.seek(1000)
    assert write_zfs(tree, stream, free=0) == len(clean)
    assert stream.tell() == 1000 + len(clean)
    with open_zfs([stream.getvalue()[1000 : 1000 + len(clean)]]) as files:
        assert (files / "a").read_bytes() == b"x"


# --- what is hard about trees -----------------------------------------------------------------------------


def files_of(tree: Directory, **options: Any) -> ZfsFilesystem:
    return open_zfs([bytes_of(tree, **options)])


def test_two_thousand_directories_in_each_other() -> None:
    tree = nested(2000)
    entries = list(files_of(tree).walk())
    assert len(entries) == 2001
    assert len(entries[-1].path) == 4000


@pytest.mark.slow
def test_a_hundred_thousand_names_in_one_directory() -> None:
    tree = Directory(
        {b"file-%06d" % n: Content(b"%d" % n if n % 1000 == 0 else b"") for n in range(100_000)}
    )
    with files_of(Directory({b"d": tree})) as files:
        assert {entry.name for entry in files.list(files.find("d"))} == set(tree.children)
        assert (files / "d/file-099000").read_bytes() == b"99000"


def test_a_sparse_file_of_terabytes_takes_what_it_has(tmp_path: Path) -> None:
    place = tmp_path / "sparse"
    with open(place, "wb") as file:
        file.truncate(3 << 40)
        for at in (0, 1 << 20, (1 << 40) + 12345, (3 << 40) - 5):
            file.seek(at)
            file.write(b"found")
    image = write_pool(Directory({b"f": HostFile.at(place)}), tmp_path / "pool.img")
    assert image.stat().st_size < 256 << 20
    with open_zfs([image]) as files:
        entry = files.find("f")
        assert entry.size == 3 << 40
        for at in (0, 1 << 20, (1 << 40) + 12345, (3 << 40) - 5):
            assert files.read(entry, at, 5) == b"found"
        assert files.read(entry, 1 << 41, 1000) == bytes(1000)


@pytest.mark.soak
def test_a_file_of_five_gigabytes(tmp_path: Path) -> None:
    place = tmp_path / "large"
    block = os.urandom(1 << 16) * 16
    with open(place, "wb") as file:
        for number in range(5 << 10):
            file.write(number.to_bytes(8, "little") + block[8:])
    image = write_pool(Directory({b"f": HostFile.at(place)}), tmp_path / "pool.img")
    with open_zfs([image]) as files:
        entry = files.find("f")
        for number in (0, 1, 127, 128, 2048, 4095, 5119):
            assert files.read(entry, number << 20, 1 << 20) == number.to_bytes(8, "little") + block[8:]


def test_names_of_one_file_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    (tmp_path / "in" / "a").write_bytes(b"shared")
    os.link(tmp_path / "in" / "a", tmp_path / "in" / "below" / "b")
    with files_of(read_tree(tmp_path / "in")) as files:
        one, other = files.find("a"), files.find("below/b")
        assert one.number == other.number
        assert one.links == other.links == 2


def test_times_before_1970_and_modes_without_any_right() -> None:
    with files_of(Directory({b"a": Content(b"x", mode=0, mtime=-1)})) as files:
        entry = files.find("a")
        assert (entry.permissions, entry.modified) == (0, -1)


def test_several_datasets_and_their_properties(tmp_path: Path) -> None:
    def holding(text: str) -> Directory:
        return Directory({b"name": Content(text.encode())})

    datasets = {
        "zfs/below": ZfsDataset(holding("below")),
        "": ZfsDataset(holding("root"), {"canmount": 2, "mountpoint": "/"}),
        "zfs": ZfsDataset(holding("zfs"), {"relatime": 1}),
    }
    image = write_pool(datasets, tmp_path / "pool.img")
    for name, text in (("osv", "root"), ("osv/zfs", "zfs"), ("osv/zfs/below", "below")):
        with open_zfs([image], name) as files:
            assert (files / "name").read_text() == text


# --- what cannot be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "zstd"}, "unknown compression of a ZFS pool: 'zstd'"),
        ({"compression": "gzip-0"}, "unknown compression"),
        ({"checksum": "off"}, "unknown checksum"),
        ({"compat": "v28"}, "unknown compat"),
        ({"ashift": 13}, "unknown ashift"),
        ({"compat": "v23"}, "version 23 knows no lz4"),
        ({"name": "mirror/x"}, "not a name for a ZFS pool"),
        ({"name": ""}, "not a name for a ZFS pool"),
        ({"size": 1 << 20}, "a pool of 1 MiB is too small"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OsvlabError, match=message):
        plan_zfs(Directory(), **options)


def test_hints_name_what_is_usable() -> None:
    with pytest.raises(OsvlabError) as caught:
        plan_zfs(Directory(), compression="none")
    assert str(caught.value.hint).startswith("Usable are lz4, gzip, gzip-1, ")
    assert str(caught.value.hint).endswith(", gzip-9, None (in a shell: off).")
    with pytest.raises(OsvlabError, match=r"a pool of 1 MiB .* may need 64 MiB") as caught:
        plan_zfs(Directory(), size=1 << 20)
    assert caught.value.hint == "Give it a size of 64M or more, or none: it is sparse."
    assert plan_zfs(Directory(), size=64 << 20).size == 64 << 20


def test_a_dataset_without_parent() -> None:
    with pytest.raises(OsvlabError, match="dataset 'a/b' needs 'a'"):
        plan_zfs({"": ZfsDataset(Directory()), "a/b": ZfsDataset(Directory())})
    with pytest.raises(OsvlabError, match="dataset 'a' needs the root dataset"):
        plan_zfs({"a": ZfsDataset(Directory())})


def test_names_and_targets_that_no_guest_can_hold() -> None:
    with pytest.raises(TreeError, match="name too long"):
        plan_zfs(Directory({b"x" * 256: Content(b"")}))
    with pytest.raises(TreeError, match="has a target of 0 bytes"):
        plan_zfs(Directory({b"x": Symlink(b"")}))


@pytest.mark.parametrize("size", [100, 200_000, 3_000_000])
def test_a_file_that_changed_is_named(tmp_path: Path, size: int) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"x" * size)
    tree = Directory({b"a": HostFile.at(place)})
    plan = plan_zfs(tree)
    place.write_bytes(b"x" * (size + 1))
    with pytest.raises(ChangedFileError, match=f"file changed while it was read: it was {size} bytes long"):
        write_zfs(plan, io.BytesIO())
    place.unlink()
    with pytest.raises(ChangedFileError, match=r"cannot open .*file any more"):
        write_zfs(plan, io.BytesIO())


def test_what_fails_leaves_nothing_running() -> None:
    usual, before = sys.getswitchinterval(), set(threading.enumerate())
    tree = Directory({b"%d" % number: Content(b"x" * 100_000) for number in range(100)})

    def enough(done: int, total: int) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough") as raised:
        write_zfs(tree, io.BytesIO(), progress=enough)
    assert raised.tb is not None  # it holds on to all that was in use, as a notebook does
    assert sys.getswitchinterval() == usual
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


def test_a_size_is_kept_to(tmp_path: Path) -> None:
    plan = plan_zfs(Directory({b"a": Content(b"x")}), size=100_000_000)
    assert plan.size == 100_000_000 >> 18 << 18


def test_room_is_planned_for_all_that_is_written(tree: Path, tmp_path: Path) -> None:
    for options in VARIANTS.values():
        write_pool(tree, tmp_path / "pool.img", free=0, **options)  # a NoSpaceError would tell
    assert issubclass(NoSpaceError, OsvlabError)


def test_progress_counts_every_file() -> None:
    told: list[tuple[int, int]] = []
    tree = Directory({b"a": Content(b"x" * 10), b"b": Content(b""), b"c": Content(bytes(300_000))})
    bytes_of(tree, progress=lambda done, total: told.append((done, total)))
    assert told == [(10, 300_010), (10, 300_010), (300_010, 300_010)]


def test_the_order_of_properties_does_not_matter() -> None:
    one, other = {"canmount": 2, "mountpoint": "/"}, {"mountpoint": "/", "canmount": 2}
    assert bytes_of({"": ZfsDataset(Directory(), one)}) == bytes_of({"": ZfsDataset(Directory(), other)})


def test_a_file_that_cannot_tell_where_its_holes_are_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    tree = read_tree(tmp_path)
    seek = os.lseek

    def broken(fd: int, position: int, whence: int) -> int:
        if whence == os.SEEK_DATA:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return seek(fd, position, whence)

    monkeypatch.setattr(os, "lseek", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write_zfs(tree, io.BytesIO())
