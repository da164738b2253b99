from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError, GuestPathError, Kind
from osvlab.filesystems.rofs import RofsReader, plan_rofs, write_rofs
from osvlab.filesystems.rofs.format import C_ROFS
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink, TreeError
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, short_names, trees


def rofs(tree: Directory) -> bytes:
    stream = io.BytesIO()
    size = write_rofs(tree, stream)
    assert size == len(stream.getvalue()) == plan_rofs(tree).size
    return stream.getvalue()


@pytest.fixture
def small() -> bytes:
    """One of everything: root 1, bin 2, bin/sh 3, etc 4, etc/hosts 5, z 6."""
    tree = Directory()
    tree.add(b"/bin/sh", Content(b"#" * 700))
    tree.add(b"/etc/hosts", Content(b"hosts"))
    tree.add(b"/z", Symlink(b"/etc/hosts"))
    return rofs(tree)


# --- the format -----------------------------------------------------------------------------------


def test_every_byte_is_where_the_format_says(small: bytes) -> None:
    """Written out by hand from the description of OSv's generator."""

    def entry(number: int, name: bytes) -> bytes:
        return struct.pack("<QH", number, len(name)) + name

    entries = entry(3, b"sh") + entry(5, b"hosts") + entry(2, b"bin") + entry(4, b"etc") + entry(6, b"z")
    links = struct.pack("<H", 10) + b"/etc/hosts"
    inodes = b"".join(
        struct.pack("<4Q", *fields)
        for fields in [
            (0x4000, 1, 2, 3),  # the root's entries come last
            (0x4000, 2, 0, 1),
            (0x8000, 3, 1, 700),
            (0x4000, 4, 1, 1),
            (0x8000, 5, 3, 5),
            (0xA000, 6, 0, 1),
        ]
    )
    structure = entries + links + inodes
    superblock = struct.pack("<8Q", 0xDEADBEAD, 1, 512, 4, 1, 5, 1, 6)
    blocks = superblock.ljust(512, b"\0") + (b"#" * 700).ljust(1024, b"\0") + b"hosts".ljust(512, b"\0")
    assert len(structure) < 512
    assert small == blocks + structure.ljust(512, b"\0")


def test_an_empty_root_is_a_filesystem() -> None:
    reader = RofsReader(rofs(Directory()))
    reader.validate()
    assert [e.path for e in reader.walk()] == [b"/"]


def test_a_full_last_block_is_followed_by_one_of_zeros() -> None:
    """OSv's generator pads by 512 bytes there, and does not count the block."""
    # 32 for the root, 32 + 10 + name for each file: choose a link's target to fill the block exactly.
    tree = Directory({b"l": Symlink(b"x" * (512 - 32 - 32 - 11 - 2))})
    image = rofs(tree)
    assert len(image) == 3 * 512
    assert struct.unpack_from("<Q", image, 32) == (1,)
    RofsReader(image).validate()


def test_the_same_tree_gives_the_same_bytes_in_any_order() -> None:
    one = Directory({b"a": Content(b"1"), b"b": Content(b"2")})
    two = Directory({b"b": Content(b"2"), b"a": Content(b"1")})
    assert rofs(one) == rofs(two)


@given(trees())
@settings(deadline=None)
def test_random_trees_come_back(tree: Directory) -> None:
    reader = RofsReader(rofs(tree))
    reader.validate()
    assert facts_of_reader(reader) == facts_of_tree(tree)


def test_names_that_are_not_utf8_and_as_long_as_allowed() -> None:
    tree = Directory(
        {b"caf\xe9": Content(b"1"), "é".encode() * 127: Content(b"2"), b"n" * 255: Content(b"3")}
    )
    reader = RofsReader(rofs(tree))
    assert facts_of_reader(reader) == facts_of_tree(tree)
    assert reader.read(reader.find(os.fsdecode(b"/caf\xe9"))) == b"1"


