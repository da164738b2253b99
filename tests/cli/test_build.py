"""`osvlab build` and `osvlab compose`, as a user of Capstan types them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from osvlab.cli import main
from osvlab.demo import compile_example
from osvlab.image.image import Image
from osvlab.kernels import Kernel
from tests.cli.conftest import Lab
from tests.image.sources.packages import archive, entry, package
from tests.image.sources.test_manifest import write

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="session")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_example("hello", tmp_path_factory.mktemp("hello") / "hello")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPSTAN_ROOT", str(tmp_path / "store"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_directory_with_a_capstanfile_needs_no_name(
    tmp_path: Path, hello: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        Path(),
        {"Capstanfile": "base: cloudius/osv-base\ncmdline: /hello\nbuild: cp ../prog hello\nfiles:\n"},
    )
    with open("Capstanfile", "a") as file:
        file.write("  /hello: '&'\n")
    shutil.copy(hello, tmp_path / "prog")
    assert main(["build"]) == 0
    told = capsys.readouterr()
    assert "osvlab: base cloudius/osv-base is a plain OSv: the lab kernel takes its place" in told.err
    assert "osvlab: run cp ../prog hello: " in told.err
    assert Image.open("here.img").command == "/hello"
    assert main(["build", "--", "/hello", "again"]) == 0
    assert Image.open("here.img").command == "/hello again"


def test_a_package_is_built_where_one_is(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = package(
        Path(), "pack", run="runtime: native\nconfig_set: {a: {bootcmd: /hello}, b: {bootcmd: /hello b}}"
    )
    shutil.copy(hello, place / "hello")
    for name in ("meta", "hello"):
        shutil.move(place / name, name)
    assert main(["build"]) == 1
    assert "nothing says which config_set of pack to run: a, b" in capsys.readouterr().err
    assert not Path("here.img").exists()
    assert main(["build", "--boot", "a", "--boot", "b"]) == 0
    first = Path("here.img").read_bytes()
    assert main(["build", "--boot", "a", "--boot", "b"]) == 0  # with the image of before beside it
    assert Path("here.img").read_bytes() == first
    image = Image.open("here.img")
    assert image.command == "runscript /run/a;runscript /run/b;"
    assert not (image.files / "here.img").exists()


def test_required_packages_come_from_folders_and_from_capstans_store(tmp_path: Path, hello: Path) -> None:
    archive(tmp_path / "store/packages/stored.mpm", entry("/stored", b"x"), name="stored")
    archive(tmp_path / "more/near.mpm", entry("/near", b"x"), name="near")
    archive(tmp_path / "more/extra.mpm", entry("/extra", b"x"), name="extra")
    run = "runtime: native\nconfig_set: {main: {bootcmd: /hello}}"
    app = archive(
        tmp_path / "app.mpm",
        entry("/meta/package.yaml", b"name: app\nrequire: [stored, near]"),
        entry("/meta/run.yaml", run.encode()),
        entry("/hello", hello.read_bytes()),
    )
    more = str(tmp_path / "more")
    assert main(["build", str(app), "--packages", more, "--require", "extra"]) == 0
    files = Image.open("app.img").files
    assert all((files / name).exists() for name in ("stored", "near", "extra", "hello"))


def test_a_manifest_with_variables_and_a_base(tmp_path: Path, hello: Path) -> None:
    write(tmp_path, {"m/usr.manifest": "/hello: %(prog)s\n/etc/${NAME}: motd", "base/motd": "hi"})
    argv = ["build", str(tmp_path / "m/usr.manifest"), "-D", f"prog={hello}", "--define", "NAME=motd"]
    assert main([*argv, "--base", str(tmp_path / "base")]) == 0
    assert (Image.open("usr.img").files / "etc/motd").read_text() == "hi"


def test_reasons_are_told_when_asked_for(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("app").mkdir()
    shutil.copy(hello, "app/hello")
    assert main(["build", "app", "-v", "--size", "1G", "--module", "httpserver"]) == 0
    told = capsys.readouterr().err
    assert "osvlab: /hello comes from the directory app\n" in told
    assert "osvlab: /usr/lib/libhttpserver-api.so belongs to the module httpserver\n" in told
    assert "osvlab: 1 GiB were asked for: rofs has the size of its content\n" in told
    assert main(["build", "app", "--verbose", "--json"]) == 0
    told = capsys.readouterr()
    lines = [json.loads(line) for line in told.err.splitlines()]
    assert {"event": "file", "path": "/hello", "why": "/hello comes from the directory app"} in lines
    assert json.loads(told.out)["command"] == "/hello"


# --- what is wrong -----------------------------------------------------------------------------------------


def test_nothing_to_build_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build"]) == 1
    assert "there is neither a Capstanfile nor a meta/package.yaml here" in capsys.readouterr().err
    Path("usr.manifest").touch()
    assert main(["build"]) == 1
    assert "hint: Name what to build, such as usr.manifest; '.' is this" in capsys.readouterr().err


def test_the_name_of_an_image_where_capstan_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path(), {"Capstanfile": "cmdline: /hello"})
    assert main(["build", "myimage"]) == 1
    told = capsys.readouterr().err
    assert "no such directory or file: myimage" in told
    assert "hint: To build the Capstanfile here: osvlab build -o myimage.img" in told


def test_a_zfs_image_as_it_is_asked_for(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("app").mkdir()
    shutil.copy(hello, "app/hello")
    Path("app/text").write_bytes(b"again " * 50_000)
    words = ["build", "app", "--fs", "zfs", "--size", "300M", "-o", "x.img"]
    sizes = []
    for how in ("lz4", "off"):
        assert main([*words, "--compression", how]) == 0
        image = Image("x.img")
        assert (image.filesystem, image.root_partition.size) == ("zfs", 300 << 20)
        sizes.append(image.allocated)
    assert sizes[1] - sizes[0] > 200_000
    capsys.readouterr()
    assert main([*words, "--compression", "off"]) == 0
    assert "nothing changed since x.img was made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (
            ["build", "app", "--fs", "zfs", "--compression", "zstd"],
            "unknown compression of a ZFS pool: 'zstd'",
        ),
        (["build", "app", "--fs", "zfs", "--via", "post"], "unknown way to fill a disk: 'post'"),
        (["build", "app", "--fs", "zfs", "--size", "1M"], "a pool of 1 MiB is too small"),
        (["build", "app", "--via", "vm"], "an empty VM formats ZFS only, not rofs"),
        (["build", "app", "--fs", "zfs", "--builder", "b.elf"], "b.elf runs in a VM, and the host shall"),
        (["build", "app", "--fs", "zfs", "--via", "vm", "--builder", "b.elf"], "no such kernel: b.elf"),
        (["build", "app", "--fs", "zfs", "--via", "vm", "--compression", "gzip"], "compression 'gzip' and"),
        (["compose", "x", "app", "--fs", "zfs", "--via", "vm", "--ashift", "8"], "ashift 8"),
        (["build", "app", "--boot", "x"], "app is a directory, which has no use for boot"),
        (["build", "app", "-D", "x"], "--define x: not NAME=VALUE"),
        (["build", "gone"], "no such directory: gone"),
        (["build", "app", "-o", ""], "not a name for an image: ''"),
        (["build", "app", "-o", "new/"], "not a name for an image: 'new/'"),
        (["build", "gone.mpm"], "no such package: gone.mpm"),
        (["compose", "x", "gone"], "no such directory: gone"),
        (["compose", "no/such/x", "app", "-c", "/a"], "no such folder: "),
        (["compose", "x", "app", "-l", "no-such-loader"], "no such base: no-such-loader"),
        (["compose", "x", "app", "--fs", "ntfs"], "unknown filesystem: 'ntfs'"),
        (["compose", "x", "app", "--size", "big"], "not a size: 'big'"),
        (["compose", "x", "app", "--", "/a"], "compose takes no command after --"),
    ],
)
def test_what_cannot_be_built(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("app").mkdir()
    shutil.copy("/bin/true", "app/a")
    assert main(words) == 1
    assert what in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["app"]


# --- compose -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "/bin/hello x", "--fs", "ramfs", "-s", "10G", "mine", "app"],
        ["mine", "app", "--command_line", "/bin/hello x", "--fs=ramfs", "--size", "10G"],
        ["mine", "-c", "/bin/hello x", "app", "--fs", "ramfs", "--verbose"],
    ],
    ids=["before", "after", "between"],
)
def test_compose_takes_its_options_anywhere(words: list[str], hello: Path) -> None:
    write(Path(), {"app/Capstanfile": "what: is this", "app/bin/x": ""})
    shutil.copy(hello, "app/bin/hello")
    assert main(["compose", *words]) == 0
    image = Image.open("mine.img")
    assert (image.command, image.filesystem) == ("/bin/hello x", "ramfs")
    assert (image.files / "Capstanfile").is_file()  # as it is, whatever else may describe it


def test_compose_of_one_file(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Capstan makes an empty image of it when the path is relative (and the filesystem ROFS)."""
    Path("link").symlink_to(hello)
    assert main(["compose", "one.img", "link", "-v"]) == 0
    image = Image.open("one.img")
    assert image.command == "/link"
    assert (image.files / "link").read_bytes() == hello.read_bytes()
    assert "/link is link\n" in capsys.readouterr().err


