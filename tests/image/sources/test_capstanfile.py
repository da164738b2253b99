"""Capstanfiles: all six keys, and where the lab does more than Capstan."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from osvlab.events import Event, Note, StepFinished, listening
from osvlab.filesystems.tree import Content, HostFile, Symlink
from osvlab.image.build import build_recipe
from osvlab.image.collection import RecipeError
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel
from tests.image.sources.test_manifest import host, write


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPSTAN_ROOT", str(tmp_path / "store"))


def made(folder: Path, text: str, command: str | None = None, **options: object) -> Recipe:
    (folder / "Capstanfile").write_text(text)
    return Recipe.from_capstanfile(folder / "Capstanfile", command, **options)  # type: ignore[arg-type]


def refusal(folder: Path, text: str, command: str | None = None, **options: object) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        made(folder, text, command, **options)
    return caught.value


def notes(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Note)]


def test_all_that_capstan_has(tmp_path: Path) -> None:
    write(tmp_path, {"src/app.jar": "jar", "root/etc/motd": "hi", "root/usr/lib/x.so": "", "plain": ""})
    (tmp_path / "root/link").symlink_to("/etc/motd")
    heard: list[Event] = []
    with listening(heard.append):
        recipe = made(
            tmp_path,
            """# a comment
base: cloudius/osv-base

cmdline: >
  --cwd=/app
  /java.so
  -jar /app/app.jar "two words"

build: cp src/app.jar built.jar

files:
  /app/app.jar: src/&
  /app/built.jar: built.jar
  tools/plain: plain
