"""Building again takes what did not change from the old image, and gives the bytes of building afresh."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest

from osvlab.filesystems.host import read_tree
from osvlab.filesystems.zfs import open_zfs
from osvlab.filesystems.zfs.writer import reuse as reuse_module
from osvlab.filesystems.zfs.writer.blocks import Kept
from osvlab.filesystems.zfs.writer.plan import Options
from osvlab.filesystems.zfs.writer.reuse import Reuse
from osvlab.filesystems.zfs.writer.write import plan_zfs, write_zfs
from osvlab.paths import replacing
from tests.filesystems.zfs.trees import assert_same, make_tree


class Site:
    """A tree on the host, and the image that is made of it again and again."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        make_tree(self.tree, special=False)
        self.image = folder / "pool.img"
        self.read: list[bytes] = []
        self.wait_for_the_clock()

    def wait_for_the_clock(self) -> None:
        """Make all times older than what may still change unseen."""
        reuse_module._TICK = -(10**12)

    def build(self, *, afresh: bool = False, **options: object) -> bytes:
        """Build, and return the bytes; `read` says which files were opened for it."""
        plan = plan_zfs(read_tree(self.tree), free=0, **options)  # type: ignore[arg-type]
        reuse = None if afresh else Reuse(self.image, plan.options)
        with replacing(self.image) as temporary, open(temporary, "r+b", buffering=0) as stream:
            stream.seek(1 << 20)
            write_zfs(plan, stream, sparse=True, reuse=reuse)
        if reuse is not None:
            reuse.save(os.stat(self.image))
            reuse.close()
        return self.image.read_bytes()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reuse_module, "_TICK", reuse_module._TICK)
    site = Site(tmp_path)
    from osvlab.filesystems.zfs.writer import sources

    real = sources.open_source

    def counting(file: sources.HostFile) -> int:
        site.read.append(os.path.basename(file.path))
        return real(file)

    monkeypatch.setattr(sources, "open_source", counting)
    return site


def test_nothing_changed_nothing_is_read(site: Site) -> None:
    first = site.build()
    assert len(site.read) > 80
    site.read.clear()
    assert site.build() == first
    assert site.read == []
    assert site.build(afresh=True) == first


@pytest.mark.parametrize("name", ["noise-513", "noise-131073", "noise-1500000", "sparse"])
def test_one_file_changed_one_file_is_read(site: Site, name: str) -> None:
    site.build()
    with open(site.tree / name, "r+b") as file:
        file.seek(100)
        file.write(os.urandom(300))
    site.read.clear()
    again = site.build()
    assert set(site.read) == {name.encode()}
    assert again == site.build(afresh=True)


def test_files_that_come_go_and_move(site: Site) -> None:
    site.build()
    (site.tree / "text-300000").unlink()
    (site.tree / "noise-70000").rename(site.tree / "aaa")
    (site.tree / "folder-3" / "new").write_bytes(b"new")
    assert site.build() == site.build(afresh=True)


def test_an_image_that_a_guest_wrote_to_is_not_believed(site: Site) -> None:
    first = site.build()
    chance = random.Random(1)
    with open(site.image, "r+b") as image:
        for _ in range(40):
            image.seek(chance.randrange(5 << 20, 12 << 20))
            image.write(chance.randbytes(2000))
    site.read.clear()
    assert site.build() == first
    assert site.read  # some blocks were gone
    with open_zfs([first[1 << 20 :]]) as files:
        assert_same(files, site.tree)


def test_an_image_that_is_gone_or_short(site: Site) -> None:
    first = site.build()
    os.truncate(site.image, 6 << 20)
    assert site.build() == first
    site.image.unlink()
    assert site.build() == first


@pytest.mark.parametrize("damage", ["short", "flipped", "empty"])
def test_a_damaged_record_is_none(site: Site, damage: str, tmp_path: Path) -> None:
    first = site.build()
    (record,) = (path for path in (tmp_path / "cache/osvlab/blocks").iterdir() if path.name != ".lock")
    data = bytearray(record.read_bytes())
    data[200] ^= 1
    record.write_bytes({"short": data[:1000], "flipped": data, "empty": b""}[damage])
    site.read.clear()
    assert site.build() == first
    assert len(site.read) > 80


def test_another_compression_takes_nothing(site: Site) -> None:
    site.build()
    site.read.clear()
    other = site.build(compression="gzip-1")
    assert len(site.read) > 80
    assert other == site.build(compression="gzip-1", afresh=True)


def test_what_changed_a_moment_ago_may_change_again_unseen(site: Site) -> None:
    reuse_module._TICK = 10**12
    site.build()
    site.read.clear()
    site.build()
    assert len(site.read) > 80


def test_an_image_that_nobody_touched_is_copied_unread(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = site.build()

    def refuse(*_: object) -> None:
        raise AssertionError("a block was read")

    with monkeypatch.context() as patch:
        patch.setattr(Reuse, "read", refuse)
        assert site.build() == first
    with open(site.image, "r+b") as image:  # the same byte as before, but who knows
        image.seek(5 << 20)
        byte = image.read(1)
        image.seek(5 << 20)
        image.write(byte)
    os.utime(site.image)
    read: list[Kept] = []
    real = Reuse.read
    monkeypatch.setattr(
        Reuse, "read", lambda self, kept, codec: read.append(kept) or real(self, kept, codec)
    )
    assert site.build() == first
    assert len(read) > 80


def test_blocks_are_copied_into_any_stream(site: Site) -> None:
    first = site.build()
    plan = plan_zfs(read_tree(site.tree), free=0)
    reuse = Reuse(site.image, plan.options)
    assert reuse.untouched
    stream = io.BytesIO()
    write_zfs(plan, stream, reuse=reuse)
    assert stream.getvalue() == first[1 << 20 :]


def test_without_an_image_there_is_nothing_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reuse = Reuse(tmp_path / "absent.img", Options())
    assert not reuse.untouched
    reuse.close()
    reuse.close()


def test_records_do_not_pile_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse_module, "_MOST_RECORDS", 2)
    for number in range(4):
        site.image = tmp_path / f"{number}.img"
        site.build()
    assert len(list((tmp_path / "cache/osvlab/blocks").iterdir())) == 2
    site.read.clear()
    site.build()
    assert site.read == []
