"""What formats say of themselves: where bytes lie, what is wrong, which structure leads to which."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError, Filesystem, Kind
from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
from osvlab.filesystems.findings import Findings
from osvlab.filesystems.rofs import RofsReader, write_rofs
from osvlab.filesystems.structure import Structure
from osvlab.filesystems.tree import Content, Directory, Symlink, TreeError
from tests.filesystems.strategies import short_names, trees

FORMATS = [(write_rofs, RofsReader), (write_bootfs, BootfsReader)]


def image_of(write: object, tree: Directory) -> bytes:
    stream = io.BytesIO()
    write(tree, stream)  # type: ignore[operator]
    return stream.getvalue()


@pytest.fixture
def tree() -> Directory:
    tree = Directory()
    tree.add(b"/bin/sh", Content(b"#" * 700))
    tree.add(b"/etc/hosts", Content(b"hosts"))
    tree.add(b"/etc/empty", Content(b""))
    tree.add(b"/z", Symlink(b"/etc/hosts"))
    return tree


@pytest.mark.parametrize(("write", "reader"), FORMATS)
@given(tree=trees(short_names))
@settings(deadline=None)
def test_extents_lead_to_the_bytes(write: object, reader: type[Filesystem], tree: Directory) -> None:
    try:
        image = b"before" + image_of(write, tree)
    except TreeError:
        return  # longer than bootfs can
    fs = reader(image, 6)  # type: ignore[call-arg]
    for entry in fs.walk():
        if entry.kind is Kind.FILE:
            extents = list((fs / entry.path).extents())
            assert sum(extent.length for extent in extents) == entry.size
            stored = b"".join(image[e.offset : e.offset + e.stored] for e in extents if e.offset is not None)
            assert stored == fs.read(entry)
    report = fs.check()
    assert report.ok, report
    assert report.counts["bytes"] >= sum(e.size for e in fs.walk() if e.kind is Kind.FILE)


def test_a_rofs_is_explained_down_to_the_bytes(tree: Directory) -> None:
    image = image_of(write_rofs, tree)
    top = RofsReader(image).explain()
    assert top["magic"] == 0xDEADBEAD
    found = top / "root directory" / "etc" / "inode" / "hosts" / "inode" / "contents"
    assert image[found.offset : found.offset + found.length] == found.raw == b"hosts"
    assert (top / "symlinks" / "symlink 0")["target"] == "/etc/hosts"
    assert (top / "root directory" / "z" / "inode" / "target")["target"] == "/etc/hosts"
    assert [p.name for p in (top / "inodes").pointers] == [f"inode {n}" for n in range(1, 8)]
    assert "file" in str(top / "inodes" / "inode 3")
    assert_raw_is_on_disk(top, image)


def test_a_bootfs_is_explained_down_to_the_bytes(tree: Directory) -> None:
    image = image_of(write_bootfs, tree)
    top = BootfsReader(image).explain()
    names = [pointer.read()["name"].rstrip(b"\0") for pointer in top.pointers]
    assert names == [b"bin/", b"bin/sh", b"etc/", b"etc/empty", b"etc/hosts", b"z"]
    assert (top / "record 4" / "contents").raw == b"hosts"
    assert (top / "record 5" / "target").raw == b"/etc/hosts\0"
    assert_raw_is_on_disk(top, image)


def assert_raw_is_on_disk(top: Structure, image: bytes) -> None:
    count = 0
    for _, found in top.walk(depth=8):
        count += 1
        assert image[found.offset : found.offset + found.length].startswith(found.raw)
        for field in found.fields:
            assert field.offset + field.length <= found.length
        assert str(found)
    assert count >= 10


@pytest.mark.parametrize(("write", "reader"), FORMATS)
def test_a_path_is_explained_by_its_own_structure(
    write: object, reader: type[Filesystem], tree: Directory
) -> None:
    fs = reader(image_of(write, tree))  # type: ignore[call-arg]
    assert ((fs / "etc/hosts").explain() / "contents").raw == b"hosts"
    assert (fs / "z").explain().name in ("inode 7", "record 5")  # of the link, not of where it leads


def test_a_check_finds_all_that_is_wrong_in_a_rofs(tree: Directory) -> None:
    image = bytearray(image_of(write_rofs, tree))
    reader = RofsReader(bytes(image))
    inodes = reader._structure_start + reader._inodes
    struct.pack_into("<Q", image, inodes + 2 * 32, 0x1000)  # /bin/sh has no type
    struct.pack_into("<Q", image, inodes + 5 * 32 + 16, 1)  # /etc/hosts lies where /bin/sh does
    struct.pack_into("<Q", image, inodes + 6 * 32 + 16, 9)  # /z is no link that there is
    image[image.index(b"empty")] = ord("/")
    problems = [str(problem) for problem in RofsReader(bytes(image)).check().problems]
    for part in ("inode 3", "has the unknown type", "symlink 9 of 1", "impossible name b'/mpty'"):
        assert any(part in problem for problem in problems), problems
    assert len(problems) >= 4


def test_files_that_claim_the_same_blocks_are_told(tree: Directory) -> None:
    image = bytearray(image_of(write_rofs, tree))
    reader = RofsReader(bytes(image))
    at = reader._structure_start + reader._inodes + 5 * 32
    struct.pack_into("<Q", image, at + 16, 2)
    (problem,) = RofsReader(bytes(image)).check().problems
    assert "block 2 at byte 0x400 is claimed by inode 3 and inode 6" in problem.message


def test_a_check_of_a_bootfs_finds_what_overlaps_and_bad_links(tree: Directory) -> None:
    image = bytearray(image_of(write_bootfs, tree))
    struct.pack_into("<Q", image, 4 * 128 + 8, 900)
    image[-1] = ord("x")
    first, second = BootfsReader(bytes(image)).check().problems
    assert "link without its NUL" in first.message
    assert "begins inside record 1 (/bin/sh)" in second.message


def test_checking_files_that_all_claim_the_whole_image_takes_no_longer() -> None:
    """400 files of 4 MB in a bootfs of 4 MB would be 1.6 GB to read."""
    count = 400
    head = b"".join(struct.pack("<QQb111s", 4 << 20, (count + 1) * 128, 0, b"f%d" % n) for n in range(count))
    report = BootfsReader(head + bytes(128) + bytes(4 << 20)).check()
    assert report.counts["bytes"] < 5 << 20
    assert len(report.problems) == count - 1


def test_a_report_does_not_grow_without_end() -> None:
    found = Findings("x")
    for number in range(5000):
        found.add(DamagedError("x", f"thing {number}", 0, "is wrong"))
    assert len(found.report().problems) == 1001
    assert "and 4000 more" in str(found.report())


def test_directories_that_a_bootfs_only_implies_are_bounded() -> None:
    path = b"/".join([b"d"] * 55)
    records = [struct.pack("<QQb111s", 0, 0, 0, path[:-3] + b"%03d" % n if n else path) for n in range(900)]
    BootfsReader(b"".join(records) + bytes(128))  # they share their directories
    records = [struct.pack("<QQb111s", 0, 0, 0, b"%03d/" % n + path[:104]) for n in range(900)]
    with pytest.raises(OsvlabError, match=r"more directories than an archive of this length"):
        BootfsReader(b"".join(records) + bytes(128))
