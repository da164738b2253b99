"""The file layer as host programs under the sanitizers: names, contents, waiting, ROFS."""

from __future__ import annotations

import io
import random
import subprocess
from pathlib import Path

import pytest

from osvlab.filesystems.rofs.writer import write_rofs
from osvlab.filesystems.tree import Content, Directory, Symlink
from tests.kernel import host

SHIM = ["boot/print.c", "tests/host/files_shim.c", "tests/host/threads_shim.c"]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the file layer once; the programs link with it."""
    folder = tmp_path_factory.mktemp("files")
    sources = sorted(str(p.relative_to(host.KERNEL)) for p in (host.KERNEL / "files").glob("*.c"))
    flags = ["-iquote", "files", "-D_GNU_SOURCE", "-Iinclude", *host.SANITIZERS, "-g", "-O1", "-std=gnu11"]
    for source in [*sources, *SHIM]:
        target = folder / (source.replace("/", "_") + ".o")
        subprocess.run(["gcc", *flags, "-c", source, "-o", target], cwd=host.KERNEL, check=True)
    archive = folder / "files.a"
    subprocess.run(["ar", "rcs", archive, *folder.glob("*.o")], check=True)
    return archive


def build(library: Path, name: str) -> Path:
    flags = ["-iquote", "files", "-pthread"]
    return host.build(library.parent / name, [f"tests/host/{name}.c", str(library)], flags)


@pytest.mark.parametrize("name", ["names_test", "files_test", "wait_test", "cache_test"])
def test_calls_behave_as_on_linux(name: str, library: Path) -> None:
    assert host.run(build(library, name)) == "ok\n"


def checksum(data: bytes) -> int:
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    return value


def expected_lines(directory: Directory, path: str) -> list[str]:
    lines = []
    for name, node in directory.entries():
        child = f"{path}/{name.decode()}"
        if isinstance(node, Directory):
            lines += [f"40555 0 {0:016x} {child} ", *expected_lines(node, child)]
        elif isinstance(node, Symlink):
            lines.append(f"120777 {len(node.target)} {0:016x} {child} {node.target.decode()}")
        else:
            assert isinstance(node, Content)
            lines.append(f"100555 {len(node.data)} {checksum(node.data):016x} {child} ")
    return lines


@pytest.fixture(scope="module")
def tree() -> Directory:
    dice = random.Random(1)
    sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 131072, 131073, 300001]
    files = {f"size{n}".encode(): Content(dice.randbytes(n)) for n in sizes}
    return Directory(
        {
            b"files": Directory(files),
            b"many": Directory({b"entry%d" % n: Content(b"%d" % n) for n in range(300)}),
            b"deep": Directory({b"er": Directory({b"up": Symlink(b"../.."), b"empty": Directory({})})}),
            "ü".encode() * 100: Content(b"a long name that is not ASCII"),
            b"link": Symlink(b"x" * 4000),
        }
    )


@pytest.fixture(scope="module")
def image(tree: Directory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stream = io.BytesIO()
    write_rofs(tree, stream)
    path = tmp_path_factory.mktemp("rofs") / "image"
    path.write_bytes(stream.getvalue())
    return path


@pytest.mark.parametrize("pages", [8192, 64], ids=["plenty", "little-memory"])
def test_rofs_reads_what_the_builder_wrote(tree: Directory, image: Path, library: Path, pages: int) -> None:
    output = host.run(build(library, "rofs_test"), "tree", str(image), str(pages))
    assert sorted(output.splitlines()) == sorted(expected_lines(tree, "/mnt"))


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_rofs_images_do_no_harm(seed: int, library: Path, tmp_path: Path) -> None:
    small = Directory(
        {
            b"d": Directory({b"f%d" % n: Content(b"data" * n) for n in range(70)}),
            b"l": Symlink(b"d/f1"),
            b"e": Directory({b"e": Directory({b"big": Content(b"x" * 9000)})}),
        }
    )
    path = tmp_path / "small"
    with path.open("wb") as stream:
        write_rofs(small, stream)
    output = host.run(build(library, "rofs_test"), "damage", str(path), "4000", str(seed))
    mounted = int(output.split()[0])
    assert 0 < mounted < 4000


def test_rofs_images_that_are_cut_short_are_not_mounted(image: Path, library: Path) -> None:
    assert host.run(build(library, "rofs_test"), "cut", str(image)) == "0 mounted\n"
