"""Images that an empty VM fills: the same as those that the host fills, or refused.

OSv's builder takes part when OSVLAB_OSV_ZFS_BUILDER names it, OSv's kernel when OSVLAB_OSV_ZFS_KERNEL does.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osvlab.errors import OsvlabError
from osvlab.events import Event, Note, StepFinished, StepProgress, listening
from osvlab.filesystems.base import Kind
from osvlab.filesystems.host import read_tree
from osvlab.image import builders
from osvlab.image.build import build, build_recipe
from osvlab.image.builders import EmptyVmError, osv_builder, suitable_builder
from osvlab.image.image import Image
from osvlab.image.recipe import Filesystem, Recipe, RecipeError
from osvlab.image.vm_root import refuse_for_vm
from osvlab.kernels import Kernel
from tests.filesystems.zfs.trees import make_tree
from tests.image.pools import Fact, facts, judge, pool_of

OSV_BUILDER = os.environ.get("OSVLAB_OSV_ZFS_BUILDER")
needs_osv = pytest.mark.skipif(not OSV_BUILDER, reason="OSVLAB_OSV_ZFS_BUILDER names no builder of OSv")


@pytest.fixture(scope="module")
def lab() -> Kernel:
    return Kernel.lab()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a tree can have, and 3,000 files."""
    top = tmp_path_factory.mktemp("tree") / "root"
    make_tree(top, files=200, special=False)
    base = os.fsencode(top)
    chance = random.Random(7)
    many = top / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"{number}").write_bytes(chance.randbytes(number % 50 * 37))
    for name in (
        b"\x01\n\x7f",
        b"\xff\xfe",
        b" ",
        b"-rf",
        b"a\\b",
        b"*?",
        b"Adding x...",
        b"n" * 254 + b"\xff",
    ):
        Path(os.fsdecode(base + b"/" + name)).write_bytes(name)
    below = top
    for depth in range(14):
        below = below / (f"{depth:x}" * 250)
    below.mkdir(parents=True)
    (below / "deepest").write_text("here")
    (top / "loop").symlink_to("loop")
    (top / "absolute").symlink_to("/many/17")
    (top / "to a folder").symlink_to("many")
    for size in (4095, 4097, 131_071 * 2, 262_144, 262_145):
        (top / f"size-{size}").write_bytes(chance.randbytes(size))
    os.link(top / "many" / "17", top / "deep" / "the same file")
    os.link(top / "many" / "17", top / "a third name")
    for mode in (0, 0o1777, 0o2750, 0o4755, 0o6711):
        (top / f"mode-{mode:o}").touch(mode=0o600)
        (top / f"mode-{mode:o}").chmod(mode)
    (top / "folder-1").chmod(0o2770)
    os.utime(top / "many", (0, 1_000_000_000))
    os.utime(top / "folder-2", (0, 0))
    os.utime(top / "loop", (0, 7), follow_symlinks=False)
    (top / "hello").write_bytes(b"#!/bin/no")
    top.chmod(0o750)
    return top


def made(tree: Path, folder: Path, name: str, **options: Any) -> Image:
    return build(tree, "/hello", fs="zfs", output=folder / f"{name}.img", check=False, **options)


@pytest.fixture(scope="module")
def by_host(tree: Path, lab: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return made(tree, tmp_path_factory.mktemp("host"), "host", kernel=lab)


@pytest.fixture(scope="module")
def wanted(by_host: Image) -> dict[bytes, Fact]:
    with pool_of(by_host) as files:
        return facts(files)


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"compression": None}, {"ashift": 12}, {"size": "300M"}])
def test_the_lab_kernels_vm_makes_what_the_host_makes(
    tree: Path, lab: Kernel, wanted: dict[bytes, Fact], tmp_path: Path, options: dict[str, Any]
) -> None:
    image = made(tree, tmp_path, "vm", kernel=lab, via="vm", **options)
    with pool_of(image) as files:
        assert facts(files) == wanted
        assert files.pool.name == "osv"
        assert files.pool.state == "exported"
    assert image.command == "/hello"
    judge(image, tmp_path)


