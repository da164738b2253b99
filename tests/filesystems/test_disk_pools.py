"""A disk with more than one ZFS pool: read by the rule, changed only where it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import osvlab.filesystems
from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.disk_pools import pools_on
from osvlab.filesystems.opening import volume_of
from osvlab.filesystems.tree import Content, Directory
from osvlab.filesystems.zfs import write_zfs
from osvlab.image.rebuild import copy_in

MIB = 1 << 20
SIZE = 64 * MIB


def disk_of_pools(folder: Path, *names: str) -> Path:
    """Return a disk with a pool in each of the first partitions, with a file that says in which."""
    path, table = folder / "disk.img", []
    with path.open("w+b", buffering=0) as file:
        for slot, name in enumerate(names, 1):
            file.seek((1 + 65 * (slot - 1)) * MIB)
            table.append(Partition(slot, disk.TYPE_LINUX, file.tell(), SIZE))
            write_zfs(Directory({b"who": Content(b"%d" % slot)}), file, name=name, size=SIZE, sparse=True)
        file.seek(0)
        file.write(disk.make_boot_sector(None, 0, table))
    return path


def who(path: Path, partition: int | None = None) -> bytes:
    with osvlab.filesystems.open(path, partition=partition) as fs:
        return (fs / "who").read_bytes()


def test_two_pools_of_one_name_are_read_told_of_and_not_changed_by_chance(tmp_path: Path) -> None:
    path = disk_of_pools(tmp_path, "osv", "osv")
    assert (who(path), who(path, 1)) == (b"2", b"1")  # the root is the second partition
    report, *pools = osvlab.filesystems.check(path)
    assert [problem.message for problem in report.problems] == [
        f"pools of the same name on one disk: {path} has osv in partition 1 and osv in partition 2"
    ]
    assert all(pool.ok for pool in pools)
    before = path.stat()
    (tmp_path / "who").write_bytes(b"changed")
    message = "two pools on one disk: .*disk.img has osv in partition 1 and osv in partition 2"
    with pytest.raises(OsvlabError, match=message) as caught:
        copy_in(path, tmp_path / "who", "/who")
    assert "--partition 2" in str(caught.value.hint)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    copy_in(path, tmp_path / "who", "/who", partition=1)
    assert (who(path), who(path, 1)) == (b"2", b"changed")


def test_a_copy_of_a_pool_is_told_from_a_namesake(tmp_path: Path) -> None:
    path = disk_of_pools(tmp_path, "osv", "osv")
    with path.open("r+b") as file:
        for start in (0, SIZE - 4 * MIB):  # what lies between is free
            file.seek(66 * MIB + start)
            piece = file.read(min(8 * MIB, SIZE - start))
            file.seek(MIB + start)
            file.write(piece)
    report = osvlab.filesystems.check(path)[0]
    assert "on one disk (copies of one pool): " in report.problems[0].message


def test_pools_of_other_names_and_partitions_without_a_good_label(tmp_path: Path) -> None:
    path = disk_of_pools(tmp_path, "data", "osv")
    assert [str(pool) for pool in pools_on(volume_of(path))] == ["data in partition 1", "osv in partition 2"]
    assert all(report.ok for report in osvlab.filesystems.check(path))
    with path.open("r+b") as file:
        for label in (0, 256 << 10, SIZE - (512 << 10), SIZE - (256 << 10)):
            file.seek(MIB + label + (16 << 10))
            file.write(bytes(100))
    assert [str(pool) for pool in pools_on(volume_of(path))] == ["osv in partition 2"]
    assert pools_on(volume_of(path.read_bytes()[66 * MIB : 68 * MIB])) == []
