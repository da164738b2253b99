"""OSv's manifests, in the words of OSv's own: everything the language has, and what it overlooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from osvlab.events import Event, Note, listening
from osvlab.filesystems.base import Kind
from osvlab.filesystems.rofs import RofsReader, plan_rofs, write_rofs
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.image.build import build_recipe
from osvlab.image.collection import RecipeError
from osvlab.image.recipe import Recipe
from osvlab.image.sources.manifest import read_manifest
from osvlab.kernels import Kernel


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def recipe(folder: Path, manifest: str, command: str | None = "/x", **options: object) -> Recipe:
    (folder / "usr.manifest").write_text(manifest)
    return Recipe.from_manifest(folder / "usr.manifest", command, **options)  # type: ignore[arg-type]


def host(recipe: Recipe, path: str) -> str:
    node = recipe.tree.find(path.encode())
    assert isinstance(node, HostFile), node
    return os.fsdecode(node.path)


def refusal(folder: Path, manifest: str, **options: object) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(folder, manifest, **options)
    return caught.value.message


def test_the_whole_language(tmp_path: Path) -> None:
    (tmp_path / "build/release").mkdir(parents=True)
    write(
        tmp_path,
        {
            "build/release/hello": "1",
            "static/etc/hosts": "2",
            "module/app": "3",
            "gcc/libgcc_s.so.1": "4",
            "tree/deep/er/file": "5",
            "tree/top": "6",
            "tree/10%: of it": "7",
        },
    )
    (tmp_path / "tree/empty").mkdir()
    made = recipe(
        tmp_path,
        """[manifest]
  # a comment