def test_a_tree_deeper_than_python_recurses() -> None:
    tree = Directory()
    tree.add(b"/a" * 2000, Content(b"deep"))
    reader = RofsReader(rofs(tree))
    reader.validate()
    assert reader.read(reader.find(b"/a" * 2000)) == b"deep"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (Directory({b"n" * 300: Content(b"")}), "name too long .300 bytes, at most 255.: /nnn"),
        (Directory({b"..": Content(b"")}), "not a file name"),
        (Directory({b"a/b": Content(b"")}), "not a file name"),
        (Directory({b"": Content(b"")}), "not a file name"),
        (Directory({b"a\0b": Content(b"")}), "not a file name"),
        (Directory({b"l": Symlink(b"")}), "symbolic link /l"),
        (Directory({b"l": Symlink(b"x" * 5000)}), "symbolic link /l"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_written(tree: Directory, message: str) -> None:
    stream = io.BytesIO()
    with pytest.raises(TreeError, match=message):
        write_rofs(tree, stream)
    assert stream.getvalue() == b""


# --- where the bytes come from --------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 300_000, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_files_of_the_host_are_copied(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    tree = Directory({b"f": HostFile(os.fsencode(tmp_path / "f"), size), b"g": Content(b"after")})
    with open(tmp_path / "image", "wb", buffering=0) as stream:
        write_rofs(tree, stream)
    image = (tmp_path / "image").read_bytes()
    assert image == rofs(Directory({b"f": Content(data), b"g": Content(b"after")}))
    assert image == rofs(tree)  # through a stream that is no file


def test_holes_stay_holes(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb") as file:
        file.write(b"start")
        file.seek(8 << 20)
        file.write(b"middle")
        file.truncate(20 << 20)
    tree = Directory({b"f": HostFile(os.fsencode(tmp_path / "f"), 20 << 20)})
    with open(tmp_path / "image", "wb", buffering=0) as stream:
        write_rofs(tree, stream, sparse=True)
    with RofsReader(tmp_path / "image") as reader:
        reader.validate()
        assert reader.read(reader.find("f")) == (tmp_path / "f").read_bytes()
    assert (tmp_path / "image").stat().st_blocks * 512 < 2 << 20


def test_tables_in_a_hole_take_no_memory(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(rofs(Directory({b"f": Content(b"x")})))
    superblock = C_ROFS.types.rofs_superblock(image.read_bytes()[:512])
    superblock.structure_info_blocks_count = 1 << 31
    superblock.directory_entries_count = superblock.inodes_count = 1 << 32
    with image.open("r+b") as file:
        file.write(superblock.dumps())
        file.truncate(2 << 40)
    with pytest.raises(DamagedError, match=r"directory entry \d+ "):
        RofsReader(image)


@pytest.mark.parametrize("now", [0, 4, 6, 2_000_000])
def test_a_file_of_another_size_than_planned_is_named(tmp_path: Path, now: int) -> None:
    (tmp_path / "log").write_bytes(b"x" * now)
    tree = Directory({b"log": HostFile(os.fsencode(tmp_path / "log"), 5)})
    with pytest.raises(
        OsvlabError, match=f"log changed while it was read: it was 5 bytes long and is {now} now"
    ):
        write_rofs(tree, io.BytesIO())


def test_a_file_that_grows_while_it_is_read_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 600_000)

    class Growing(io.BytesIO):
        def write(self, data: object) -> int:  # type: ignore[override]
            with open(log, "ab") as file:
                file.write(b"more")
            return super().write(data)  # type: ignore[arg-type]

    with pytest.raises(OsvlabError, match=r"log changed while it was read"):
        write_rofs(Directory({b"log": HostFile(os.fsencode(log), 600_000)}), Growing())


def test_a_file_that_claims_to_be_empty_and_is_not() -> None:
    with pytest.raises(
        OsvlabError, match=r"/proc/version changed while it was read: it says it has 0 bytes"
    ):
        write_rofs(Directory({b"v": HostFile(b"/proc/version", 0)}), io.BytesIO())


def test_a_file_that_became_a_link_or_went_away(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("link", "gone"):
        with pytest.raises(OsvlabError, match=f"cannot open .*{name} any more"):
            write_rofs(Directory({b"f": HostFile(os.fsencode(tmp_path / name), 1)}), io.BytesIO())


def test_a_full_disk_says_so() -> None:
    with open("/dev/full", "wb", buffering=0) as stream, pytest.raises(OSError, match=r"No space left"):
        write_rofs(Directory({b"f": Content(b"x" * 100)}), stream)


def test_progress_counts_the_contents() -> None:
    said: list[tuple[int, int]] = []
    tree = Directory({b"a": Content(b"12"), b"b": Content(b"345")})
    write_rofs(tree, io.BytesIO(), progress=lambda done, total: said.append((done, total)))
    assert said == [(2, 5), (5, 5)]


# --- finding --------------------------------------------------------------------------------------


def test_find_follows_links_inside_the_image() -> None:
    tree = Directory()
    tree.add(b"/etc/real", Content(b"real"))
    tree.add(b"/abs", Symlink(b"/etc/real"))
    tree.add(b"/dir", Symlink(b"etc"))
    tree.add(b"/etc/up", Symlink(b"../dir/./real"))
    tree.add(b"/loop", Symlink(b"loop"))
    tree.add(b"/above", Symlink(b"../../../etc/real"))
    reader = RofsReader(rofs(tree))
    for path in ("abs", "/dir/real", "etc/up", "//etc//real", "dir/../abs", "above"):
        assert reader.read(reader.find(path)) == b"real", path
    assert reader.find("abs", follow=False).kind is Kind.SYMLINK
    with pytest.raises(GuestPathError, match=r"too many symbolic links: loop"):
        reader.find("loop")
    with pytest.raises(FileNotFoundError, match=r"no such file in the image: /etc/nothing"):
        reader.find("dir/nothing")
    with pytest.raises(GuestPathError, match=r"not a directory: /etc/real"):
        reader.find("etc/real/x")


def test_parts_of_a_file(small: bytes) -> None:
    reader = RofsReader(b"before" + small, offset=6)
    hosts = reader.find("etc/hosts")
    assert reader.read(hosts, 1, 3) == b"ost"
    assert reader.read(hosts, 3, 100) == b"ts"
    assert reader.read(hosts, 9) == b""


def test_methods_refuse_the_wrong_kind(small: bytes) -> None:
    reader = RofsReader(small)
    with pytest.raises(GuestPathError, match=r"/bin is a directory, not a file"):
        reader.read(reader.find("bin"))
    with pytest.raises(GuestPathError, match=r"/bin/sh is a file, not a directory"):
        reader.list(reader.find("bin/sh"))


# --- damage ---------------------------------------------------------------------------------------

STRUCTURE = 4 * 512
INODES = STRUCTURE + 5 * 10 + len(b"shhostsbinetcz") + 12


def damaged(image: bytes, offset: int, format: str, *values: int) -> bytes:
    copy = bytearray(image)
    struct.pack_into(format, copy, offset, *values)
    return bytes(copy)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 512, 2047, 2048, 2559])
def test_a_truncated_image_says_so(small: bytes, length: int) -> None:
    with pytest.raises(DamagedError, match=r"superblock at byte 0x0 (is cut off|.*truncated)"):
        RofsReader(small[:length])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (0, 0xDEADBEEF, "magic 0xdeadbeef instead of 0xdeadbead"),
        (1, 2, "version 0x2 instead of 0x1"),
        (2, 4096, "block_size 0x1000 instead of 0x200"),
        (3, 0, "nowhere"),
        (4, 0, "nowhere"),
        (3, (1 << 64) - 1, "truncated"),
        (4, 1 << 50, "truncated"),
        (5, 1 << 40, "directory_entries_count .* too many"),
        (6, 1 << 40, "symlinks_count .* too many"),
        (7, 1 << 40, "inodes_count .* too many"),
        (7, 0, "no inodes"),
    ],
)
def test_a_damaged_superblock_is_named(small: bytes, field: int, value: int, message: str) -> None:
    with pytest.raises(DamagedError, match=f"superblock at byte 0x0 .*{message}"):
        RofsReader(damaged(small, field * 8, "<Q", value))


