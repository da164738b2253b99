"""Modules: what comes with them, that they fit the kernel, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import osvlab
from osvlab.errors import OsvlabError
from osvlab.image import modules
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.image.modules import Module, ModuleError, available_modules, chosen_modules
from osvlab.image.preflight import PreflightError
from osvlab.kernels import Boot, Kernel, KernelKind

MOST_BYTES = {"httpserver": 150 << 10}


@pytest.fixture(scope="module")
def lab() -> Kernel:
    return Kernel.lab()


@pytest.mark.parametrize("name", available_modules())
def test_every_module_fits_the_kernel(name: str, app: Path, tmp_path: Path, lab: Kernel) -> None:
    image = build(app, kernel=lab, modules=[name], output=tmp_path / "x.img")  # checks its symbols
    module = available_modules()[name]
    assert name in image.modules
    assert (image.files / module.program).size < MOST_BYTES.get(name, 1 << 20)
    for path, target in module.links.items():
        assert (image.files / path).readlink() == target
        assert (image.files / path).is_file()


def test_every_module_is_in_the_readme() -> None:
    text = (modules.SOURCES / "modules" / "README.md").read_text()
    assert [name for name in available_modules() if f"| `{name}` |" not in text] == []


def test_the_rest_server_lies_where_osvs_does(app: Path, tmp_path: Path, lab: Kernel) -> None:
    image = build(app, kernel=lab, modules=["httpserver"], output=tmp_path / "x.img")
    assert (image.files / "libhttpserver-api.so").readlink() == "/usr/lib/libhttpserver-api.so"
    assert (image.files / "init/30-auto-00").read_text() == "/libhttpserver-api.so &!\n"
    assert image.command == "/hello"


def test_what_is_left_out_costs_nothing(app: Path, tmp_path: Path, lab: Kernel) -> None:
    plain = build(app, kernel=lab, output=tmp_path / "a.img")
    empty = build(app, kernel=lab, modules=[], output=tmp_path / "b.img")
    assert plain.path.read_bytes() == empty.path.read_bytes()
    assert plain.modules == ()


def test_the_directorys_own_files_count_more(app: Path, tmp_path: Path, lab: Kernel) -> None:
    (app / "init").mkdir()
    (app / "init/30-auto-00").write_text("/libhttpserver-api.so --port=80 &!")
    (app / "init/50-mine").write_text("/hello;")
    image = build(app, kernel=lab, modules=["httpserver"], output=tmp_path / "x.img")
    assert "--port=80" in (image.files / "init/30-auto-00").read_text()
    assert (image.files / "init/50-mine").exists()


def test_images_in_the_cache_differ_by_their_modules(
    app: Path, lab: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build(app, kernel=lab).path != build(app, kernel=lab, modules=["httpserver"]).path


def test_an_unknown_module_lists_those_there_are(app: Path) -> None:
    with pytest.raises(ModuleError, match="no such module: httpsever") as caught:
        osvlab.build(app, modules=["httpsever"])
    assert "Did you mean httpserver?" in str(caught.value.hint)
    with pytest.raises(ModuleError, match="a list of names"):
        osvlab.build(app, modules="httpserver")


def test_another_kernel_refuses_them(app: Path, lab: Kernel) -> None:
    osv = Kernel(lab.path, KernelKind.OSV, Boot.PVH, None)
    with pytest.raises(ModuleError, match=r"runs no modules of the lab kernel: httpserver"):
        osvlab.build(app, kernel=osv, modules=["httpserver"])


def test_they_go_into_an_image_when_it_is_built(app: Path, tmp_path: Path, lab: Kernel) -> None:
    image = build(app, kernel=lab, output=tmp_path / "x.img")
    for source in (image, image.path):
        with pytest.raises(OsvlabError, match="is an image already"):
            osvlab.run(source, modules=["httpserver"])


def test_a_module_that_lacks_a_symbol_is_found_before_it_runs(
    app: Path, tmp_path: Path, kernel: Kernel
) -> None:
    with pytest.raises(PreflightError, match=r"missing symbols: .*libhttpserver-api\.so"):
        build(app, kernel=kernel, modules=["httpserver"], output=tmp_path / "x.img")


def test_needed_modules_and_libraries_come_along(
    app: Path, tmp_path: Path, lab: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Module("first", "needs others", "/first.so", requires=("second",), libraries=("libgcc_s.so.1",))
    second = Module("second", "needs nobody", "/second.so", files={"/etc/second": "text"})
    monkeypatch.setattr(modules, "available_modules", lambda: {"first": first, "second": second})
    monkeypatch.setattr(modules, "built_module", lambda name: app / "hello")
    assert [module.name for module in chosen_modules(["first"])] == ["second", "first"]
    image = build(app, command="/hello", kernel=lab, modules=["first"], output=tmp_path / "x.img")
    assert (image.files / "usr/lib/libgcc_s.so.1").is_file()
    assert (image.files / "etc/second").read_text() == "text"
    lost = Module("lost", "needs what is not", "/lost.so", libraries=("libnowhere.so.9",))
    with pytest.raises(ModuleError, match=r"lost needs libnowhere\.so\.9"):
        lost.nodes()


def test_the_command_line_builds_and_shows_them(app: Path, tmp_path: Path) -> None:
    def lab(*words: str | Path) -> str:
        argv = [sys.executable, "-m", "osvlab.cli", *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    lab("build", app, "--module", "httpserver", "-o", tmp_path / "x.img")
    assert "  modules  httpserver\n" in lab("inspect", tmp_path / "x.img")
    assert json.loads(lab("inspect", "--json", tmp_path / "x.img"))["modules"] == ["httpserver"]
    assert Image.open(tmp_path / "x.img").modules == ("httpserver",)


@pytest.mark.parametrize("name", available_modules())
def test_the_readme_names_the_options_that_there_are(name: str) -> None:
    text = (modules.SOURCES / "modules" / "README.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` | ") and "`--" in line)
    named = set(re.findall(r"`--([a-z-]+)`", row))
    sources = [path.read_text() for path in (modules.SOURCES / "modules" / name).glob("*.c")]
    usage = next(
        found for text in sources if (found := re.search(r"\busage\[\] =(.*?);\n", text, re.DOTALL))
    )
    assert named == set(re.findall(r"--([a-z-]+)", usage[1])) - {"help"}
