"""Images with a ZFS root, filled from the host; and builds that have nothing to do."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osvlab.errors import OsvlabError
from osvlab.events import Event, Note, StepFinished, listening
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.output import ChangedFileError
from osvlab.filesystems.zfs import open_zfs
from osvlab.filesystems.zfs.writer import reuse as reuse_module
from osvlab.image import unchanged as unchanged_module
from osvlab.image import writing
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.image.recipe import RecipeError
from osvlab.image.roots import Root
from osvlab.image.writing import DiskFullError, ImageError
from osvlab.kernels import Kernel


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take files that were made just now for old ones, and keep records apart."""
    monkeypatch.setattr(reuse_module, "_TICK", -(10**12))
    monkeypatch.setattr(unchanged_module, "_TICK", -(10**12))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@contextmanager
def heard() -> Iterator[list[Event]]:
    events: list[Event] = []
    with listening(events.append):
        yield events


def steps(events: list[Event]) -> list[str]:
    return [event.step for event in events if isinstance(event, StepFinished)]


def test_a_zfs_image(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    image = build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img")
    assert image.filesystem == "zfs"
    assert image.command == "/hello"
    assert "--rootfs=zfs" in image.command_line
    assert (image.files / "hello").read_bytes() == (app / "hello").read_bytes()
    assert (image.files / "hello").stat().st_mtime_ns == int((app / "hello").stat().st_mtime) * 10**9
    assert "/dev/vblk0.1 / " in " ".join((image.files / "etc/fstab").read_text().split())
    assert image.allocated < 4 << 20 < 64 << 20 < image.size
    slots = {partition.slot: partition for partition in image.partitions}
    first, root = slots[1], slots[2]
    # The kernel's module comes first, each at a boundary of 2 MiB.
    assert disk.KERNEL < first.offset < first.offset + first.size <= root.offset
    assert not first.offset % disk.ALIGNMENT
    assert not root.offset % disk.ALIGNMENT
    with open_zfs([ByteRange(image.path, root.offset, root.size)]) as files:
        pool = files.pool
        assert (pool.name, pool.version, pool.state) == ("osv", 5000, "exported")


@pytest.mark.parametrize("compression", ["lz4", "gzip", "gzip-9", None])
def test_compressions(app: Path, kernel: Kernel, tmp_path: Path, compression: str | None) -> None:
    (app / "text").write_bytes(b"the same again and again, " * 40_000)
    image = build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img", compression=compression)
    assert (image.files / "text").read_bytes() == (app / "text").read_bytes()
    assert (image.allocated > 1_000_000 + (1 << 20)) == (compression is None)


def test_a_size(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    image = build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img", size="512M")
    assert image.root_partition.size == 512 << 20
    with pytest.raises(OsvlabError, match="a pool of 1 MiB is too small"):
        build(app, fs="zfs", kernel=kernel, output=tmp_path / "y.img", size="1M")
    assert not (tmp_path / "y.img").exists()


def test_what_a_format_cannot_is_said(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    with heard() as events:
        build(app, kernel=kernel, output=tmp_path / "x.img", compression="gzip")
    assert [event.text for event in events if isinstance(event, Note)] == [
        "gzip was asked for: rofs is not compressed"
    ]
    with pytest.raises(OsvlabError, match="unknown compression of a ZFS pool: 'zstd'"):
        build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img", compression="zstd")
    with pytest.raises(RecipeError, match="unknown way to fill a disk: 'magic'"):
        build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img", via="magic")


def test_the_same_directory_gives_the_same_bytes(
    app: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = build(app, fs="zfs", kernel=kernel, output=tmp_path / "1.img").path.read_bytes()
    assert build(app, fs="zfs", kernel=kernel, output=tmp_path / "2.img").path.read_bytes() == one
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    early = build(app, fs="zfs", kernel=kernel, output=tmp_path / "1.img")
    assert (early.files / "hello").stat().st_mtime == 1_000_000_000
    os.utime(app / "hello")
    (app / "hello").chmod((app / "hello").stat().st_mode)
    first = early.path.read_bytes()
    assert build(app, fs="zfs", kernel=kernel, output=tmp_path / "3.img").path.read_bytes() == first


@pytest.mark.parametrize("fs", ["zfs", "rofs"])
def test_a_cache_that_cannot_be_written_to_does_not_matter(
    app: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fs: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    with heard() as events:
        image = build(app, fs=fs, kernel=kernel, output=tmp_path / "x.img")
    assert (image.files / "etc/motd").read_text() == "welcome\n"
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == 1
    assert "the next build will do everything again: cannot create the folder /proc/none" in notes[0]


# --- nothing to do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fs", ["zfs", "rofs", "ramfs"])
def test_nothing_changed_nothing_is_done(app: Path, kernel: Kernel, tmp_path: Path, fs: str) -> None:
    output = tmp_path / "x.img"
    build(app, fs=fs, kernel=kernel, output=output)
    before = output.stat()
    with heard() as events:
        image = build(app, fs=fs, kernel=kernel, output=output)
    assert steps(events) == ["read the directory"]
    assert [event.text for event in events if isinstance(event, Note)] == [
        f"nothing changed since {output} was made"
    ]
    assert output.stat() == before
    assert (image.files / "hello").exists()


def changed(app: Path, output: Path, what: str) -> None:
    match what:
        case "a file":
            (app / "etc" / "motd").write_text("other text\n")
        case "a mode":
            (app / "etc" / "motd").chmod(0o600)
        case "a new file":
            (app / "new").touch()
        case "a name":
            (app / "etc" / "motd").rename(app / "etc" / "other")
        case "a link":
            (app / "link").unlink()
            (app / "link").symlink_to("hello")
        case "the image":
            Image(output).command = "/hello again"
        case "no image":
            output.unlink()
        case "a copy of the image":
            data = output.read_bytes()
            output.unlink()
            output.write_bytes(data)


@pytest.mark.parametrize(
    "what",
    ["a file", "a mode", "a new file", "a name", "a link", "the image", "no image", "a copy of the image"],
)
def test_something_changed_it_is_built(app: Path, kernel: Kernel, tmp_path: Path, what: str) -> None:
    output = tmp_path / "x.img"
    build(app, "/hello", fs="zfs", kernel=kernel, output=output)
    changed(app, output, what)
    with heard() as events:
        build(app, "/hello", fs="zfs", kernel=kernel, output=output)
    assert steps(events)[-5:] == ["preflight", "format", "fill", "seal", "verify"]
    afresh = build(app, "/hello", fs="zfs", kernel=kernel, output=tmp_path / "afresh.img")
    assert output.read_bytes() == afresh.path.read_bytes()


@pytest.mark.parametrize(
    "options", [{"command": "/hello x"}, {"fs": "rofs"}, {"compression": None}, {"size": "256M"}]
)
def test_asked_for_otherwise_it_is_built(
    app: Path, kernel: Kernel, tmp_path: Path, options: dict[str, Any]
) -> None:
    output = tmp_path / "x.img"
    build(app, command="/hello", fs="zfs", kernel=kernel, output=output)
    with heard() as events:
        build(app, **{"command": "/hello", "fs": "zfs", **options}, kernel=kernel, output=output)
    assert "fill" in steps(events)


def test_a_file_that_changed_a_moment_ago_is_read_again(
    app: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged_module, "_TICK", 10**12)
    for _ in range(2):
        with heard() as events:
            build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img")
        assert "fill" in steps(events)


# --- what goes wrong leaves things as they were -----------------------------------------------------------


def test_a_file_that_changes_is_named(
    app: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "x.img"
    build(app, fs="zfs", kernel=kernel, output=output)
    before = output.read_bytes()
    (app / "etc" / "motd").write_text("other\n")  # or it would be taken from the old image

    def growing(*_: object, **__: object) -> None:
        (app / "etc" / "motd").write_text("longer than it was when the directory was read")

    monkeypatch.setattr("osvlab.image.build.preflight.check", growing)
    with pytest.raises(ChangedFileError, match="motd changed while it was read"):
        build(app, "/hello", fs="zfs", kernel=kernel, output=output)
    assert output.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"x.img"}


def test_another_build_of_the_same_image_at_the_same_time(
    app: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "x.img"
    shutil.copytree(app, tmp_path / "other")
    (tmp_path / "other/etc/motd").write_text("another\n" * 1000)
    other = build(tmp_path / "other", fs="zfs", kernel=kernel, output=tmp_path / "other.img").path
    plan = writing.plan_root

    def plan_and_be_overtaken(*options: Any) -> Root:
        root = plan(*options)

        def placed(written: os.stat_result) -> None:
            os.replace(other, output)
            root.placed(written)

        return replace(root, placed=placed)

    with monkeypatch.context() as patched:
        patched.setattr(writing, "plan_root", plan_and_be_overtaken)
        build(app, fs="zfs", kernel=kernel, output=output)
    with heard() as events:
        image = build(app, fs="zfs", kernel=kernel, output=output)
    assert "fill" in steps(events)  # what is there is not what was built of this
    assert (image.files / "etc/motd").read_bytes() == (app / "etc/motd").read_bytes()
    root = image.root_partition
    with open_zfs([ByteRange(image.path, root.offset, root.size)]) as files:
        assert files.check().ok


def test_no_room_is_told_and_leaves_nothing(app: Path, kernel: Kernel, tmp_path: Path) -> None:
    (app / "noise").write_bytes(os.urandom(3 << 20))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limit[1]))
    try:
        with pytest.raises(DiskFullError, match=r"no room for .*x\.img: the image needs up to 1\d\d"):
            build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not (tmp_path / "x.img").exists()


def test_what_is_not_read_back_is_no_image(
    app: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = writing.disk.encode_command_line
    monkeypatch.setattr(writing.disk, "encode_command_line", lambda line: real(line.replace("zfs", "rofs")))
    with pytest.raises(ImageError, match="the command line of the new image is '--rootfs=rofs"):
        build(app, fs="zfs", kernel=kernel, output=tmp_path / "x.img")
    assert not (tmp_path / "x.img").exists()