def test_compose_with_another_loader(tmp_path: Path, hello: Path) -> None:
    Path("app").mkdir()
    shutil.copy(hello, "app/hello")
    stored = tmp_path / "store/repository/my-loader"
    stored.mkdir(parents=True)
    lab = Kernel.lab().path
    shutil.copy(lab, stored / "my-loader.qemu")
    shutil.copy(lab.parent / "boot.bin", stored / "boot.bin")
    assert main(["compose", "-l", "my-loader", "named", "app"]) == 0
    assert main(["compose", "--loader-image", str(lab), "plain", "app"]) == 0
    assert main(["compose", "-l", "osv-loader", "well-known", "app"]) == 0
    assert Path("named.img").read_bytes() == Path("plain.img").read_bytes()


# --- guests ------------------------------------------------------------------------------------------------

ECHO = r"""
#include <stdio.h>
int main(int argc, char **argv) {
    printf("told:");
    for (int i = 1; i < argc; i++)
        printf(" [%s]", argv[i]);
    puts("");
}
"""


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("echo") / "echo"
    subprocess.run(["gcc", "-x", "c", "-", "-o", path], input=ECHO, text=True, check=True)
    return path


def told(lab: Lab, *words: str | Path) -> list[str]:
    """Run a guest to its end; return what its programs were told."""
    ended = lab("run", "--timeout", "30", *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [line for line in ended.stdout.splitlines() if line.startswith("told:")]


@pytest.mark.qemu
def test_a_package_runs_with_its_environment(lab: Lab, tmp_path: Path, echo: Path) -> None:
    """The kernel itself reads the scripts: variables, those that are set already, several scripts."""
    run = """runtime: native
config_set:
  greet: {bootcmd: "/echo $WHO $MORE; /echo end", env: {WHO: two words, MORE: 'a;b!&\\'}}
  again: {base: "app:greet", env: {WHO: me}}
config_set_default: greet, again
"""
    app = package(tmp_path, "app", run=run)
    shutil.copy(echo, app / "echo")
    first = ["told: [two words] [a;b!&\\]", "told: [end]"]
    assert told(lab, app) == first * 2  # what the first script sets, the second finds set
    assert told(lab, app, "--env", "WHO=you") == ["told: [you] [a;b!&\\]", "told: [end]"] * 2
    assert told(lab, app, "--", "runscript /run/again;")[0] == "told: [me] [a;b!&\\]"


@pytest.mark.qemu
def test_several_arguments_of_a_runtime_stay_several(lab: Lab, tmp_path: Path, echo: Path) -> None:
    """Capstan joins them with blanks, and the kernel takes the second one for a program."""
    run = "runtime: native\nconfig_set:\n  python: {bootcmd: '/echo $PYTHON_ARGS $MAIN $ARGS'}"
    shutil.copy(echo, package(tmp_path / "packages", "python-2.7", run=run) / "echo")
    run = "runtime: python\nconfig_set:\n  web: {main: /web.py, args: ['a b', c]}"
    app = package(tmp_path, "app", run=run)
    folder = tmp_path / "packages"
    assert told(lab, app, "--packages", folder) == ["told: [-O] [/web.py] [a b] [c]"]
    assert told(lab, app, "--packages", folder, "--", "/echo 1") == ["told: [1]"]
    ended = lab("run", app)
    assert ended.returncode == 125
    assert "hint: Name the folder that has them with --packages FOLDER, or get" in ended.stderr
    assert lab("build", app, "--packages", folder, "-o", tmp_path / "x.img").returncode == 0
    ended = lab("run", tmp_path / "x.img", "--packages", folder)
    assert f"{tmp_path}/x.img is an image already, and --packages is of what it is built of" in ended.stderr


@pytest.mark.qemu
@pytest.mark.parametrize("kind", ["Capstanfile", "usr.manifest"])
def test_whatever_is_built_is_run(lab: Lab, tmp_path: Path, echo: Path, kind: str) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    shutil.copy(echo, folder / "prog")
    files = {
        "Capstanfile": "cmdline: --env=A=b /echo $A\nfiles: {/echo: prog}",
        "usr.manifest": "/echo: prog",
        "cmdline": "--rootfs=zfs --env=A=b /echo $A",
    }
    write(folder, files)
    assert told(lab, folder / kind) == ["told: [b]"]
    assert told(lab, folder / kind, "--", "/echo", "other") == ["told: [other]"]
