from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.disk import Partition, make_boot_sector
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.image.show import as_svg
from osvlab.kernels import Kernel
from tests.filesystems.packing import elf, loader


@pytest.fixture
def image(app: Path, tmp_path: Path, kernel: Kernel) -> Image:
    return build(app, kernel=kernel, output=tmp_path / "x.img")


def test_the_layout_has_no_gaps(image: Image) -> None:
    names = [region.name for region in image.layout]
    assert names == ["boot sector", "command line", "unused", "kernel", "unused", "rofs"]
    position = 0
    for region in image.layout:
        assert region.offset == position
        position += region.size
    assert position == image.size == os.path.getsize(image.path)


def test_the_command_can_be_changed(image: Image) -> None:
    image.command_line = "--verbose " + image.command_line
    image.command = '/hello "two words"; /hello'
    again = Image.open(image.path)
    assert again.command == '/hello "two words"; /hello'
    assert again.command_line == '--verbose --rootfs=rofs /hello "two words"; /hello'
    assert (again.files / "etc/motd").read_text() == "welcome\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [('/x "', "without its end"), ("--verbose /x", "cannot start with a dash"), ("/" * 33_000, "room for")],
)
def test_a_command_that_cannot_be_is_refused(image: Image, command: str, message: str) -> None:
    before = image.path.read_bytes()
    with pytest.raises(OsvlabError, match=message):
        image.command = command
    assert image.path.read_bytes() == before


def test_files_as_paths(image: Image) -> None:
    etc = image.files / "etc"
    assert etc.is_dir()
    assert not etc.is_file()
    assert sorted(path.name for path in etc.iterdir()) == ["fstab", "hosts", "mnttab", "motd", "resolv.conf"]
    assert (image.files / "link").is_symlink()
    assert (image.files / "link").readlink() == "/etc/motd"
    assert (image.files / "link").is_file()
    assert (etc / "motd").parent == etc
    assert (etc / "motd").size == 8
    assert not (etc / "absent").exists()
    assert not (etc / "motd/below").exists()
    assert {str(path) for path, _ in etc.walk()} == {
        "/etc",
        "/etc/fstab",
        "/etc/hosts",
        "/etc/mnttab",
        "/etc/resolv.conf",
        "/etc/motd",
    }
    with pytest.raises(FileNotFoundError, match=r"no such file in the image: /etc/absent"):
        (etc / "absent").read_bytes()
    with pytest.raises(OSError, match=r"/etc is a directory, not a file"):
        etc.read_bytes()


def test_a_long_tree_is_cut(image: Image) -> None:
    text = image.files.tree(limit=3)
    assert text.splitlines()[:2] == ["/", "/dev/"]
    assert text.splitlines()[-1].startswith("... and ")
    assert "/link -> /etc/motd" in image.files.tree()


def test_it_shows_itself(image: Image) -> None:
    bundle = image._repr_mimebundle_()
    assert "command  /hello" in bundle["text/plain"]
    assert "rofs" in bundle["text/plain"]
    html = bundle["text/html"]
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    root = ElementTree.fromstring(html)  # well-formed
    (svg,) = [element for element in root if element.tag.endswith("svg")]
    assert svg.get("role") == "img"
    assert "kernel at 0x10000" in "".join(svg.itertext())
    assert root.find("table/caption") is not None
    assert all(th.get("scope") for th in root.iter("th"))


def test_what_it_shows_is_escaped(image: Image) -> None:
    image.command = "/hello <b>&x"
    html = image._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt;&amp;x" in html
    ElementTree.fromstring(html)


def test_a_damaged_image_shows_at_least_its_name(image: Image) -> None:
    with open(image.path, "r+b") as file:
        file.seek(0x200)
        file.write(b"x" * 0x7E00)
    with pytest.warns(RuntimeWarning, match=r"cannot show"):
        assert image._repr_mimebundle_() == {"text/plain": repr(image)}


def test_no_regions_no_boxes() -> None:
    assert "<rect" not in as_svg(())


def test_damage_in_the_filesystem_does_not_hide_the_rest(image: Image) -> None:
    with open(image.path, "r+b") as file:
        file.seek(image.root_partition.offset + 24)
        file.write(b"\xff" * 8)
    damaged = Image.open(image.path)
    assert damaged.command == "/hello"
    assert damaged.layout
    with pytest.raises(DamagedError, match=r"damaged ROFS: superblock at byte 0x200000"):
        _ = damaged.files


@pytest.mark.parametrize("length", [0, 100, 511, 512, 0x8000, 0x10000, 2 << 20])
def test_a_truncated_image(image: Image, length: int) -> None:
    os.truncate(image.path, length)
    with pytest.raises(DamagedError, match=r"cut off|truncated"):
        Image.open(image.path)


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n" * 10_000)
    with pytest.raises(DamagedError, match=r"no bootable disk"):
        Image.open(tmp_path / "text")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent"):
        Image.open(tmp_path / "absent")
    with pytest.raises(OsvlabError, match=r"is a directory, not a file"):
        Image.open(tmp_path)


def test_the_command_of_an_image_that_was_replaced(image: Image, app: Path, kernel: Kernel) -> None:
    build(app, kernel=kernel, output=image.path, command="/hello new")
    assert image.command == "/hello"
    with pytest.raises(OsvlabError, match=r"was replaced or removed"):
        image.command = "/hello other"
    image.path.unlink()
    with pytest.raises(OsvlabError, match=r"was replaced or removed"):
        image.command = "/hello other"


