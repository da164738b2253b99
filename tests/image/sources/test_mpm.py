"""Archives of packages: what they bring, and that they cannot do harm."""

from __future__ import annotations

import gc
import gzip
import io
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.image.build import build_recipe
from osvlab.image.collection import Collection, RecipeError
from osvlab.image.recipe import Recipe
from osvlab.image.sources.mpm import open_archive
from osvlab.image.sources.scratch import Scratch
from osvlab.kernels import Kernel
from tests.image.sources.packages import archive, entry


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CAPSTAN_ROOT", str(tmp_path / "store"))


def unpacked_folders(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache/osvlab/unpacked"
    return sorted(name for name in os.listdir(folder) if name != ".lock") if folder.is_dir() else []


def content(recipe: Recipe, path: str) -> bytes:
    node = recipe.tree.find(path.encode())
    if isinstance(node, HostFile):
        return Path(os.fsdecode(node.path)).read_bytes()
    assert isinstance(node, Content), node
    return node.data


def refusal(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_package(archive(path, *entries), "/x")
    return caught.value


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_everything_in_it_comes_back(tmp_path: Path, kernel: Kernel, packed: bool) -> None:
    big = os.urandom(300_000)
    path = archive(
        tmp_path / "app.mpm",
        entry("./", type=tarfile.DIRTYPE),
        entry("/etc", type=tarfile.DIRTYPE, mode=0o750, mtime=7),
        entry("/etc/hosts", b"127.0.0.1", mode=0o640, mtime=123),
        entry("tools/big", big, mode=0o4755),
        entry("./dot/slash", b"x"),
        entry("/link", type=tarfile.SYMTYPE, linkname="/etc/hosts"),
        entry("/second", type=tarfile.LNKTYPE, linkname="tools/big"),
        entry("/" + "long/" * 40 + "name", b"deep"),
        entry("/caf\udce9", b"latin"),
        entry("/meta/README.md", b"never in the image"),
        entry("/etc/hosts", b"twice: the last one counts"),
        packed=packed,
    )
    recipe = Recipe.from_package(path, "/tools/big")
    assert content(recipe, "/etc/hosts") == b"twice: the last one counts"
    assert content(recipe, "/tools/big") == content(recipe, "/second") == big
    assert content(recipe, "/dot/slash") == b"x"
    assert content(recipe, "/" + "long/" * 40 + "name") == b"deep"
    assert recipe.tree.find(b"/caf\xe9") == Content(b"latin")
    assert recipe.tree.find(b"/link") == Symlink(b"/etc/hosts")
    assert recipe.tree.find(b"/meta") is None
    etc, tool = recipe.tree.find(b"/etc"), recipe.tree.find(b"/tools/big")
    assert isinstance(etc, Directory)
    assert isinstance(tool, HostFile)
    assert (etc.mode, etc.mtime, tool.mode) == (0o750, 7 * 10**9, 0o4755)
    assert recipe.why("/dot/slash") == f"/dot/slash comes from the package app ({path}, entry ./dot/slash)"
    image = build_recipe(recipe, kernel, tmp_path / "x.img", check=False)
    assert (image.files / "tools/big").read_bytes() == big
    assert (image.files / "link").read_bytes() == b"twice: the last one counts"


def test_what_is_large_lies_in_a_private_folder_as_long_as_it_is_needed(tmp_path: Path) -> None:
    path = archive(tmp_path / "app.mpm", entry("/../etc/x".replace("/..", ""), bytes(200_000)))
    recipe = Recipe.from_package(path, "/etc/x")
    node = recipe.tree.find(b"/etc/x")
    assert isinstance(node, HostFile)
    assert os.fsdecode(node.path).startswith(f"{tmp_path}/cache/osvlab/unpacked/")
    assert stat.S_IMODE(Path(os.fsdecode(node.path)).parent.stat().st_mode) == 0o700
    another = recipe.with_modules([])
    del recipe
    gc.collect()
    assert content(another, "/etc/x") == bytes(200_000)
    del another
    gc.collect()
    assert unpacked_folders(tmp_path) == []


def test_a_python_that_was_killed_leaves_a_folder_that_the_next_one_sweeps(tmp_path: Path) -> None:
    path = archive(tmp_path / "app.mpm", entry("/x", bytes(200_000)))
    script = (
        "import os, signal, sys\nfrom osvlab.image.recipe import Recipe\n"
        "recipe = Recipe.from_package(sys.argv[1], '/x')\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    left = unpacked_folders(tmp_path)
    assert len(left) == 2
    recipe = Recipe.from_package(path, "/x")
    assert len(unpacked_folders(tmp_path)) == 2
    assert not set(left) & set(unpacked_folders(tmp_path))
    second = Recipe.from_package(path, "/x")  # the folder of one that lives stays
    assert content(recipe, "/x") == content(second, "/x")


def test_an_exit_removes_the_folder(tmp_path: Path) -> None:
    path = archive(tmp_path / "app.mpm", entry("/x", bytes(200_000)))
    script = (
        "import os, sys\nfrom osvlab.image.recipe import Recipe\n"
        "recipe = Recipe.from_package(sys.argv[1], '/x')\n"
        "child = os.fork()\nif not child:\n    sys.exit(0)\nos.waitpid(child, 0)\n"
        "assert os.path.exists(recipe.tree.find(b'/x').path), 'the child removed it'\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert unpacked_folders(tmp_path) == []


# --- what no package may hold ------------------------------------------------------------------------------


def test_entries_that_would_leave_the_package_are_all_named(tmp_path: Path) -> None:
    error = refusal(
        tmp_path / "bad.mpm",
        entry("../outside", b"x"),
        entry("/a/../../b", b"x"),
        entry("/dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("/dev/sda", type=tarfile.BLKTYPE),
        entry("/pipe", type=tarfile.FIFOTYPE),
        entry("/odd", type=b"Z"),
        entry("/passwd", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        entry("/out", type=tarfile.LNKTYPE, linkname="../../etc/passwd"),
        entry("/readme", type=tarfile.LNKTYPE, linkname="meta/package.yaml"),
        entry("/" + "n" * 300, b""),
        entry("/nowhere", type=tarfile.SYMTYPE, linkname=""),
    )
    lines = error.message.splitlines()
    assert lines[0] == f"{tmp_path}/bad.mpm holds what a package may not hold:"
    assert lines[1:] == [
        "  entry ../outside: leads out of the package with ..",
        "  entry /a/../../b: leads out of the package with ..",
        "  entry /dev/null: is a character device",
        "  entry /dev/sda: is a block device",
        "  entry /pipe: is a pipe",
        "  entry /odd: is of an unknown kind (b'Z')",
        "  entry /passwd: is a second name of /etc/passwd, which is no file of the package before it",
        "  entry /out: is a second name of ../../etc/passwd, which is no file of the package before it",
        "  entry /readme: is a second name of meta/package.yaml, which is no file of the package before it",
        f"  entry /{'n' * 300}: name too long (300 bytes, at most 255): /{'n' * 23}...",
        "  entry /nowhere: symbolic link /nowhere has a target of 0 bytes, usable are 1 to 4095",
    ]
    assert unpacked_folders(tmp_path) == []


def test_a_link_out_of_the_package_stays_in_the_guest(tmp_path: Path) -> None:
    """The classic: a link to a directory of the host, and then a file through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = archive(
        tmp_path / "app.mpm",
        entry("/link", type=tarfile.SYMTYPE, linkname=str(outside)),
        entry("/link/big", bytes(200_000)),
        entry("/up", type=tarfile.SYMTYPE, linkname="../../../.."),
        entry("/up/small", b"small"),
    )
    recipe = Recipe.from_package(path, "/x")
    assert os.listdir(outside) == []
    assert content(recipe, f"{outside}/big") == bytes(200_000)
    assert content(recipe, "/small") == b"small"


def test_a_file_and_a_directory_of_one_name(tmp_path: Path) -> None:
    error = refusal(tmp_path / "bad.mpm", entry("/a", b"x" * 100_000), entry("/a/b", b"x"))
    assert "the package app: /a/b comes from the package app" in error.message
    assert "entry /a/b), and needs /a to be a directory" in error.message
    gc.collect()
    assert unpacked_folders(tmp_path) == []


# --- damage ------------------------------------------------------------------------------------------------


def plain(tmp_path: Path) -> bytes:
    entries = [entry(f"/file{number}", bytes([number]) * 700) for number in range(5)]
    entries.append(entry("/" + "long/" * 40 + "name", b"deep"))
    return archive(tmp_path / "plain.mpm", *entries, packed=False).read_bytes()


def outcome(path: Path) -> str:
    """Read all of an archive; it is either told what is wrong with it, or right."""
    told: OsvlabError | None = None
    try:
        open_archive(path).put_into(Collection(), Scratch(), "is here")
    except OsvlabError as error:
        told = error
    assert told is None or (str(path) in told.message and told.hint)
    return "read" if told is None else "refused"


def test_an_archive_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = plain(tmp_path)
    packed = gzip.compress(data)
    end = data.rstrip(b"\0")  # one block of zeros has to follow
    for cut in [*range(0, len(end), 97), *range(512, len(end), 512)]:
        (tmp_path / "cut.mpm").write_bytes(data[:cut])
        assert outcome(tmp_path / "cut.mpm") == "refused", cut
    for cut in range(0, len(packed), 3):
        (tmp_path / "cut.mpm").write_bytes(packed[:cut])
        assert outcome(tmp_path / "cut.mpm") == "refused", cut


def test_damaged_bytes_never_crash_and_headers_are_checked(tmp_path: Path) -> None:
    data = plain(tmp_path)
    packed = gzip.compress(data)
    chance = random.Random(4)
    path = tmp_path / "damaged.mpm"
    for _ in range(400):
        damaged = bytearray(data)
        header = chance.randrange(0, len(data.rstrip(b"\0")), 512)
        for _ in range(chance.choice([1, 1, 8])):
            damaged[header + chance.randrange(512)] = chance.randrange(256)
        path.write_bytes(damaged)
        outcome(path)
    for _ in range(200):
        damaged = bytearray(packed)
        damaged[chance.randrange(10, len(packed))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        # Its checksum tells; some bits of a Huffman table mean nothing.
        assert outcome(path) == "refused" or gzip.decompress(damaged) == data


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = bytearray(plain(tmp_path))
    position = data.index(b"/file2")
    data[position + 150] ^= 0xFF  # its checksum
    (tmp_path / "damaged.mpm").write_bytes(data)
    with pytest.raises(RecipeError, match=r"damaged archive, after the entry /file1: a header is damaged"):
        open_archive(tmp_path / "damaged.mpm")


def test_no_header_makes_us_read_gigabytes(tmp_path: Path) -> None:
    info = tarfile.TarInfo("/x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    head = info.tobuf(tarfile.GNU_FORMAT)
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as packed:
        packed.write(head)
        for _ in range(64):
            packed.write(bytes(1 << 20))
    (tmp_path / "bomb.mpm").write_bytes(stream.getvalue())
    with pytest.raises(RecipeError, match="it has a header of 8589934592 bytes"):
        open_archive(tmp_path / "bomb.mpm")


def test_a_million_long_names_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osvlab.image.sources.mpm.MOST_NAMES", 1000)
    error = refusal(tmp_path / "names.mpm", *(entry(f"/{number:0200}", b"") for number in range(9)))
    assert "its names have more than 1,000 bytes" in error.message
    monkeypatch.setattr("osvlab.image.sources.mpm.MOST_ENTRIES", 5)
    error = refusal(tmp_path / "many.mpm", *(entry(f"/{number}", b"") for number in range(9)))
    assert "has more than 5 entries" in error.message


def test_an_archive_that_does_not_end(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as packed:
        packed.write(plain(tmp_path))
        for _ in range(70):
            packed.write(bytes(1 << 20))
    (tmp_path / "long.mpm").write_bytes(stream.getvalue())
    with pytest.raises(RecipeError, match="it goes on for a long time after its end"):
        open_archive(tmp_path / "long.mpm")


@pytest.mark.parametrize(
    "pax", [{"mtime": "nan"}, {"mtime": "inf"}, {"size": "-1"}, {"size": "-5000"}, {"mtime": "-5"}]
)
def test_numbers_that_are_none(tmp_path: Path, pax: dict[str, str]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("/meta/package.yaml")
        info.pax_headers = pax
        info.size = 9
        tar.addfile(info, io.BytesIO(b"name: app"))
    (tmp_path / "odd.mpm").write_bytes(stream.getvalue())
    assert outcome(tmp_path / "odd.mpm") == ("read" if pax == {"mtime": "-5"} else "refused")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b", bytes(10240), b"\x1f\x8b\x08\0" + bytes(99)])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "none.mpm").write_bytes(data)
    with pytest.raises(OsvlabError) as caught:
        Recipe.from_package(tmp_path / "none.mpm")
    assert f"{tmp_path}/none.mpm" in caught.value.message


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such package: .*gone\.mpm"):
        Recipe.from_package(tmp_path / "gone.mpm")
    os.mkfifo(tmp_path / "fifo.mpm")
    with pytest.raises(RecipeError, match=r"cannot read the package .*: it is a pipe"):
        Recipe.from_package(tmp_path / "fifo.mpm")
