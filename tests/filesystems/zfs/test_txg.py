"""A pool as of an older transaction group: what its uberblock still leads to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import osvlab.filesystems
from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.reader import open_zfs
from tests.filesystems.zfs.zfs_fuse import ZfsFuse

BEFORE, AFTER = b"before" * 1000, b"after" * 1000


@pytest.fixture(scope="module")
def changed(zfs_fuse: ZfsFuse, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A pool in which a file changed and another came, and the last transaction group before that."""
    image = tmp_path_factory.mktemp("txg") / "txg.img"
    files = zfs_fuse.create("txg", image)
    (files / "changed").write_bytes(BEFORE)
    zfs_fuse.export("txg")
    with open_zfs([image]) as opened:
        group = opened.pool.uberblock.txg
    zfs_fuse.run("zpool", "import", "-d", str(image.parent), "txg")
    (files / "changed").write_bytes(AFTER)
    (files / "added").write_bytes(b"new")
    zfs_fuse.export("txg")
    return image, group


def test_an_older_state_is_read(changed: tuple[Path, int]) -> None:
    image, group = changed
    with osvlab.filesystems.open(image) as now, osvlab.filesystems.open(image, txg=group) as then:
        assert now.find("changed") != then.find("changed")
        assert now.read(now.find("changed")) == AFTER
        assert then.read(then.find("changed")) == BEFORE
        assert (now / "added").exists()
        assert not (then / "added").exists()
        assert then.check().ok
    now, then = (osvlab.filesystems.check(image, txg=txg)[0].counts["files"] for txg in (None, group))
    assert (now, then) == (2, 1)


def test_an_older_state_is_explained(changed: tuple[Path, int]) -> None:
    image, group = changed
    with open_zfs([image]) as now, open_zfs([image], txg=group) as then:
        assert now.explain_path(now.find("changed"))[-1].raw[: len(AFTER)] == AFTER
        old = then.explain_path(then.find("changed"))
        assert old[1]["txg"] == group
        assert old[-1].raw[: len(BEFORE)] == BEFORE
        # From the newest state, the ring leads to the same.
        label = now.explain()
        name = next(one.name for one in label.pointers if f"of txg {group} " in one.name)
        way = label / name / "MOS" / "object directory" / "entry root_dataset"
        objects = way.pointers[0].read() / "head dataset" / "object set"
        assert objects.raw == next(one.raw for one in old if one.name == "object set of txg")


def test_a_group_that_is_not_there(changed: tuple[Path, int]) -> None:
    image, group = changed
    with pytest.raises(PoolError, match="pool txg has no uberblock of transaction group 999999") as caught:
        open_zfs([image], txg=999_999)
    assert f" {group}," in (caught.value.hint or "")
    with pytest.raises(PoolError, match=f"transaction group '{group}'"):
        open_zfs([image], txg=str(group))  # type: ignore[arg-type]


def test_a_group_whose_objects_are_damaged_is_not_passed_over(
    changed: tuple[Path, int], tmp_path: Path
) -> None:
    image, group = changed
    with open_zfs([image], txg=group) as then:
        root = then.pool.uberblock.root
        places = [then.pool.blocks.place_of(dva) for dva in root.dvas]
    copy = shutil.copyfile(image, tmp_path / "damaged.img")
    with copy.open("r+b") as stream:
        for place in places:
            stream.seek(place)
            stream.write(bytes(root.psize))
    with open_zfs([copy]) as now:
        assert now.read(now.find("changed")) == AFTER
    with pytest.raises(DamagedError) as damage:
        open_zfs([copy], txg=group)
    assert damage.value.offset == places[0]


def test_other_formats_have_no_groups(tmp_path: Path) -> None:
    (tmp_path / "archive.cpio").write_bytes(b"070701" + b"0" * 104)
    with pytest.raises(OsvlabError, match="which has no transaction groups") as caught:
        osvlab.filesystems.open(tmp_path / "archive.cpio", txg=4)
    assert caught.value.hint == "Leave the txg out."


def test_what_is_taken_is_what_the_check_counts(changed: tuple[Path, int]) -> None:
    image, group = changed
    with open_zfs([image]) as now, open_zfs([image], txg=group) as then:
        for opened in (now, then):
            pieces = list(opened.pool.taken())
            assert sum(length for _, length in pieces) == opened.check().counts["bytes in use"]
            extent = next(opened.extents(opened.find("changed")))
            assert extent.offset is not None
            assert any(place <= extent.offset < place + length for place, length in pieces)