rootfs: root
""",
        )
    assert recipe.command == '--cwd=/app /java.so -jar /app/app.jar "two words"'
    assert host(recipe, "/app/app.jar") == f"{tmp_path}/src/app.jar"
    assert host(recipe, "/app/built.jar") == f"{tmp_path}/built.jar"  # it was not there before build ran
    assert host(recipe, "/tools/plain") == f"{tmp_path}/plain"
    assert host(recipe, "/etc/motd") == f"{tmp_path}/root/etc/motd"
    assert recipe.tree.find(b"/link") == Symlink(b"/etc/motd", (tmp_path / "root/link").lstat().st_mtime_ns)
    assert notes(heard) == [
        "base cloudius/osv-base is a plain OSv: the lab kernel takes its place, unless another is given"
    ]
    assert [event.step for event in heard if isinstance(event, StepFinished)] == [
        "run cp src/app.jar built.jar"
    ]
    file = tmp_path / "Capstanfile"
    assert recipe.why("/app/app.jar") == f"/app/app.jar is {tmp_path}/src/app.jar, as line 12 of {file} says"
    assert (
        recipe.why("/etc/motd") == f"/etc/motd comes from {tmp_path}/root, the rootfs of line 15 of {file}"
    )


def test_rootfs_is_called_rootfs_when_it_has_no_other_name(tmp_path: Path) -> None:
    write(tmp_path, {"ROOTFS/a": "", "other": ""})
    recipe = made(tmp_path, "base: osv-loader\ncmdline: /a\nfiles: {/a: other}")
    assert host(recipe, "/a") == f"{tmp_path}/other"  # what is listed one by one counts more
    recipe = made(tmp_path, "base: osv-loader\ncmdline: /a\nfiles:\n")
    assert "ROOTFS, the rootfs of" in recipe.why("/a")


def test_build_runs_before_anybody_looks_for_what_it_makes(tmp_path: Path) -> None:
    """Capstan looks for an explicit rootfs before it runs build (its issue 163)."""
    write(tmp_path, {"make.sh": "#!/bin/sh\nmkdir -p out/bin && echo made > out/bin/prog\n"})
    (tmp_path / "make.sh").chmod(0o755)
    text = "cmdline: /bin/prog\nbuild: ./make.sh\nrootfs: out\nfiles: {/copy: out/bin/prog}"
    recipe = made(tmp_path, text)
    assert host(recipe, "/bin/prog") == host(recipe, "/copy") == f"{tmp_path}/out/bin/prog"


def test_directories_are_copied_with_all_that_is_in_them(tmp_path: Path) -> None:
    """Capstan copies the entry of the directory alone (its issues 93 and 157)."""
    write(tmp_path, {"lib/deep/er/a": "", "lib/b": ""})
    (tmp_path / "empty").mkdir()
    recipe = made(tmp_path, "cmdline: /x\nfiles:\n  /usr/lib: '&'\n  /var/: empty\n")
    assert host(recipe, "/usr/lib/deep/er/a") == f"{tmp_path}/lib/deep/er/a"
    assert recipe.why("/usr/lib/b").startswith(f"/usr/lib/b is {tmp_path}/lib/b, as line 3 of")
    assert recipe.tree.find(b"/var") is not None


def test_a_directory_stands_for_the_capstanfile_in_it(tmp_path: Path) -> None:
    (tmp_path / "Capstanfile").write_text("cmdline: /x")
    assert Recipe.from_capstanfile(tmp_path).command == "/x"
    with pytest.raises(FileNotFoundError, match=r"no such Capstanfile: .*gone"):
        Recipe.from_capstanfile(tmp_path / "gone")


def test_another_command(tmp_path: Path) -> None:
    assert made(tmp_path, "cmdline: /x", "/y").command == "/y"
    assert made(tmp_path, "base: osv-loader", "/y").command == "/y"


# --- build -------------------------------------------------------------------------------------------------


def test_there_is_no_shell(tmp_path: Path) -> None:
    made(tmp_path, """cmdline: /x\nbuild: touch "a b" $HOME ; touch c && d\n""")
    names = set(os.listdir(tmp_path))
    assert {"a b", "$HOME", ";", "c", "&&", "d", "touch"} <= names


def test_what_a_failed_build_printed_is_shown(tmp_path: Path) -> None:
    write(tmp_path, {"fail.sh": "#!/bin/sh\nseq 100\necho to stderr >&2\nexit 3\n"})
    (tmp_path / "fail.sh").chmod(0o755)
    error = refusal(tmp_path, "cmdline: /x\nbuild: ./fail.sh --now\nrootfs: gone")
    assert error.message.startswith("the build command ./fail.sh --now ended with status 3:\n62\n63\n")
    assert error.message.endswith("100\nto stderr")
    assert error.hint == f"Try it: cd {tmp_path} && ./fail.sh --now"


def test_a_build_that_cannot_run(tmp_path: Path) -> None:
    assert (
        "cannot run the build command ./gone: No such file"
        in refusal(tmp_path, "cmdline: /x\nbuild: ./gone").message
    )
    assert refusal(tmp_path, "cmdline: /x\nbuild: false").message.endswith(
        "ended with status 1:\n(it printed nothing)"
    )


def test_nothing_is_run_for_a_capstanfile_that_cannot_be_right(tmp_path: Path) -> None:
    refusal(tmp_path, "cmdline: /x\nbuild: touch ran\nbase: no/such")
    refusal(tmp_path, "build: touch ran\n")
    assert not (tmp_path / "ran").exists()


# --- base --------------------------------------------------------------------------------------------------


def test_a_kernel_as_base(tmp_path: Path, kernel: Kernel) -> None:
    shutil.copy(kernel.path, tmp_path / "kernel.elf")
    by_path = made(tmp_path, "cmdline: /x\nbase: kernel.elf")
    assert by_path.kernel is not None
    assert by_path.kernel.path == tmp_path / "kernel.elf"
    stored = tmp_path / "store/repository/my/loader"
    stored.mkdir(parents=True)
    shutil.copy(kernel.path, stored / "loader.qemu")
    by_name = made(tmp_path, "cmdline: /x\nbase: my/loader")
    assert by_name.kernel is not None
    assert by_name.kernel.path == stored / "loader.qemu"
    instead = made(tmp_path, "cmdline: /x\nbase: no/such", base=kernel.path)
    assert instead.kernel is not None
    assert instead.kernel.path == kernel.path


def test_an_image_as_base_brings_its_files(tmp_path: Path, app: Path, kernel: Kernel) -> None:
    (app / "big").write_bytes(b"b" * 300_000)
    build_recipe(Recipe.from_directory(app), kernel, tmp_path / "base.img")
    write(tmp_path, {"motd": "mine"})
    heard: list[Event] = []
    with listening(heard.append):
        recipe = made(tmp_path, "cmdline: /hello\nbase: base.img\nfiles: {/etc/motd: motd}")
    assert recipe.kernel is None
    assert "its kernel does not come along" in notes(heard)[0]
    assert recipe.why("/hello") == f"/hello comes from the base image {tmp_path}/base.img"
    assert host(recipe, "/etc/motd") == f"{tmp_path}/motd"
    image = build_recipe(recipe, kernel, tmp_path / "x.img")
    assert (image.files / "hello").read_bytes() == (app / "hello").read_bytes()
    assert (image.files / "big").read_bytes() == b"b" * 300_000
    assert (image.files / "link").read_text() == "mine"


@pytest.mark.parametrize("name", ["cloudius/osv-openjdk", "../../etc/passwd", "/no/such"])
def test_a_base_that_is_not_here(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path, f"cmdline: /x\nbase: {name}")
    assert error.message.startswith(f"no such base: {name}; not a file in {tmp_path}, not an image in")
    assert str(tmp_path / "store/repository") in error.message


def test_a_base_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"text": "hello"})
    (tmp_path / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(1 << 16))
    assert "text is no kernel" in refusal(tmp_path, "cmdline: /x\nbase: text").message
    error = refusal(tmp_path, "cmdline: /x\nbase: disk.qcow2")
    assert "it is in the format qcow2" in error.message
    assert "qemu-img convert -O raw" in str(error.hint)
    stored = tmp_path / "store/repository/cloudius/osv-base"
    stored.mkdir(parents=True)
    shutil.copy(tmp_path / "disk.qcow2", stored / "osv-base.qemu")
    heard: list[Event] = []
    with listening(heard.append):
        assert made(tmp_path, "cmdline: /x\nbase: cloudius/osv-base").kernel is None
    assert "it is in the format qcow2; it is a plain OSv" in notes(heard)[0]


# --- what is wrong -----------------------------------------------------------------------------------------


def test_all_files_that_are_not_there_are_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    error = refusal(
        tmp_path,
        "cmdline: /x\nrootfs: gone\nfiles:\n  /a: no/a\n  /b: Capstanfile\n  /b/c: Capstanfile\n  /d: fifo",
    )
    lines = error.message.splitlines()
    assert lines[0] == f"{tmp_path}/Capstanfile cannot become an image:"
    assert lines[1] == f"  line 2: rootfs: no such directory: {tmp_path}/gone"
    assert lines[2] == f"  line 4: no such file: {tmp_path}/no/a (No such file or directory)"
    assert lines[3].startswith("  line 6: /b/c is ")
    assert lines[4] == f"  line 7: {tmp_path}/fifo is a pipe, which an image cannot hold"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("cmdline: /x\nfile: {}", 2, "unknown key: file"),
        ("cmdline: [a]", 1, "cmdline must be a text, and is a list"),
        ("cmdline: /x\nfiles: [a]", 2, "files must be a mapping"),
        ("cmdline: /x\nfiles: {/a: [b]}", 2, "a path must be a text"),
        ("cmdline: /x\nfiles:\n  /a: b\n  /a: c", 4, "/a is there twice"),
        ("cmdline: ' '", 1, "cmdline is empty"),
        ("cmdline: --cwd=/", 1, "cmdline is empty"),
        ("""cmdline: '/x "open'""", 1, "a double quote without its end"),
        ("cmdline: /x\nbuild: make 'open", 2, "build cannot be parted into words: No closing quotation"),
        ("cmdline: /x\nbuild: {}", 2, "build must be a text"),
        ("cmdline: /x\n\tbase: a", 2, "no YAML"),
        ("- a", 1, "a Capstanfile must be a mapping"),
        ('cmdline: /x\nrootfs: "a\\0b"', 2, "rootfs has a NUL character"),
        ("cmdline: /x\nrpm-base: {name: a}", 2, "rpm-base lacks version, release, arch"),
        (
            "cmdline: /x\nrpm-base: {name: ../a, version: 1, release: 2, arch: x}",
            2,
            "not a name of an RPM package: ../a-1-2.x.rpm",
        ),
    ],
)
def test_what_cannot_be_right_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    error = refusal(tmp_path, text)
    assert error.message.startswith(f"{tmp_path}/Capstanfile, line {line}: ")
    assert what in error.message
    assert f"\n  {line} | " in error.message
    assert error.hint


RPM_BASE = "cmdline: /x\nrpm-base: {name: tool, version: 1.0, release: 2, arch: noarch}\n"
SPEC = """Name: tool
Version: 1.0
Release: 2
Summary: A tool
License: none
BuildArch: noarch
%description
A tool.
%install
mkdir -p %{buildroot}/usr/bin
echo tool > %{buildroot}/usr/bin/tool
chmod 755 %{buildroot}/usr/bin/tool
ln -s tool %{buildroot}/usr/bin/link
%files
/usr/bin/tool
/usr/bin/link
"""


@pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="needs rpmbuild")
def test_an_rpm_beside_the_capstanfile_goes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path, {"tool.spec": SPEC, "own": "mine"})
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}/rpm", "tool.spec"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    shutil.copy(tmp_path / "rpm/RPMS/noarch/tool-1.0-2.noarch.rpm", tmp_path)
    recipe = made(tmp_path, RPM_BASE + "files: {/usr/bin/own: own}")
    assert Path(host(recipe, "/usr/bin/tool")).read_text() == "tool\n"
    node, link = recipe.tree.find(b"/usr/bin/tool"), recipe.tree.find(b"/usr/bin/link")
    assert isinstance(node, HostFile)
    assert isinstance(link, Symlink)
    assert (node.mode, link.target) == (0o755, b"tool")
    assert recipe.why("/usr/bin/tool").endswith(f"comes from the rpm-base {tmp_path}/tool-1.0-2.noarch.rpm")
    (tmp_path / "tool-1.0-2.noarch.rpm").write_bytes(b"hello")
    assert "tool-1.0-2.noarch.rpm cannot be unpacked: rpm2cpio: " in refusal(tmp_path, RPM_BASE).message


def test_an_rpm_that_is_not_here_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refusal(tmp_path, RPM_BASE)
    assert error.message == "cannot take the rpm-base tool: there is no rpm2cpio and no cpio here"
    for tool in ("rpm2cpio", "cpio"):
        (tmp_path / tool).write_text("#!/bin/false\n")
        (tmp_path / tool).chmod(0o755)
    error = refusal(tmp_path, RPM_BASE)
    assert error.message == f"cannot take the rpm-base tool: there is no {tmp_path}/tool-1.0-2.noarch.rpm"
    assert "Get tool-1.0-2.noarch.rpm from where you trust it" in str(error.hint)


def test_without_a_cmdline_nothing_says_what_to_run(tmp_path: Path) -> None:
    assert "has no cmdline" in refusal(tmp_path, "base: osv-loader").message
    assert "has no cmdline" in refusal(tmp_path, "").message


def test_files_keep_their_attributes(tmp_path: Path) -> None:
    write(tmp_path, {"prog": "x"})
    (tmp_path / "prog").chmod(0o751)
    (tmp_path / "link").symlink_to("prog")
    recipe = made(tmp_path, "cmdline: /p\nfiles: {/p: link}")
    node = recipe.tree.find(b"/p")
    assert isinstance(node, HostFile)
    assert node.mode == 0o751
    assert isinstance(recipe.tree.find(b"/etc/fstab"), Content)
