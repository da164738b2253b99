"""The face of the package is light, complete and lazy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import osvlab

HEAVY = [
    *("IPython", "anywidget", "asyncio", "dissect", "elftools", "ipywidgets", "libvirt", "lz4", "numpy"),
    *("plotly", "qemu", "zstandard"),
]


@pytest.mark.parametrize("module", ["osvlab", "osvlab.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_importing_does_not_load_the_floors() -> None:
    code = "import sys, osvlab; print(*[name for name in sys.modules if name.startswith('osvlab.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_an_image_of_a_directory_loads_nothing_that_only_others_need(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("text")
    code = f"""if True:
        import os, sys, osvlab
        os.chdir({str(tmp_path)!r})
        osvlab.build("tree", "/file", "zfs", output="z.img", check=False)
        print(*[name for name in ("numpy", "yaml", "osvlab.vm.session") if name in sys.modules])"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


@pytest.mark.parametrize("name", osvlab.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(osvlab, name) is not None
    assert name in dir(osvlab)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        osvlab.nothing  # noqa: B018


def test_type_checkers_see_what_python_loads() -> None:
    tree = ast.parse(Path(osvlab.__file__).read_text())
    checked = {
        alias.name: node.module
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert checked == osvlab._HOME
    assert sorted(osvlab.__all__) == sorted(checked)


def test_libvirt_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    assert osvlab.doctor()["libvirt"].verdict == "limited"