/hello: hello
tools/no-slash: ./hello
/usr/lib/libgcc_s.so.1: %(libgcc_s_dir)s/libgcc_s.so.1
/&/etc/hosts: ../../static/&
/etc/mnttab: ->/proc/mounts
/dev: ../../static
/app: ${MODULE_DIR}/module/app
/two: ${OSV_BASE}/${WHERE}/app
/usr/share/**: ../../tree/**
/hundred: ../../tree/10%%%(rest)s

[manifest]
""",
        base=tmp_path / "build/release",
        variables={
            "libgcc_s_dir": str(tmp_path / "gcc"),
            "OSV_BASE": str(tmp_path),
            "WHERE": "module",
            "rest": ": of it",
        },
    )
    texts = {
        path.decode(): Path(os.fsdecode(node.path)).read_text()
        for path, node in made.tree.walk()
        if isinstance(node, HostFile)
    }
    assert texts == {
        "/hello": "1",
        "/tools/no-slash": "1",
        "/etc/hosts": "2",
        "/app": "3",
        "/two": "3",
        "/usr/lib/libgcc_s.so.1": "4",
        "/usr/share/deep/er/file": "5",
        "/usr/share/top": "6",
        "/usr/share/10%: of it": "7",
        "/hundred": "7",
    }
    assert made.tree.find(b"/etc/mnttab") == Symlink(b"/proc/mounts")
    assert made.tree.find(b"/dev") == Directory()
    assert made.tree.find(b"/usr/share/empty") is None
    path = tmp_path / "usr.manifest"
    assert made.why("/hello") == f"/hello is {tmp_path}/build/release/hello, as line 3 of {path} says"
    assert f"/usr/share/top is {tmp_path}/build/release/../../tree/top, as line 11" in made.why(
        "/usr/share/top"
    )
    assert made.why("/etc/mnttab") == f"/etc/mnttab (a link to /proc/mounts) is in line 7 of {path}"
    assert "/etc is on the way to /etc/hosts, which is" in made.why("/etc")
    assert "static is a directory, in line 8" in made.why("/dev")
    assert made.why("/") == f"/ is what {path} lists"


def test_files_keep_their_attributes(tmp_path: Path) -> None:
    write(tmp_path, {"run.sh": ""})
    (tmp_path / "run.sh").chmod(0o755)
    os.utime(tmp_path / "run.sh", ns=(5, 7))
    node = recipe(tmp_path, "/run.sh: run.sh").tree.find(b"/run.sh")
    assert node == HostFile(os.fsencode(tmp_path / "run.sh"), 0, 0o755, 7)


def test_libgcc_is_found_without_being_told(tmp_path: Path) -> None:
    assert host(recipe(tmp_path, "/g: %(libgcc_s_dir)s/libgcc_s.so.1"), "/g").endswith(".so.1")


# --- links -------------------------------------------------------------------------------------------------


def test_links_of_the_host_are_followed_unless_they_are_meant(tmp_path: Path) -> None:
    write(tmp_path, {"root/usr/lib/libz.so.1.2": "z", "root/usr/lib/other": ""})
    lib = tmp_path / "root/usr/lib"
    (lib / "libz.so.1").symlink_to("libz.so.1.2")
    (lib / "libz.so").symlink_to("/usr/lib/libz.so.1")  # absolute, in a root that is not the host's
    (lib / "nowhere").symlink_to("/no/such/place")
    (tmp_path / "root/linked").symlink_to("usr/lib")
    made = recipe(
        tmp_path,
        "/a: root/usr/lib/libz.so.1\n/b: root/usr/lib/libz.so\n/c: !root/usr/lib/libz.so.1\n"
        "/d: root/usr/lib/nowhere\n/e: !root/usr/lib/other\n/&/usr/lib/libz.so.1: !root/&\n"
        "/all/**: root/**\n",
    )
    assert host(made, "/a") == host(made, "/b") == f"{lib}/libz.so.1.2"
    for path, target in ((b"/c", b"libz.so.1.2"), (b"/d", b"/no/such/place"), (b"/usr/lib/libz.so.1", None)):
        node = made.tree.find(path)
        assert isinstance(node, Symlink)
        assert target in (None, node.target)
    assert host(made, "/e") == f"{lib}/other"
    assert host(made, "/all/usr/lib/libz.so") == f"{lib}/libz.so.1.2"
    assert made.tree.find(b"/all/linked") is None  # as os.walk, which OSv uses: not followed, not created


def test_links_of_the_guest_in_a_circle_are_told(tmp_path: Path) -> None:
    lines = ["/a: ->b", "/b: ->/c/../a", "/c/x: ->/nowhere", "/d: ->d", "/e: ->/c", "/d: ->/proc/mounts"]
    (tmp_path / "usr.manifest").write_text("\n".join(lines))
    with pytest.raises(RecipeError) as caught:
        Recipe.from_manifest(tmp_path / "usr.manifest", "/x")
    assert caught.value.message.splitlines()[1:] == [
        "  line 1: symbolic links lead in a circle: /a",
        "  line 2: symbolic links lead in a circle: /b",
    ]


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    said = refusal(tmp_path, "/a: a\n/s: self\n/through: a/file\n/l: ->l\n/l/x: usr.manifest\n")
    assert said.splitlines()[1:] == [
        f"  line 1: symbolic links lead in a circle: {tmp_path}/a",
        f"  line 2: symbolic links lead in a circle: {tmp_path}/self",
        f"  line 3: symbolic links lead in a circle: {tmp_path}/a/file",
        f"  line 5: /l/x is {tmp_path}/usr.manifest, as line 5 of {tmp_path}/usr.manifest says, and "
        "symbolic links on the way lead in a circle: /l",
        "  line 4: symbolic links lead in a circle: /l",
    ]


def test_a_relative_link_that_leads_nowhere_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("gone")
    assert refusal(tmp_path, "/a: broken").endswith(f"line 1: no such file: {tmp_path}/gone")


# --- what OSv's build leaves behind ------------------------------------------------------------------------


def test_stripped_libraries_are_taken_instead_as_osv_does(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "lib/a.so": "long",
            "lib/a-stripped.so": "short",
            "lib/b.so": "changed since",
            "lib/b-stripped.so": "old",
        },
    )
    os.utime(tmp_path / "lib/b-stripped.so", (1, 1))
    heard: list[Event] = []
    with listening(heard.append):
        made = recipe(
            tmp_path, "/**: lib/**\n/usr/lib/one.so: lib/a.so\n/usr/lib/left.so: lib/a-stripped.so"
        )
    assert host(made, "/a.so") == host(made, "/usr/lib/one.so") == f"{tmp_path}/lib/a-stripped.so"
    assert host(made, "/b.so") == f"{tmp_path}/lib/b.so"
    for absent in (b"/a-stripped.so", b"/usr/lib/left.so"):
        assert made.tree.find(absent) is None
    notes = [event.text for event in heard if isinstance(event, Note)]
    assert len(notes) == 1
    assert "line 3 of" in notes[0]
    assert "is left out, as OSv does" in notes[0]


def test_the_command_is_the_one_that_osvs_build_left(tmp_path: Path) -> None:
    write(tmp_path, {"cmdline": "--rootfs=zfs --cwd=/x /hello one", "data": ""})
    heard: list[Event] = []
    with listening(heard.append):
        assert recipe(tmp_path, "/hello: data", None).command == "--cwd=/x /hello one"
    assert any(isinstance(event, Note) and "cmdline: /hello one" in event.text for event in heard)
    heard.clear()
    with listening(heard.append):
        assert recipe(tmp_path, "/hello: data", "/other").command == "/other"
    assert heard == []


def test_without_any_command_there_has_to_be_one_program(tmp_path: Path, app: Path) -> None:
    write(tmp_path, {"cmdline": "--rootfs=zfs \n"})
    assert recipe(tmp_path, f"/prog: {app}/hello", None).command == "/prog"
    with pytest.raises(RecipeError, match=r"no program at the top of .*usr.manifest"):
        recipe(tmp_path, "/data: usr.manifest", None)


def test_a_manifest_becomes_an_image(tmp_path: Path, app: Path, kernel: Kernel) -> None:
    made = recipe(tmp_path, f"/prog: {app}/hello\n/etc/**: {app}/etc/**\n/bin: ->/", "/prog")
    image = build_recipe(made, kernel, tmp_path / "x.img")
    assert (image.files / "bin/prog").read_bytes() == (app / "hello").read_bytes()
    assert (image.files / "etc/motd").read_text() == "welcome\n"


# --- duplicates --------------------------------------------------------------------------------------------


def test_the_last_line_wins(tmp_path: Path) -> None:
    write(tmp_path, {"one": "", "two": ""})
    made = recipe(
        tmp_path, "/a: one\n/a: two\n/b: one\n/b: ->c\n/d: ->c\n/d: one\n/e: ${MODULE_DIR}\n/e/f: one"
    )
    assert host(made, "/a") == f"{tmp_path}/two"
    assert made.tree.find(b"/b") == Symlink(b"c")
    assert host(made, "/d") == f"{tmp_path}/one"
    assert host(made, "/e/f") == f"{tmp_path}/one"
    assert "line 2" in made.why("/a")


def test_a_file_and_a_directory_at_one_path_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"one": "", "dir/x": ""})
    said = refusal(tmp_path, "/a: one\n/a: dir\n/b/c: one\n/b: one\n/a/d: one")
    lines = said.splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["  line 2", "  line 4", "  line 5"]
    assert all(text in lines[0] for text in ("as line 1 of", "in line 2 of", "as a file", "as a directory"))


def test_a_line_goes_through_links_as_a_guest_would(tmp_path: Path) -> None:
    made = recipe(tmp_path, "/lib64: ->/lib\n/lib64/ld.so: usr.manifest")
    assert host(made, "/lib/ld.so") == f"{tmp_path}/usr.manifest"


# --- what is wrong -----------------------------------------------------------------------------------------


def test_all_wrong_lines_are_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    manifest = """/fine: usr.manifest
/a: gone
/b: %(libgcc_dir)s/x
/c: ${NOWHERE}/x
/d: 100%
no colon
/e: one: two
: /f
/fifo: fifo
/g/**: gone/**
/h/**: usr.manifest
/i: usr.manifest/**
/../j: usr.manifest
/k/**: !usr/**
/nul: a\0b
"""
    said = refusal(tmp_path, manifest).splitlines()
    assert said[0] == f"{tmp_path}/usr.manifest cannot become an image:"
    expected = {
        2: f"no such file: {tmp_path}/gone",
        3: "no such variable: %(libgcc_dir)s (did you mean libgcc_s_dir?)",
        4: "no such variable: ${NOWHERE} (known are MODULE_DIR, ",
        5: "a % on its own in 100%: write %% for one",
        6: "not GUEST: HOST: no colon",
        7: "not GUEST: HOST: /e: one: two",
        8: "not GUEST: HOST: : /f",
        9: f"{tmp_path}/fifo is a pipe, which an image cannot hold",
        10: f"cannot read the directory {tmp_path}/gone/: No such file or directory",
        11: "** has to end both paths",
        12: "** has to end both paths",
        13: "not a file name: b'..'",
        14: "** has to end both paths",
        15: "it has a NUL character",
    }
    for line, (number, text) in zip(said[1:], expected.items(), strict=True):
        assert line.startswith(f"  line {number}: {text}"), line


def test_all_that_is_wrong_below_a_directory_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"tree/fine": ""})
    os.mkfifo(tmp_path / "tree/fifo")
    (tmp_path / "tree/broken").symlink_to("gone")
    assert refusal(tmp_path, "/**: tree/**").splitlines()[1:] == [
        f"  line 1: no such file: {tmp_path}/tree/gone",
        f"  line 1: {tmp_path}/tree/fifo is a pipe, which an image cannot hold",
    ]


def test_one_wrong_line_is_told_on_one_line_and_many_are_cut(tmp_path: Path) -> None:
    assert refusal(tmp_path, "/a: gone") == (
        f"{tmp_path}/usr.manifest cannot become an image: line 1: no such file: {tmp_path}/gone"
    )
    said = refusal(tmp_path, "".join(f"/{number}: gone\n" for number in range(50))).splitlines()
    assert len(said) == 22
    assert said[-1] == "  and 30 more"


def test_names_of_any_bytes(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    (tmp_path / "usr.manifest").write_bytes(b"/\xff: caf\xe9\n")
    node = Recipe.from_manifest(tmp_path / "usr.manifest", "/x").tree.find(b"/\xff")
    assert isinstance(node, HostFile)
    assert node.path.endswith(b"caf\xe9")


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such manifest: .*gone"):
        Recipe.from_manifest(tmp_path / "gone")
    with pytest.raises(RecipeError, match=r"cannot read the manifest .*: Is a directory"):
        Recipe.from_manifest(tmp_path)
    with open(tmp_path / "big", "wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(RecipeError, match=r"big is no manifest: it has more than 16 MiB"):
        Recipe.from_manifest(tmp_path / "big")


def test_the_skeleton_adds_only_what_a_manifest_lacks(tmp_path: Path) -> None:
    write(tmp_path, {"fstab": "mine"})
    made = recipe(tmp_path, "/etc/fstab: fstab")
    assert host(made, "/etc/fstab") == f"{tmp_path}/fstab"
    assert isinstance(made.tree.find(b"/etc/hosts"), Content)


# --- OSv's own generator, where its source is --------------------------------------------------------------

osv_source = pytest.mark.skipif(
    "OSVLAB_OSV_SOURCE" not in os.environ, reason="OSVLAB_OSV_SOURCE names no source of OSv"
)


def contents(rofs: RofsReader) -> dict[bytes, tuple[Kind, bytes]]:
    return {
        entry.path: (
            entry.kind,
            rofs.read(entry)
            if entry.kind is Kind.FILE
            else rofs.target(entry)
            if entry.kind is Kind.SYMLINK
            else b"",
        )
        for entry in rofs.walk()
    }


def same_as_osv(folder: Path, manifest: Path, tmp_path: Path, **variables: str) -> int:
    """Compare what a manifest becomes here and by OSv's gen-rofs-img.py; return how many entries it has."""
    script = Path(os.environ["OSVLAB_OSV_SOURCE"]) / "scripts/gen-rofs-img.py"
    command = [sys.executable, script, "-o", tmp_path / "theirs.img", "-m", manifest]
    for name, value in variables.items():
        command += ["-D", f"{name}={value}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    files = read_manifest(manifest, variables, folder)
    with open(tmp_path / "ours.img", "wb") as file:
        write_rofs(plan_rofs(files.tree), file)
    ours, theirs = (contents(RofsReader(tmp_path / name)) for name in ("ours.img", "theirs.img"))
    assert ours == theirs
    return len(ours)


@osv_source
def test_the_real_manifest_of_a_build(tmp_path: Path) -> None:
    build = Path(os.environ["OSVLAB_OSV_SOURCE"]) / "build/last"
    assert same_as_osv(build, build / "usr.manifest", tmp_path) > 10


@osv_source
def test_the_language_means_what_it_means_to_osv(tmp_path: Path) -> None:
    """Theirs strips what is below the build folder, never ends with an absolute link at a relative path, and
    loses guest paths without a slash in front: none of these are here.
    """
    build = tmp_path / "build/release"
    build.mkdir(parents=True)
    root = tmp_path / "root"
    write(
        root, {"usr/lib/z.so.1.2": "z", "etc/deep/er/hosts": "h", "etc/b": "b", "data/a": "1", "data/b": "2"}
    )
    (root / "empty").mkdir()
    (root / "usr/lib/z.so.1").symlink_to("z.so.1.2")
    (root / "usr/lib/absolute").symlink_to("/usr/lib/z.so.1")
    (root / "data/nowhere").symlink_to("/no/such/place")
    (root / "data/linked").symlink_to("../etc")
    (build / "usr.manifest").write_text(
        "[manifest]\n# comment\n\n/a: ../../root/usr/lib/z.so.1\n/b: !../../root/usr/lib/z.so.1\n"
        "/c: %(root)s/usr/lib/absolute\n/etc/**: %(root)s/etc/**\n/d: ->/a%%b\n/e/: ../../root/empty\n"
        "/all/**: %(root)s/data/**\n/x/&/etc/b: %(root)s/&\n/&/etc/deep/er/hosts: ../../root/&\n"
        "/twice: ../../root/data/a\n/twice: ../../root/data/b\n"
    )
    assert same_as_osv(build, build / "usr.manifest", tmp_path, root=str(root)) > 15