def test_the_hosts_pool_is_whole(by_host: Image, wanted: dict[bytes, Fact], tmp_path: Path) -> None:
    judge(by_host, tmp_path)
    assert len(wanted) > 3300
    assert wanted[b"/"].permissions == 0o750
    assert wanted[b"/a third name"].links == 3


def as_osv(wanted: dict[bytes, Fact]) -> dict[bytes, Fact]:
    """What OSv's upload daemon keeps: no times, no bits above rwxrwxrwx, of one file with names several."""
    return {
        path: fact._replace(
            permissions=fact.permissions & 0o777,
            links=1 if fact.kind is Kind.FILE else fact.links,
            modified=0,
        )
        for path, fact in wanted.items()
        if path != b"/"
    }


@pytest.mark.qemu
@pytest.mark.slow
@needs_osv
@pytest.mark.parametrize("compression", ["lz4", "gzip-6", None])
def test_osvs_vm_makes_what_its_daemon_keeps(
    tree: Path, lab: Kernel, wanted: dict[bytes, Fact], tmp_path: Path, compression: str | None
) -> None:
    image = made(tree, tmp_path, "osv", kernel=lab, via="vm", builder=OSV_BUILDER, compression=compression)
    with pool_of(image) as files:
        found = as_osv(facts(files))
        assert found.pop(b"/zfs").size == 0  # where its second dataset was mounted
    assert found == as_osv(wanted)
    judge(image, tmp_path)


@pytest.mark.qemu
@pytest.mark.slow
@needs_osv
def test_the_dataset_that_osv_had_up_to_0_57(tree: Path, kernel: Kernel, tmp_path: Path) -> None:
    assert OSV_BUILDER is not None
    known = osv_builder(OSV_BUILDER, verbose=False)
    start = known.command_line.partition("--prefix ")[0]
    old = replace(known, command_line=f"{start}--prefix /zfs/zfs/", root_dataset="osv/zfs", own_folder=b"")
    recipe = Recipe.from_source(tree / "folder-1", "/file-1", "zfs")
    build_recipe(recipe, kernel, tmp_path / "x.img", builder=old, check=False)
    with pool_of(Image(tmp_path / "x.img"), "osv/zfs") as files:
        assert (files / "file-1").read_bytes() == (tree / "folder-1/file-1").read_bytes()
    with pool_of(Image(tmp_path / "x.img"), "osv") as files:
        assert [entry.path for entry in files.walk()] == [b"/", b"/zfs"]


def test_its_steps_are_those_of_the_host(app: Path, lab: Kernel, tmp_path: Path) -> None:
    def finished(events: list[Event]) -> list[str]:
        return [event.step for event in events if isinstance(event, StepFinished)]

    told: dict[str, list[Event]] = {"host": [], "vm": []}
    for via, events in told.items():
        with listening(events.append):
            build(app, "/hello", fs="zfs", kernel=lab, output=tmp_path / f"{via}.img", via=via)
    assert finished(told["vm"]) == finished(told["host"])
    steps = {event.step: event for event in told["vm"] if isinstance(event, StepFinished)}
    assert steps["format"].bytes > 1 << 20
    assert steps["fill"].bytes > (app / "hello").stat().st_size
    assert all(step.seconds > 0 for step in steps.values())
    progress = [event for event in told["vm"] if isinstance(event, StepProgress) and event.step == "fill"]
    assert progress[-1].done == progress[-1].total == steps["fill"].bytes


@pytest.mark.parametrize("compression", ["lz4", None])
def test_holes_stay_holes(app: Path, lab: Kernel, tmp_path: Path, compression: str | None) -> None:
    with open(app / "hole", "wb") as file:
        file.seek(30_000_000)
        file.write(b"middle")
        file.truncate(100_000_000)
    image = build(app, fs="zfs", kernel=lab, output=tmp_path / "x.img", via="vm", compression=compression)
    assert image.size < 140 << 20
    assert image.allocated < 4 << 20
    with pool_of(image) as files:
        assert files.find("/hole").size == 100_000_000
        assert files.read(files.find("/hole"), 29_999_999, 8) == b"\0middle\0"
        assert files.check().ok


