from __future__ import annotations

import os
import resource
import struct
import subprocess
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.events import Event, StepFinished, listening
from osvlab.filesystems.rofs import RofsReader
from osvlab.filesystems.tree import Content
from osvlab.image.build import DiskFullError, build, build_recipe
from osvlab.image.image import Image
from osvlab.image.preflight import PreflightError
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel


def test_every_part_is_where_it_belongs(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    image = build(app, command="/hello one two", kernel=kernel, output=tmp_path / "x.img")
    data = image.path.read_bytes()
    body = kernel.path.read_bytes()
    assert data[:16] == (kernel.path.parent / "boot.bin").read_bytes()[:16]
    assert struct.unpack_from("<H", data, 0x10)[0] == -(-len(body) // 32768)
    assert data[0x200:0x8000].rstrip(b"\0") == b"--rootfs=rofs /hello one two"
    assert data[0x10000 : 0x10000 + len(body)] == body
    start, sectors = struct.unpack_from("<II", data, 0x1CE + 8)
    assert start * 512 == 2 << 20
    assert len(data) == (start + sectors) * 512
    RofsReader(data, start * 512).validate()
    assert image.boots_from_disk


def test_the_files_come_back(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    (app / os.fsdecode(b"caf\xe9")).write_bytes(b"latin-1")
    for fs in ("rofs", "ramfs"):
        image = build(app, kernel=kernel, fs=fs, output=tmp_path / f"{fs}.img")
        assert image.filesystem == fs
        assert (image.files / "hello").read_bytes() == (app / "hello").read_bytes()
        assert (image.files / "link").read_text() == "welcome\n"
        assert (image.files / b"caf\xe9").read_bytes() == b"latin-1"
        assert (image.files / "etc/hosts").read_text().startswith("127.0.0.1 localhost")


def test_the_same_directory_gives_the_same_bytes(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    one = build(app, kernel=kernel, output=tmp_path / "1.img").path.read_bytes()
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", "--no-preserve=all", app, copy], check=True)
    two = build(copy, command="/hello", kernel=kernel, output=tmp_path / "2.img").path.read_bytes()
    assert one == two


@pytest.mark.parametrize("fs", ["rofs", "ramfs"])
def test_the_image_is_sparse(app: Path, tmp_path: Path, kernel: Kernel, fs: str) -> None:
    with open(app / "big", "wb") as file:
        file.truncate(50 << 20)
    image = build(app, kernel=kernel, output=tmp_path / "x.img", fs=fs)
    assert image.size > 50 << 20
    assert image.allocated < 1 << 20
    assert (image.files / "big").size == 50 << 20


def test_steps_are_published(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    heard: list[Event] = []
    with listening(heard.append):
        image = build(app, kernel=kernel, output=tmp_path / "x.img")
    finished = {event.step: event for event in heard if isinstance(event, StepFinished)}
    assert list(finished) == ["read the directory", "preflight", "format", "fill", "seal", "verify"]
    assert (app / "hello").stat().st_size < finished["fill"].bytes < image.size
    assert finished["format"].bytes > 0


def test_without_an_output_the_image_is_in_the_cache(
    app: Path, tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one = build(app, kernel=kernel)
    two = build(app, kernel=kernel, fs="ramfs")
    again = build(app, kernel=kernel)
    assert one.path.parent == tmp_path / "cache/osvlab/images"
    assert one.path == again.path != two.path
    assert one.filesystem == "rofs"


def test_a_kernel_given_by_its_path(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    image = build(app, kernel=kernel.path, output=tmp_path / "x.img")
    assert image.kernel is not None
    assert image.kernel.path == kernel.path


def osv_loader(tmp_path: Path) -> Kernel:
    """Something that `Kernel.open` takes for OSv's loader.img."""
    head = bytearray(512)
    head[0x1B8:0x1BB] = b"VSO"
    head[510:] = b"\x55\xaa"
    path = tmp_path / "loader.img"
    path.write_bytes(bytes(head).ljust(0x10000, b"\xaa") + b"\x7fELF\x01" + b"\xbb" * 3_000_000)
    return Kernel.open(path)


def test_a_self_contained_disk_of_real_osv(app: Path, tmp_path: Path) -> None:
    kernel = osv_loader(tmp_path)
    image = build(app, kernel=kernel, output=tmp_path / "x.img", check=False)
    data = image.path.read_bytes()
    assert data[0x10000 : 0x10000 + 3_000_005] == kernel.path.read_bytes()[0x10000:]
    assert struct.unpack_from("<H", data, 0x10) == (92,)
    assert data[0x1B8:0x1BB] == b"VSO"
    assert image.root_partition.offset == 4 << 20
    assert image.command == "/hello"


# --- what goes wrong ---------------------------------------------------------------------------------


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(name for name in os.listdir(tmp_path) if name != "app")


def test_a_program_that_would_not_run_is_not_built(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    with pytest.raises(PreflightError):
        build(app, command="/nothing", kernel=kernel, output=tmp_path / "x.img")
    assert left_behind(tmp_path) == []
    assert build(app, command="/nothing", kernel=kernel, output=tmp_path / "x.img", check=False).size


def test_an_image_inside_its_own_directory(app: Path, kernel: Kernel) -> None:
    with pytest.raises(OsvlabError, match=r"inside the directory it is made of"):
        build(app, kernel=kernel, output=app / "etc/x.img")


def test_a_name_that_ends_with_a_slash(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    with pytest.raises(OsvlabError, match=r"not a name for an image: .*/new/"):
        build(app, kernel=kernel, output=f"{tmp_path}/new/")
    assert left_behind(tmp_path) == []


def test_a_folder_that_is_not_there(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*absent"):
        build(app, kernel=kernel, output=tmp_path / "absent/x.img")


def test_a_file_that_grows_while_it_is_read(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    (tmp_path / "x.img").write_text("the image before")
    recipe = Recipe.from_directory(app)
    with open(app / "etc/motd", "a") as file:
        file.write("more")
    with pytest.raises(
        OsvlabError, match=r"etc/motd changed while it was read: it was 8 bytes long and is 12"
    ):
        build_recipe(recipe, kernel, tmp_path / "x.img")
    assert left_behind(tmp_path) == ["x.img"]
    assert (tmp_path / "x.img").read_text() == "the image before"


def test_a_name_of_300_bytes(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    recipe = Recipe.from_directory(app)
    recipe.tree.children[b"n" * 300] = Content(b"")
    with pytest.raises(OsvlabError, match=r"name too long .300 bytes, at most 255.: /nnn"):
        build_recipe(recipe, kernel, tmp_path / "x.img")
    assert left_behind(tmp_path) == []


def test_a_command_that_does_not_fit(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    with pytest.raises(OsvlabError, match=r"command line is \d+ bytes long, there is room for 32255"):
        build(app, command="/hello " + "x" * 40_000, kernel=kernel, output=tmp_path / "x.img")
    assert left_behind(tmp_path) == []


def test_a_limit_on_the_size_of_files(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    """Nothing is left of an image that did not fit; RLIMIT_FSIZE is a full disk that needs no root."""
    (app / "big").write_bytes(os.urandom(3 << 20))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, hard))
    try:
        with pytest.raises(DiskFullError, match=r"no room for .*x.img: the image needs up to 5(\.\d)? MiB"):
            build(app, kernel=kernel, output=tmp_path / "x.img")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_behind(tmp_path) == []


def test_a_full_disk(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    """The same on a real disk of 2 MiB, where this user may mount one."""
    (app / "big").write_bytes(os.urandom(3 << 20))
    full = tmp_path / "full"
    full.mkdir()
    script = f"""
import os, sys
from pathlib import Path
from osvlab.image.build import DiskFullError, build
try:
    build({str(app)!r}, kernel={str(kernel.path)!r}, output={str(full / "x.img")!r})
except DiskFullError as error:
    print(error.message)
    sys.exit(42 if os.listdir({str(full)!r}) == [] else 1)
"""
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=2m osvlab "$0" && exec "$@"',
    ]
    probe = subprocess.run([*command, str(full), "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("this user cannot mount a small disk")
    import sys

    done = subprocess.run(
        [*command, str(full), sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 42, done.stderr
    assert "No space left on device" in done.stdout


def test_an_image_is_replaced_while_somebody_reads_it(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    before = build(app, kernel=kernel, output=tmp_path / "x.img")
    (app / "etc/motd").write_text("changed")
    after = build(app, kernel=kernel, output=tmp_path / "x.img")
    assert (before.files / "etc/motd").read_text() == "welcome\n"
    assert (after.files / "etc/motd").read_text() == "changed"
    assert isinstance(after, Image)


def test_an_output_that_leads_nowhere(app: Path, tmp_path: Path, kernel: Kernel) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OsvlabError, match=r"cannot write .*loop"):
        build(app, kernel=kernel, output=tmp_path / "loop")


@pytest.mark.parametrize("name", ["", "loop"])
def test_a_directory_without_a_name_or_an_end(
    tmp_path: Path, kernel: Kernel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OsvlabError, match=r"no such directory: ''|cannot read the directory loop"):
        build(name, kernel=kernel)