def test_names_that_are_not_utf8_can_be_printed(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    (app / "hello").rename(app / os.fsdecode(b"caf\xe9"))
    image = build(app, kernel=kernel, output=tmp_path / "x.img")
    assert image.command.encode("utf-8", "surrogateescape") == b"/caf\xe9"
    for text in (str(image), image.files.tree(), *image._repr_mimebundle_().values()):
        assert "/caf\\xe9" in text or "caf" not in text
        text.encode("utf-8")


def test_a_disk_of_osv_without_a_kernel(tmp_path: Path) -> None:
    """Its partition starts at sector 1, where other disks have their command line."""
    stream = io.BytesIO()
    size = write_rofs(Directory({b"hello": Content(b"x" * 40_000)}), stream)
    sector = make_boot_sector(None, 0, [Partition(2, 0x83, 512, size)])
    (tmp_path / "disk.img").write_bytes(sector + stream.getvalue())
    image = Image.open(tmp_path / "disk.img")
    assert [region.name for region in image.layout] == ["boot sector", "rofs"]
    assert (image.files / "hello").size == 40_000
    assert not image.boots_from_disk
    assert image.command == ""
    before = image.path.read_bytes()
    with pytest.raises(OsvlabError, match=r"no room for a command line"):
        image.command = "/hello"
    assert image.path.read_bytes() == before


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vdi"])
def test_an_image_in_a_container_is_read_and_written_as_a_plain_disk(
    image: Image, format: str, tmp_path: Path
) -> None:
    packed = tmp_path / f"x.{format}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", format, image.path, packed], check=True)
    before = packed.read_bytes()
    opened = Image.open(packed)
    assert (opened.container, opened.command, opened.filesystem) == (format, "/hello", "rofs")
    # vdi counts in mebibytes, vmdk in 64 KiB
    assert image.size <= opened.size < image.size + (1 << 20)
    assert opened.allocated == packed.stat().st_blocks * 512
    assert (opened.files / "etc/motd").read_text() == "welcome\n"
    assert opened._repr_mimebundle_()["text/html"]
    with pytest.raises(OsvlabError, match=f"is a {format} file, which is only read") as caught:
        opened.command = "/hello again"
    assert "write_raw('x.img')" in str(caught.value.hint)
    plain = opened.write_raw(tmp_path / "plain.img")
    plain.command = "/hello again"
    assert Image.open(tmp_path / "plain.img").command == "/hello again"
    assert packed.read_bytes() == before
    with pytest.raises(OsvlabError, match=r"no qcow2, vmdk or vdi"):
        plain.write_raw(tmp_path / "again.img")
    assert not (tmp_path / "again.img").exists()


def test_an_image_that_leads_to_other_files_is_refused(tmp_path: Path) -> None:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw"]
    subprocess.run([*argv, tmp_path / "x.qcow2", "1M"], check=True)
    with pytest.raises(OsvlabError, match=r"x\.qcow2: this qcow2 file leads to a backing file"):
        Image.open(tmp_path / "x.qcow2")


def test_a_filesystem_alone_is_no_disk_but_said_to_be_one(tmp_path: Path) -> None:
    with (tmp_path / "x.rofs").open("wb") as file:
        write_rofs(Directory({b"x": Content(b"y")}), file)
    with pytest.raises(OsvlabError, match=r"x.rofs is a ROFS, not a disk that boots") as caught:
        Image.open(tmp_path / "x.rofs")
    assert "osvlab ls" in str(caught.value.hint)


def test_a_disk_whose_files_are_in_its_kernel(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_bootfs(Directory({b"x": Content(b"y")}), stream)
    (tmp_path / "loader.img").write_bytes(loader(elf(b"code" * 99 + stream.getvalue()), "/x"))
    image = Image.open(tmp_path / "loader.img")
    assert image.filesystem == "unknown"
    assert (image.files / "x").read_bytes() == b"y"
    (tmp_path / "empty.img").write_bytes(loader(elf(b"code" * 99), "/x"))
    with pytest.raises(OsvlabError, match=r"no files are linked into .*empty.img"):
        Image.open(tmp_path / "empty.img").files  # noqa: B018


def test_the_root_is_the_only_partition_where_the_second_slot_is_empty(tmp_path: Path) -> None:
    stream = io.BytesIO()
    size = write_rofs(Directory({b"x": Content(b"y")}), stream)
    sector = make_boot_sector(None, 0, [Partition(3, 0x83, 1 << 20, size)])
    (tmp_path / "x.img").write_bytes(sector.ljust(1 << 20, b"\0") + stream.getvalue())
    image = Image.open(tmp_path / "x.img")
    assert image.filesystem == "rofs"
    assert image.layout[-1].name == "rofs"
    assert (image.files / "x").read_bytes() == b"y"


def test_a_path_in_an_image_is_none_of_the_host(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    image = build(app, kernel=kernel, output=tmp_path / "x.img")
    hosts = image.files / "etc/hosts"
    with pytest.raises(TypeError):
        open(hosts)  # type: ignore[call-overload]  # noqa: SIM115
    assert hosts.path == "/etc/hosts"


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OsvlabError, match="it is a pipe"):
        Image.open(tmp_path / "pipe")