@pytest.mark.parametrize(
    ("offset", "format", "values", "structure", "message"),
    [
        (INODES, "<Q", (0x8000,), "inode 1", "no directory|outside"),
        (INODES + 32, "<Q", (0x1000,), "inode 2", "unknown type 0x1000"),
        (INODES + 32 + 8, "<Q", (9,), "inode 2", "says it is number 9"),
        (INODES + 32 + 16, "<Q", (5,), "inode 2", "entries 5 to 6 of 5"),
        (INODES + 32 + 24, "<Q", (1 << 63,), "inode 2", "entries 0 to"),
        (INODES + 64 + 16, "<Q", (4,), "inode 3", "outside blocks"),
        (INODES + 64 + 24, "<Q", (1 << 62,), "inode 3", "outside blocks"),
        (INODES + 160 + 16, "<Q", (1,), "inode 6", "is symlink 1 of 1"),
        (INODES + 32 + 16, "<Q", (2,), "inode 2", "shares entries"),
        (STRUCTURE, "<Q", (1,), "directory entry 0", "points to the root"),
        (STRUCTURE, "<Q", (7,), "directory entry 0", "points to inode 7 of 6"),
        (STRUCTURE, "<Q", (0,), "directory entry 0", "points to inode 0 of 6"),
        (STRUCTURE, "<Q", (5,), "inode 3", "is in no directory"),
        (STRUCTURE + 8, "<H", (0,), "directory entry 0", "length of 0"),
        (STRUCTURE + 8, "<H", (60000,), "directory entry 0", "length of 60000"),
        (STRUCTURE + 10, "<2B", (46, 46), "directory entry 0", "impossible name"),
        (STRUCTURE + 10, "<2B", (47, 47), "directory entry 0", "impossible name"),
    ],
)
def test_a_damaged_table_is_named_with_its_offset(
    small: bytes, offset: int, format: str, values: tuple[int, ...], structure: str, message: str
) -> None:
    image = b"\0" * 1024 + damaged(small, offset, format, *values)

    def use() -> None:
        reader = RofsReader(image, offset=1024)
        reader.validate()
        facts_of_reader(reader)

    with pytest.raises(DamagedError, match=message) as caught:
        use()
    assert structure in caught.value.structure
    assert 1024 <= caught.value.offset < len(image)
    assert f"byte {caught.value.offset:#x}" in str(caught.value)


