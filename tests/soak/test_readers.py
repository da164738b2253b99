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
import osvlab.filesystems
from osvlab.elf.program import Program
from osvlab.errors import OsvlabError
from osvlab.filesystems.bootfs import BootfsReader, write_bootfs
from osvlab.filesystems.cpio import CpioReader, write_cpio
from osvlab.filesystems.disk import KERNEL as KERNEL_AT
from osvlab.filesystems.osv_kernel import KernelFile
from osvlab.filesystems.rofs import RofsReader, write_rofs
from osvlab.filesystems.tree import Directory
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel
from tests.filesystems.packing import elf, loader
from tests.soak.conftest import SECONDS
from tests.soak.damage import damaged
from tests.soak.reading import everything, look_at

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

PATIENCE = 10
"""Seconds of the processor that one file may take; the undamaged ones take some milliseconds."""

MEMORY = 1 << 30
"""Bytes that a reader may ask for, at most: the files have three million."""


@pytest.fixture
def bounded() -> Iterator[None]:
    """Turn a reader that takes for ever, or all memory, into one that fails."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"a reader took more than {PATIENCE} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


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
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)  # others may keep the processor for longer than that
        count += 1
        try:
            read(image)
        except OsvlabError:
            refused += 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(f"{count} damaged files, {refused} refused")
    assert 0 < refused < count


def structures(original: bytes, size: int = 4096) -> list[range]:
    """Return where the tables are: mostly there shall be damage, at the beginning and at the end."""
    whole = len(original)
    return [range(min(size, whole)), range(max(0, whole - size), whole), range(whole)]


@pytest.fixture(scope="module")
def small(application: Path) -> Directory:
    """The tree without its large programs: more images of it can be damaged in a minute."""
    tree = Recipe.from_directory(application, "/hello").tree
    return Directory({name: node for name, node in tree.children.items() if name != b"busybox"})


def test_rofs(small: Directory, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_rofs(small, stream)
    original = stream.getvalue()

    def read(image: bytes) -> None:
        with RofsReader(image) as reader:
            everything(reader)
            reader.validate()

    soak(original, read, chance, structures(original, 1024), tmp_path / "image")


def test_bootfs(small: Directory, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_bootfs(small, stream)

    def read(image: bytes) -> None:
        with BootfsReader(image) as reader:
            everything(reader)

    soak(stream.getvalue(), read, chance, [range(4096)], tmp_path / "image")


def test_cpio(small: Directory, chance: random.Random, bounded: None, tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_cpio(small, stream)
    original = stream.getvalue()
    headers = [
        range(at, at + 130) for at in range(len(original) - 130) if original.startswith(b"070701", at)
    ]

    def read(image: bytes) -> None:
        with CpioReader(image) as reader:
            everything(reader)

    soak(original, read, chance, [*headers, range(len(original))], tmp_path / "image")


def test_packed_kernels(chance: random.Random, bounded: None, tmp_path: Path) -> None:
    # A small one: unpacking takes the time of this test.
    original = loader(elf(Kernel.lab().path.read_bytes()[4096:100_000]), "--rootfs=rofs /hello")
    packed = KernelFile(original).packed
    assert packed is not None
    table = 0x10000 + packed.segments[-1].position + packed.segments[-1].stored
    parts = [range(512), range(0x10000, 0x10000 + 60), range(table, table + 40)]
    start = 0x10000 + packed.position

    def read(image: bytes) -> None:
        file = KernelFile(image)
        assert str(file.check())
        look_at(file.explain())
        # There is no checksum: damage to the table and to what is compressed may agree.
        assert file.packed is None or file.elf.length == file.packed.size

    soak(
        original, read, chance, [*parts, range(start, start + 300), range(start, table)], tmp_path / "image"
    )


def test_anything_by_its_magic(
    image: osvlab.Image, chance: random.Random, bounded: None, tmp_path: Path
) -> None:
    """The outer layers of a disk: what they lead to may be anything."""
    original = image.path.read_bytes()
    copy = tmp_path / "image"

    def read(_: bytes) -> None:
        for report in osvlab.filesystems.check(copy):
            assert str(report)
        look_at(osvlab.filesystems.explain(copy))
        with osvlab.filesystems.open(copy) as fs:
            everything(fs)

    copy.write_bytes(original)
    root = image.root_partition.offset
    tables = [range(0x1B8, 512), range(0x200, 0x300), range(KERNEL_AT, KERNEL_AT + 512)]
    soak(original, read, chance, [*tables, range(root, root + 64), range(root + 64, len(original))], copy)


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
