"""Readers of formats meet real files with random damage: an error in words or an answer, and soon."""

from __future__ import annotations

import io
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import osvlab
from osvlab.elf.program import Program
from osvlab.errors import OsvlabError
from osvlab.filesystems.base import Filesystem, Kind
from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
from osvlab.filesystems.rofs import RofsReader, write_rofs
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel
from tests.soak.conftest import SECONDS
from tests.soak.damage import damaged

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

PATIENCE = 10
"""Seconds that one file may take; the undamaged ones take some milliseconds."""

MEMORY = 1 << 30
"""Bytes that a reader may ask for, at most: the files have three million."""


@pytest.fixture
def bounded() -> Iterator[None]:
    """Turn a reader that takes for ever, or all memory, into one that fails."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"a reader took more than {PATIENCE} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def soak(
    original: bytes,
    read: Callable[[bytes], object],
    chance: random.Random,
    parts: list[range] | None = None,
    kept: Path | None = None,
) -> None:
    """Damage a file and read it, again and again; say how often."""
    read(original)  # what is whole is read
    refused = count = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        image = bytes(damaged(original, chance, parts or [range(len(original))]))
        if chance.random() < 0.1:
            image = image[: chance.randrange(len(image))]
        if kept is not None:
            kept.write_bytes(image)  # to be looked at after a failure
        signal.alarm(PATIENCE)
        count += 1
        try:
            read(image)
        except OsvlabError:
            refused += 1
    signal.alarm(0)
    print(f"{count} damaged files, {refused} refused")
    assert 0 < refused < count


def everything(reader: Filesystem) -> None:
    """Walk the whole tree and read all that is in it, each thing by its own."""
    for entry in reader.walk():
        try:
            if entry.kind is Kind.FILE:
                reader.read(entry)
            elif entry.kind is Kind.SYMLINK:
                reader.target(entry)
                reader.find(entry.path)
        except OsvlabError:
            continue  # one damaged file does not hide the others


def structures(original: bytes, size: int = 4096) -> list[range]:
    """Return where the tables are: mostly there shall be damage, at the beginning and at the end."""
    whole = len(original)
    return [range(min(size, whole)), range(max(0, whole - size), whole), range(whole)]


def test_rofs(application: Path, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_rofs(Recipe.from_directory(application, "/hello").tree, stream)
    original = stream.getvalue()

    def read(image: bytes) -> None:
        with RofsReader(image) as reader:
            everything(reader)
            reader.validate()

    soak(original, read, chance, structures(original, 1024), tmp_path / "image")


def test_bootfs(application: Path, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_bootfs(Recipe.from_directory(application, "/hello", fs="ramfs").tree, stream)

    def read(image: bytes) -> None:
        with BootfsReader(image) as reader:
            everything(reader)

    soak(stream.getvalue(), read, chance, [range(4096)], tmp_path / "image")


def test_disks(image: osvlab.Image, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    original = image.path.read_bytes()
    copy = tmp_path / "image"

    def read(_: bytes) -> None:
        disk = osvlab.Image(copy)
        try:
            assert sum(region.size for region in disk.layout) >= disk.size
            assert str(disk)
            assert disk._repr_mimebundle_()
            assert disk.files.tree()
        finally:
            disk.close()

    copy.write_bytes(original)
    tables = [range(512), range(0x1B8, 512), range(0x200, 0x300), range(len(original) - 2048, len(original))]
    soak(original, read, chance, tables, copy)


@pytest.mark.parametrize("name", ["hello", "busybox", "libstdc++.so.6", "libc.so.6"])
def test_elf(name: str, application: Path, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    path = application / name
    if not path.exists():
        path = Path("/usr/lib/x86_64-linux-gnu", name)
    if not path.exists():
        pytest.skip(f"no {path}")
    original = path.read_bytes()

    def read(image: bytes) -> None:
        Program.read(io.BytesIO(image), name)

    soak(original, read, chance, structures(original), tmp_path / "image")


def test_kernels(chance: random.Random, bounded: None, tmp_path: Path) -> None:
    original = Kernel.lab().path.read_bytes()
    copy = tmp_path / "kernel"

    def read(_: bytes) -> None:
        kernel = Kernel.open(copy)
        assert isinstance(kernel.loaded_end, int)
        assert kernel.exports is None or isinstance(kernel.exports, frozenset)
        assert repr(kernel)

    copy.write_bytes(original)
    soak(original, read, chance, [range(64), range(1024), *structures(original)], copy)
