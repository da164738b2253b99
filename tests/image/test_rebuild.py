"""Copying into images: in place, in one step, or not at all."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings

import osvlab.filesystems
from osvlab.errors import OsvlabError
from osvlab.events import Event, StepFinished, StepProgress, listening
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.cpio import write_cpio
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.opening import Volume
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs import write_zfs
from osvlab.image import rebuild as rebuild_module
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.image.rebuild import WRITERS, RebuildError, copy_in, rebuild
from osvlab.kernels import Kernel
from osvlab.vm.discover import ImageInUseError
from osvlab.vm.machine import Disk, Machine
from osvlab.vm.vm import VM
from tests.filesystems.strategies import facts_of_reader, facts_of_tree, short_names, trees
from tests.vm.guests import Guest

MIB = 1 << 20


def tree() -> Directory:
    tree = Directory()
    tree.add(b"/etc/hosts", Content(b"old"))
    tree.add(b"/usr/lib/x.so", Content(bytes(range(256)) * 40))
    tree.add(b"/lib", Symlink(b"usr/lib"))
    tree.add(b"/name", Symlink(b"etc/hosts"))
    return tree


def facts(path: Path, **chosen: int) -> dict[str, bytes | str | None]:
    with osvlab.filesystems.open(path, **chosen) as fs:  # type: ignore[arg-type]
        found = facts_of_reader(fs)
    return {os.fsdecode(name): value for name, (_, value) in found.items()}  # type: ignore[misc]


def write_pool(tree: Directory, file: BinaryIO) -> int:
    return write_zfs(tree, file, free=0)


@pytest.fixture(params=["rofs", "bootfs", "zfs"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "bare.img"
    with path.open("wb") as file:
        {"rofs": write_rofs, "bootfs": write_bootfs, "zfs": write_pool}[request.param](tree(), file)
    path.chmod(0o640)
    return path


def test_a_file_is_added_and_one_replaced(bare: Path, tmp_path: Path) -> None:
    before = facts(bare)
    (tmp_path / "hosts").write_text("new and longer than before")
    size = copy_in(bare, tmp_path / "hosts", "/etc")
    copy_in(bare, tmp_path / "hosts", "/etc/other")
    assert facts(bare) == before | {
        "/etc/hosts": b"new and longer than before",
        "/etc/other": b"new and longer than before",
    }
    assert size > 0
    assert all(report.ok for report in osvlab.filesystems.check(bare))
    assert bare.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["bare.img", "hosts"]


def test_directories_go_where_cp_would_put_them(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "app" / "deep").mkdir(parents=True)
    (tmp_path / "app" / "deep" / "f").write_text("f")
    (tmp_path / "app" / "link").symlink_to("deep/f")
    before = facts(bare)
    copy_in(bare, tmp_path / "app", "/opt")  # is not there: becomes it
    copy_in(bare, tmp_path / "app", "/usr")  # is there: goes into it
    (tmp_path / "app" / "deep" / "f").write_text("again")
    (tmp_path / "app" / "deep" / "g").write_text("g")
    copy_in(bare, tmp_path / "app", "/usr")  # its own name is there: merged
    assert facts(bare) == before | {
        "/opt": None,
        "/opt/deep": None,
        "/opt/deep/f": b"f",
        "/opt/link": b"deep/f",
        "/usr/app": None,
        "/usr/app/deep": None,
        "/usr/app/deep/f": b"again",
        "/usr/app/deep/g": b"g",
        "/usr/app/link": b"deep/f",
    }


def test_links_in_the_image_are_followed_inside_it(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "y.so").write_text("y")
    copy_in(bare, tmp_path / "y.so", "/lib")
    copy_in(bare, tmp_path / "y.so", "/name")
    found = facts(bare)
    assert found["/usr/lib/y.so"] == found["/etc/hosts"] == b"y"
    assert found["/lib"] == b"usr/lib"
    assert found["/name"] == b"etc/hosts"


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        ("none", "/etc", "no such file: .*none"),
        ("file", "/no/such/file", "no such directory in .*bare.img: /no/such"),
        ("file", "/etc/hosts/x", "no such directory"),
        ("file", "/etc/..", None),
        ("file", "/etc/new/", "no such directory in .*bare.img: /etc/new/"),
        ("file", "/etc/hosts/", "no such directory in .*bare.img: /etc/hosts/"),
        ("folder", "/etc/hosts", "/etc/hosts is no directory in"),
        ("lib", "/", "is a directory here and none there|has a directory|is no directory"),
        ("usr", "/", "has a directory usr in"),
        ("pipe", "/etc", "it is a pipe"),
        ("file", "/" + "x" * 300, "name too long|path too long"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_changed(
    bare: Path, tmp_path: Path, source: str, path: str, message: str | None
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "usr").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f").write_text("x")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "f").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    before, names = bare.read_bytes(), sorted(os.listdir(tmp_path))
    if message is None:
        copy_in(bare, tmp_path / source, path)
        assert facts(bare)["/file"] == b"x"
        return
    with pytest.raises(OsvlabError, match=message):
        copy_in(bare, tmp_path / source, path)
    assert bare.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == names


@pytest.mark.parametrize("fs", ["rofs", "ramfs"])
def test_a_bootable_disk_keeps_all_but_its_files(app: Path, kernel: Kernel, tmp_path: Path, fs: str) -> None:
    image = build(app, fs=fs, kernel=kernel, output=tmp_path / "x.img")
    image.command_line = image.command_line + " --and more"
    before, root = image.path.read_bytes(), image.root_partition
    (tmp_path / "big").write_bytes(os.urandom(3 * MIB))
    size = copy_in(image.path, tmp_path / "big", "/etc/big")
    after = image.path.read_bytes()
    again = Image.open(image.path)
    assert size == len(after) > len(before)
    assert (again.root_partition.offset, again.command_line) == (root.offset, image.command_line)
    assert again.root_partition.offset + again.root_partition.size == size
    assert after[512 : root.offset] == before[512 : root.offset]
    assert after[:0x1BE] == before[:0x1BE]
    assert (again.files / "etc/big").read_bytes() == (tmp_path / "big").read_bytes()
    assert (again.files / "etc/motd").read_text() == "welcome\n"

    def remove(tree: Directory) -> None:
        etc = tree.find(b"/etc")
        assert isinstance(etc, Directory)
        del etc.children[b"big"]

    assert rebuild(image.path, remove) == len(before)
    assert image.path.read_bytes() == before  # the same files make the same bytes


def test_other_partitions_stay_where_they_are(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_rofs(tree(), stream)
    third = io.BytesIO()
    write_bootfs(Directory({b"third": Content(b"3")}), third)
    table = [Partition(2, 0x83, MIB, 65536), Partition(3, 0x83, 2 * MIB, 4096)]
    image = bytearray(3 * MIB)
    image[:512] = disk.make_boot_sector(None, 0, table)
    image[MIB : MIB + len(stream.getvalue())] = stream.getvalue()
    image[2 * MIB : 2 * MIB + len(third.getvalue())] = third.getvalue()
    path = tmp_path / "x.img"
    path.write_bytes(image)
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert copy_in(path, tmp_path / "file", "/etc") == 3 * MIB
    assert facts(path)["/etc/file"] == b"x" * 100_000
    assert facts(path, partition=3) == {"/": None, "/third": b"3"}
    copy_in(path, tmp_path / "file", "/", partition=3)
    assert facts(path, partition=3)["/file"] == b"x" * 100_000
    before = path.read_bytes()
    (tmp_path / "file").write_bytes(b"x" * MIB)
    with pytest.raises(RebuildError, match=r"partition 3 begins 1 MiB behind"):
        copy_in(path, tmp_path / "file", "/etc")
    assert path.read_bytes() == before
    found = disk.read_partitions(ByteRange(path))
    assert [(each.slot, each.offset) for each in found] == [(2, MIB), (3, 2 * MIB)]


def test_what_is_only_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (tmp_path / "x.cpio").open("wb") as file:
        write_cpio(tree(), file)
    with pytest.raises(RebuildError, match=r"holds a cpio that the lab only reads") as caught:
        copy_in(tmp_path / "x.cpio", tmp_path / "file", "/etc")
    assert "ROFS, bootfs and ZFS" in str(caught.value.hint)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "x.qcow2", "1M"], check=True)
    with pytest.raises(RebuildError, match=r"is a qcow2 file, which is only read"):
        copy_in(tmp_path / "x.qcow2", tmp_path / "file", "/etc")


def test_damage_is_not_copied_into_a_new_image(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    image = bare.read_bytes()
    bare.write_bytes(image[: len(image) // 2])
    before = bare.read_bytes()
    with pytest.raises(OsvlabError, match=r"damaged|nothing that the lab reads"):
        copy_in(bare, tmp_path / "file", "/etc")
    assert bare.read_bytes() == before


@pytest.mark.parametrize("write", [write_rofs, write_bootfs])
def test_holes_stay_holes(tmp_path: Path, write: Callable[[Directory, BinaryIO], int]) -> None:
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 1 << 40)
    path = tmp_path / "x.img"
    with path.open("wb") as file:
        write(Directory({b"x": Content(b"x")}), file)
    copy_in(path, tmp_path / "hole", "/")
    rebuild(path, lambda read: read)
    assert path.stat().st_blocks * 512 < MIB
    with osvlab.filesystems.open(path) as fs:
        hole = fs.find("/hole")
        stored = b"".join(piece for _, piece in fs.data_pieces(hole))  # of a block that it shares
        assert (hole.size, len(stored) < MIB, any(stored)) == (1 << 40, True, False)


def test_nobody_changes_it_once_it_is_read(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "other").write_text("other")
    read = rebuild_module.volume_of

    def read_and_be_overtaken(path: Path) -> Volume:
        monkeypatch.setattr(rebuild_module, "volume_of", read)
        volume = read(path)
        with pytest.raises(RebuildError, match="is being changed by somebody else"):
            copy_in(bare, tmp_path / "other", "/etc")
        return volume

    monkeypatch.setattr(rebuild_module, "volume_of", read_and_be_overtaken)
    copy_in(bare, tmp_path / "mine", "/etc")
    assert facts(bare)["/etc/mine"] == b"mine"


def test_what_takes_long_is_told(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(3 * MIB))
    copy_in(bare, tmp_path / "large", "/etc")
    told: list[Event] = []
    with listening(told.append):
        rebuild(bare, lambda tree: tree)
    finished = [event for event in told if isinstance(event, StepFinished)]
    steps = [f"read the files in {bare}", f"write {bare} again", "verify"]
    assert [event.step for event in finished] == steps
    assert finished[0].bytes == 3 * MIB + 3 + 256 * 40
    last = {event.step: event for event in told if isinstance(event, StepProgress)}
    for step in steps[:2]:
        assert last[step].done == last[step].total >= finished[0].bytes  # bootfs counts links, too


def test_two_do_not_change_it_at_the_same_time(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with bare.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RebuildError, match=r"is being changed by somebody else"):
            copy_in(bare, tmp_path / "file", "/etc")
    copy_in(bare, tmp_path / "file", "/etc")


def test_who_has_it_open_keeps_the_old_one(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("new")
    with osvlab.filesystems.open(bare) as fs:
        copy_in(bare, tmp_path / "hosts", "/etc")
        assert (fs / "etc/hosts").read_bytes() == b"old"
    assert facts(bare)["/etc/hosts"] == b"new"


def test_a_full_disk_leaves_the_image_as_it_was(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    before = bare.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("osvlab.image.rebuild.WRITERS", dict.fromkeys(WRITERS, lambda _: full))
    with pytest.raises(RebuildError, match=r"cannot write .*bare.img again: No space left") as caught:
        copy_in(bare, tmp_path / "file", "/etc")
    assert caught.value.hint == "Make room there."
    assert bare.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["bare.img", "file"]


@given(tree=trees(short_names))
@settings(deadline=None, max_examples=25)
def test_a_tree_that_is_not_changed_stays_the_same_to_the_byte(
    tree: Directory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rebuild") / "x.img"
    with path.open("wb") as file:
        write_rofs(tree, file)
    before = path.read_bytes()
    rebuild(path, lambda read: read)
    assert path.read_bytes() == before
    with osvlab.filesystems.open(path) as fs:
        assert facts_of_reader(fs) == facts_of_tree(tree)


@pytest.mark.qemu
def test_an_image_that_a_guest_runs_from_is_refused(bare: Path, tmp_path: Path, guest_folder: Path) -> None:
    (tmp_path / "hosts").write_text("new")
    before = bare.read_bytes()
    kernel = Guest().say("ready\n").hang().assemble(guest_folder)
    machine = Machine(kernel=kernel, memory=16 << 20, disks=(Disk(bare),))
    with VM(machine) as vm:
        vm.wait_for("ready", 60)
        with pytest.raises(ImageInUseError, match=vm.folder.name.removeprefix("vm-")):
            copy_in(bare, tmp_path / "hosts", "/etc")
    assert bare.read_bytes() == before
    copy_in(bare, tmp_path / "hosts", "/etc")
