"""A damaged pool gives an error that names structure and offset, or the right data. Never wrong bytes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.zfs import Pool, labels
from osvlab.filesystems.zfs.blocks import Blocks
from tests.filesystems.zfs.damage import Hurt, history_of, is_precise, read_all, used_ranges
from tests.filesystems.zfs.trees import text
from tests.filesystems.zfs.writer.pools import write_pool
from tests.filesystems.zfs.zfs_fuse import ZfsFuse, inside

SECONDS = 10.0  # of the processor, for one image
MEGABYTES = 200  # more than before; the undamaged pools take some ten


def small_tree(top: Path) -> None:
    chance = random.Random(7)
    (top / "folder" / "deeper").mkdir(parents=True)
    for size in (0, 1, 700, 5000, 140_000):
        (top / f"text-{size}").write_bytes(text(chance, size))
        (top / "folder" / f"noise-{size}").write_bytes(chance.randbytes(size))
    many = top / "many"
    many.mkdir()
    for number in range(90):
        (many / f"number {number}, a file with a name too long for a small table").write_bytes(
            b"%d" % number
        )
    (top / "short").symlink_to("text-1")
    (top / "folder" / "deeper" / "long").symlink_to("../" * 100)


@pytest.fixture(scope="module", params=["old", "new"])
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Hurt:
    """A pool of version 23 that zfs-fuse made, and one of version 5000 of our own."""
    folder = tmp_path_factory.mktemp("damage")
    small_tree(folder / "tree")
    image = folder / "victim.img"
    if request.param == "new":
        write_pool(folder / "tree", image, name="victim", size=64 << 20, checksum="fletcher4")
        return Hurt(image, used_ranges(image))
    zfs_fuse: ZfsFuse = request.getfixturevalue("zfs_fuse")
    files = zfs_fuse.create("victim", image, options=("-o", "ashift=9"))
    zfs_fuse.run("zfs", "set", "compression=lzjb", "victim")
    zfs_fuse.run("cp", "-a", f"{folder}/tree/.", inside(zfs_fuse, files))
    zfs_fuse.run("zfs", "snapshot", "victim@before")
    (files / "text-700").unlink()
    (files / "later").write_bytes(b"later")
    zfs_fuse.export("victim")
    return Hurt(image, used_ranges(image))


def seeds(count: int) -> range:
    first = int(os.environ.get("OSVLAB_SOAK_SEED", "1"))
    return range(first, first + count)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail when the process grows by more than `MEGABYTES` at any moment."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
    before = resident("VmRSS")
    yield
    assert resident("VmHWM") - before < MEGABYTES << 10


def resident(which: str) -> int:
    """Kibibytes, as the kernel counts them: now (VmRSS) or at most (VmHWM)."""
    return int(Path("/proc/self/status").read_text().split(f"{which}:")[1].split()[0])


def group_of(image: Path) -> int | None:
    """The transaction group that counts in a pool; None when it cannot be opened."""
    try:
        pool = Pool([image])
    except OsvlabError:
        return None
    pool.close()
    return pool.uberblock.txg


def hurt_and_read(victim: Hurt, count: int) -> int:
    """Damage a pool again and again; return how often that was noticed."""
    whole, errors = read_all(victim.image, "victim")
    assert not errors
    assert len(whole) > 100
    history = history_of(victim.image, "victim")
    newest = group_of(victim.image)
    noticed = 0
    for seed in seeds(count):
        with victim.hurt(random.Random(seed)) as image:
            start = time.process_time()
            found, errors = read_all(image, "victim")
            assert time.process_time() - start < SECONDS, f"seed {seed}"
            group = group_of(image)
        noticed += bool(errors)
        assert all(map(is_precise, errors)), f"seed {seed}: {[str(e) for e in errors if not is_precise(e)]}"
        for path, fact in found.items():
            assert fact in history[path], f"seed {seed}: {path!r} is wrong"
        told = errors or group != newest
        assert told or found == whole, f"seed {seed}: something is missing, and nothing is said"
    assert victim.image.read_bytes() == victim.whole
    return noticed


def hurt_without_checksums(victim: Hurt, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same to a reader that believes every checksum, as if who did the damage had set them right."""
    monkeypatch.setattr(Blocks, "_is_right", lambda self, pointer, data, what: len(data) == pointer.psize)
    monkeypatch.setattr(labels, "eck_is_right", lambda region, verifier: "<")
    for seed in seeds(count):
        with victim.hurt(random.Random(seed)) as image:
            start = time.process_time()
            _, errors = read_all(image, "victim")
            assert time.process_time() - start < SECONDS, f"seed {seed}"
        assert all(map(is_precise, errors)), f"seed {seed}: {[str(e) for e in errors if not is_precise(e)]}"


def test_damage_is_told_or_does_not_matter(victim: Hurt) -> None:
    with bounded_memory():
        assert 30 < hurt_and_read(victim, 75) < 75


def test_nothing_breaks_when_every_checksum_is_right(victim: Hurt, monkeypatch: pytest.MonkeyPatch) -> None:
    with bounded_memory():
        hurt_without_checksums(victim, 75, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_twenty_thousand_damaged_pools(victim: Hurt, monkeypatch: pytest.MonkeyPatch) -> None:
    count = int(os.environ.get("OSVLAB_SOAK_IMAGES", "20000"))
    with bounded_memory():
        hurt_and_read(victim, count // 2)
        hurt_without_checksums(victim, count // 2, monkeypatch)