def test_a_name_that_is_there_twice() -> None:
    image = rofs(Directory({b"a": Content(b"1"), b"b": Content(b"2")}))
    at = image.rindex(b"\x01\0b")
    with pytest.raises(DamagedError, match=r"name a twice"):
        RofsReader(damaged(image, at + 2, "<B", ord("a"))).validate()


def test_directories_that_share_entries_do_not_multiply_the_work() -> None:
    """200 directories that all claim the same 200 files would be 40,000 entries; think of 100,000 each."""
    tree = Directory({b"d%03d" % i: Directory() for i in range(200)})
    tree.children[b"z"] = Directory({b"f%03d" % i: Content(b"") for i in range(200)})
    image = bytearray(rofs(tree))
    reader = RofsReader(bytes(image))
    start = reader._inodes + reader._structure_start
    for number in range(2, 202):
        struct.pack_into("<QQ", image, start + (number - 1) * 32 + 16, 0, 200)
    with pytest.raises(DamagedError, match=r"shares entries"):
        RofsReader(bytes(image)).validate()


@given(trees(short_names), st.data())
@settings(deadline=2000, max_examples=150)
def test_random_damage_is_an_error_or_harmless_and_always_ends(tree: Directory, data: st.DataObject) -> None:
    image = bytearray(rofs(tree))
    first = struct.unpack_from("<Q", image, 24)[0] * 512
    places = st.one_of(st.integers(0, 63), st.integers(first, len(image) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(places)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    with contextlib.suppress(DamagedError):  # any other exception fails the test
        reader = RofsReader(bytes(image[:cut]))
        facts_of_reader(reader)
        reader.validate()
