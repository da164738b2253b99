"""What a path stands for, and that images are made of all of them."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

import osvlab
from osvlab.errors import OsvlabError
from osvlab.events import Event, Note, StepStarted, listening
from osvlab.image.build import build
from osvlab.image.collection import RecipeError
from osvlab.image.recipe import Recipe
from osvlab.image.sources.recognise import SourceKind, is_source_file, recognise
from osvlab.kernels import Kernel
from tests.image.sources.packages import archive, entry, package
from tests.image.sources.test_manifest import write


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CAPSTAN_ROOT", str(tmp_path / "store"))


def sources(tmp_path: Path, app: Path) -> dict[str, Path]:
    """Return the same program as every kind of source."""
    write(tmp_path, {"caps/Capstanfile": "base: osv-loader\ncmdline: /hello\nfiles: {/hello: '../app/&'}"})
    write(tmp_path, {"usr.manifest": "/hello: app/hello"})
    run = "runtime: native\nconfig_set: {default: {bootcmd: /hello}}"
    place = package(tmp_path, "pack", run=run)
    shutil.copy(app / "hello", place / "hello")
    packed = archive(
        tmp_path / "app.mpm",
        entry("/hello", (app / "hello").read_bytes()),
        entry("/meta/run.yaml", run.encode()),
    )
    return {
        "directory": app,
        "Capstanfile": tmp_path / "caps/Capstanfile",
        "directory of a Capstanfile": tmp_path / "caps",
        "manifest": tmp_path / "usr.manifest",
        "package": place,
        "description of a package": place / "meta/package.yaml",
        "package in an archive": packed,
    }


def test_an_image_of_every_kind_of_source(tmp_path: Path, app: Path, kernel: Kernel) -> None:
    for name, source in sources(tmp_path, app).items():
        kind = name.split()[-1] if "of" in name else name.split()[0]
        assert recognise(source) == kind
        assert is_source_file(source) == source.is_file()
        heard: list[Event] = []
        with listening(heard.append):
            image = build(source, kernel=kernel, output=tmp_path / "x.img")
        assert (image.files / "hello").read_bytes() == (app / "hello").read_bytes()
        assert image.command == ("runscript /run/default;" if kind == "package" else "/hello")
        steps = [event.step for event in heard if isinstance(event, StepStarted)]
        assert steps == [f"read the {kind}", "preflight", "format", "fill", "seal", "verify"]
        assert build(source, "/hello again", kernel=kernel, output=tmp_path / "x.img").command == (
            "/hello again"
        )


def test_a_recipe_is_built_as_it_is(tmp_path: Path, app: Path, kernel: Kernel) -> None:
    recipe = osvlab.Recipe.from_directory(app, fs="ramfs")
    image = build(recipe, kernel=kernel, output=tmp_path / "x.img")
    assert (image.filesystem, image.command) == ("ramfs", "/hello")
    assert build(recipe, "/hello x", kernel=kernel, output=tmp_path / "x.img").command == "/hello x"
    with pytest.raises(RecipeError, match="the recipe is for ramfs, not rofs"):
        build(recipe, fs="rofs", kernel=kernel, output=tmp_path / "x.img")
    with pytest.raises(RecipeError, match="the command is empty"):
        build(recipe, " ", kernel=kernel, output=tmp_path / "x.img")
    with pytest.raises(OsvlabError, match="inside the directory it is made of"):
        build(recipe, kernel=kernel, output=app / "x.img")


def test_recipes_have_a_place_in_the_cache(app: Path, kernel: Kernel) -> None:
    one = build(Recipe.from_directory(app), kernel=kernel)
    again = build(Recipe.from_directory(app), kernel=kernel)
    other = build(Recipe.from_directory(app, "/hello x"), kernel=kernel)
    (app / "more").write_text("")
    more = build(Recipe.from_directory(app), kernel=kernel)
    assert one.path == again.path
    assert len({one.path, other.path, more.path}) == 3


def test_the_kernel_that_a_capstanfile_names(tmp_path: Path, app: Path, kernel: Kernel) -> None:
    write(tmp_path, {"Capstanfile": f"base: {kernel.path}\ncmdline: /hello\nfiles: {{/hello: app/hello}}"})
    image = build(tmp_path / "Capstanfile", output=tmp_path / "x.img")
    assert image.kernel is not None
    assert image.kernel.path == kernel.path


def test_the_image_may_lie_in_the_directory_of_its_package(
    tmp_path: Path, app: Path, kernel: Kernel
) -> None:
    place = package(tmp_path, "pack", run="runtime: native\nconfig_set: {x: {bootcmd: /hello}}")
    shutil.copy(app / "hello", place / "hello")
    first = build(place, kernel=kernel, output=place / "pack.img").path.read_bytes()
    assert build(place, kernel=kernel, output=place / "pack.img").path.read_bytes() == first
    write(tmp_path, {"caps/Capstanfile": "cmdline: /hello\n", "caps/ROOTFS/x": ""})
    with pytest.raises(OsvlabError, match="inside the directory it is made of"):
        build(tmp_path / "caps", kernel=kernel, output=tmp_path / "caps/ROOTFS/x.img")


@pytest.mark.parametrize("fs", ["rofs", "ramfs"])
def test_a_size_means_nothing_where_nobody_can_write(
    tmp_path: Path, app: Path, kernel: Kernel, fs: str
) -> None:
    heard: list[Event] = []
    with listening(heard.append):
        build(app, kernel=kernel, fs=fs, size="1G", output=tmp_path / "x.img")
    notes = [event.text for event in heard if isinstance(event, Note)]
    assert notes == [f"1 GiB were asked for: {fs} has the size of its content"]
    with pytest.raises(OsvlabError, match="not a size"):
        build(app, kernel=kernel, size="much", output=tmp_path / "x.img")


# --- what is nothing to build from -------------------------------------------------------------------------


def test_files_are_recognised_by_what_is_in_them(tmp_path: Path) -> None:
    write(tmp_path, {"files.txt": "# all of them\n\n  [manifest]\n/a: b\n"})
    packed = archive(tmp_path / "download")
    plain = archive(tmp_path / "plain.tar", packed=False)
    assert recognise(tmp_path / "files.txt") is SourceKind.MANIFEST
    assert recognise(packed) is recognise(plain) is SourceKind.PACKAGE
    assert is_source_file(packed)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gone", "directory"),
        ("gone/Capstanfile", "Capstanfile"),
        ("gone.mpm", "package"),
        ("gone.mpm.x86_64", "package"),
        ("usr.manifest", "manifest"),
        ("usr.manifest.skel", "manifest"),
        ("", "directory"),
    ],
)
def test_what_is_not_there_is_what_its_name_says(tmp_path: Path, name: str, kind: str) -> None:
    assert recognise(tmp_path / name if name else "") == kind
    with pytest.raises(FileNotFoundError, match=r"no such (directory|Capstanfile|package|manifest)"):
        Recipe.from_source(tmp_path / name if name else "")


def test_a_directory_that_cannot_be_looked_into_is_one(tmp_path: Path) -> None:
    deep = str(tmp_path)
    while len(deep) < 4089:  # what is in it has no path that the host would take
        deep += "/" + "d" * min(200, 4089 - len(deep))
    os.makedirs(deep)
    assert recognise(deep) is SourceKind.DIRECTORY


def test_files_of_other_kinds_are_told_what_they_are(tmp_path: Path, app: Path, kernel: Kernel) -> None:
    write(tmp_path, {"text": "hello\n", "empty": ""})
    image = build(app, kernel=kernel, output=tmp_path / "disk")
    os.mkfifo(tmp_path / "fifo")
    for path, what in (
        (tmp_path / "text", "no image can be made of"),
        (tmp_path / "empty", "no image can be made of"),
        (app / "hello", "is a program, not a directory with one"),
        (image.path, "is a disk image already"),
        (tmp_path / "fifo", "it is a pipe"),
    ):
        with pytest.raises(RecipeError, match=what):
            recognise(path)
        assert not is_source_file(path)


def test_options_that_are_not_for_the_kind_of_source(tmp_path: Path, app: Path) -> None:
    with pytest.raises(RecipeError, match=f"{app} is a directory, which has no use for boot"):
        Recipe.from_source(app, boot=["x"])
    place = archive(tmp_path / "app.mpm")
    with pytest.raises(RecipeError, match=r"app.mpm is a package, which has no use for variables") as caught:
        Recipe.from_source(place, "/x", variables={"a": "b"}, boot=[])
    assert "It takes packages=, require=, boot=, leave_out=." in str(caught.value.hint)
    (tmp_path / "bad.mpm").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(RecipeError, match=r"bad\.mpm is a damaged archive"):
        Recipe.from_source(tmp_path / "bad.mpm")


# --- what must not be lost ---------------------------------------------------------------------------------


def test_an_image_takes_the_place_of_nothing_that_it_is_made_of(
    tmp_path: Path, app: Path, kernel: Kernel
) -> None:
    write(app, {"usr.manifest": "/hello: hello\n", "Capstanfile": "cmdline: /hello\nfiles:\n  /a: hello\n"})
    mine = shutil.copy(kernel.path, tmp_path / "mine.elf")
    shutil.copy(kernel.path.with_name("boot.bin"), tmp_path)
    before = {path: path.read_bytes() for path in (app / "usr.manifest", app / "hello", mine)}
    for source, output, what in (
        (app / "usr.manifest", app / "usr.manifest", "is a manifest"),
        (app, app / "Capstanfile", "is a Capstanfile"),
        (app / "usr.manifest", app / "Capstanfile", "is a Capstanfile"),
        (app / "usr.manifest", app / "hello", "goes into it, as /hello"),
        (app / "usr.manifest", mine, "is the kernel"),
    ):
        with pytest.raises(RecipeError) as caught:
            build(source, "/hello", kernel=mine, output=output)
        assert caught.value.message == f"the image would take the place of {output}, which {what}"
    assert before == {path: path.read_bytes() for path in before}
    for _ in range(2):
        build(app / "usr.manifest", "/hello", kernel=mine, output=tmp_path / "x.img")
        (app / "hello").touch()