@needs_osv
@pytest.mark.slow
def test_osv_has_room_for_holes_that_become_zeros(app: Path, lab: Kernel, tmp_path: Path) -> None:
    os.truncate(app / "etc/motd", 90_000_000)
    output = tmp_path / "x.img"
    options: dict[str, Any] = {"via": "vm", "builder": OSV_BUILDER, "compression": None}
    image = build(app, fs="zfs", kernel=lab, output=output, **options)
    assert image.allocated > 90_000_000
    with pool_of(image) as files:
        assert files.read(files.find("/etc/motd"), 89_999_999, 8) == b"\0"


def test_times_have_a_limit(app: Path, lab: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    os.utime(app / "etc/motd", ns=(0, 999_999_999_999_999_999))
    found = []
    for via in ("host", "vm"):
        image = build(app, fs="zfs", kernel=lab, output=tmp_path / f"{via}.img", via=via)
        with pool_of(image) as files:
            found.append(facts(files))
    assert found[0] == found[1]
    assert found[0][b"/etc/motd"].modified == 999_999_999 * 10**9
    others = {fact.modified for path, fact in found[0].items() if path != b"/etc/motd"}
    assert others == {0, 10**18}  # what the lab adds is of no time


def test_nothing_changed_nothing_is_done(
    app: Path, lab: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osvlab.image.unchanged._TICK", -(10**12))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def steps(**options: Any) -> list[str]:
        events: list[Event] = []
        with listening(events.append):
            build(app, fs="zfs", kernel=lab, output=tmp_path / "x.img", **options)
        return [event.step for event in events if isinstance(event, StepFinished)]

    assert "fill" in steps(via="vm")
    assert steps(via="vm") == ["read the directory"]
    assert "fill" in steps()
    assert "fill" in steps(via="vm")


# --- what is refused, before anything is written ----------------------------------------------------------


def refused(app: Path, folder: Path, **options: Any) -> str:
    with pytest.raises(OsvlabError) as caught:
        build(app, "/hello", output=folder / "x.img", via="vm", check=False, **options)
    assert not (folder / "x.img").exists()
    return str(caught.value)


def test_other_filesystems(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    for fs in ("rofs", "ramfs"):
        assert refused(app, tmp_path, kernel=kernel, fs=fs) == (
            f"an empty VM formats ZFS only, not {fs}\nhint: Use fs='zfs', or via='host'."
        )


def test_a_file_of_four_gibibytes(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    with open(app / "etc/huge", "wb") as file:
        file.truncate(1 << 32)
    said = refused(app, tmp_path, kernel=kernel, fs="zfs")
    assert said.startswith("/etc/huge has 4 GiB, too much to be sent into an empty VM")
    assert "via='host'" in said
    os.truncate(app / "etc/huge", (1 << 32) - 1)
    refuse_for_vm(read_tree(app), Filesystem.ZFS)


def test_options_that_nobody_knows(app: Path, lab: Kernel, tmp_path: Path) -> None:
    assert "compression 'gzip-6' and ashift 9" in refused(
        app, tmp_path, kernel=lab, fs="zfs", compression="gzip-6"
    )
    assert "ashift 10" in refused(app, tmp_path, kernel=lab, fs="zfs", ashift=10)
    for size, why in (("1M", "too small"), ("many", "not a size"), (-5, "not a size")):
        assert why in refused(app, tmp_path, kernel=lab, fs="zfs", size=size)
    with pytest.raises(
        RecipeError, match=r"zfs_builder\.elf runs in a VM, and the host shall fill the disk"
    ):
        build(app, fs="zfs", kernel=lab, output=tmp_path / "x.img", builder="zfs_builder.elf")


def test_builders_that_are_none(app: Path, lab: Kernel, osv_stub: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no kernel")
    for builder, why in (
        (tmp_path / "nowhere", "no such kernel: "),
        (tmp_path / "text", "text is no kernel"),
        (app / "hello", "hello is no kernel"),
        (osv_stub, "osv.elf cannot format a disk: it has no /tools/mkfs.so and no /tools/cpiod.so"),
    ):
        assert why in refused(app, tmp_path, kernel=lab, fs="zfs", builder=builder)


def test_osv_needs_its_builder(app: Path, osv_stub: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("OSVLAB_OSV_ZFS_BUILDER", raising=False)
    said = refused(app, tmp_path, kernel=osv_stub, fs="zfs")
    assert said.startswith("osv.elf has no builder")
    assert "builder=" in said
    monkeypatch.setenv("OSVLAB_OSV_ZFS_BUILDER", str(tmp_path / "named"))
    assert "no such kernel: " + str(tmp_path / "named") in refused(app, tmp_path, kernel=osv_stub, fs="zfs")
    monkeypatch.delenv("OSVLAB_OSV_ZFS_BUILDER")
    (tmp_path / "zfs_builder-stripped.elf").write_text("nothing")
    assert "zfs_builder-stripped.elf is no kernel" in refused(app, tmp_path, kernel=osv_stub, fs="zfs")


def with_programs(stub: Path, name: str, *texts: bytes) -> Path:
    path = stub.with_name(name)
    path.write_bytes(stub.read_bytes() + b"".join(b"\0" + text + b"\0" for text in texts))
    return path


def test_kernel_and_builder_have_to_agree(osv_stub: Path) -> None:
    tools = b"tools/mkfs.so", b"tools/cpiod.so"
    new = with_programs(osv_stub, "new", *tools, b"tools/umount.so", b"osv/zfs")
    old = with_programs(osv_stub, "old", *tools, b"osv/zfs")
    kernels = Kernel.open(osv_stub), Kernel.open(with_programs(osv_stub, "kernel57", b"osv/zfs"))
    assert [kernel.zfs_root for kernel in kernels] == ["osv", "osv/zfs"]
    found = [suitable_builder(kernel, builder) for kernel, builder in zip(kernels, (new, old), strict=True)]
    assert [builder.root_dataset for builder in found] == ["osv", "osv/zfs"]
    assert ["--prefix /zfs/;" in builder.command_line for builder in found] == [True, False]
    with pytest.raises(
        EmptyVmError, match=r"old fills the dataset osv/zfs, and osv\.elf mounts osv: they are"
    ):
        suitable_builder(kernels[0], old)
    with pytest.raises(EmptyVmError, match="new fills the dataset osv, and kernel57 mounts osv/zfs"):
        suitable_builder(kernels[1], new)


def test_the_host_fills_the_dataset_that_the_kernel_mounts(
    app: Path, osv_stub: Path, tmp_path: Path
) -> None:
    kernel57 = with_programs(osv_stub, "kernel57", b"osv/zfs")
    for kernel, dataset in ((osv_stub, "osv"), (kernel57, "osv/zfs")):
        output = tmp_path / f"{kernel.name}.img"
        image = build(app, fs="zfs", kernel=kernel, output=output, check=False)
        with pool_of(image) as files:
            assert files.dataset.name == dataset
            assert (files / "hello").read_bytes() == (app / "hello").read_bytes()
            names = {one.name for one in files.pool.datasets.values() if not one.is_internal}
        assert names == {"osv", dataset}
        judge(image, tmp_path)
    with pool_of(image, "osv") as files:
        assert not files.list(files.root)
        assert files.root.permissions == 0o755


def test_a_kernel_that_does_not_tell_is_said(osv_stub: Path) -> None:
    builder = with_programs(osv_stub, "b.elf", b"tools/mkfs.so", b"tools/cpiod.so", b"tools/umount.so")
    events: list[Event] = []
    with listening(events.append):
        suitable_builder(Kernel.open(builder), builder)
    assert [event.text for event in events if isinstance(event, Note)] == [
        "b.elf fills the dataset osv; b.elf does not tell whether it is the one that it mounts"
    ]


def test_a_folder_that_the_builder_needs(app: Path, osv_stub: Path, tmp_path: Path) -> None:
    builder = with_programs(osv_stub, "b.elf", b"tools/mkfs.so", b"tools/cpiod.so", b"tools/umount.so")
    (app / "zfs").mkdir()
    said = refused(app, tmp_path, kernel=osv_stub, fs="zfs", builder=builder)
    assert said.startswith("/zfs is where b.elf mounts another dataset")


def test_what_builders_say_of_files_takes_time() -> None:
    assert all("--verbose" in line for line in (builders._LAB, builders._OSV))
