"""Every notebook is made from its source, holds no outputs, and runs from top to bottom."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXPECTED = {
    "00_quickstart",
    "03_building_inside_an_empty_vm",
    "04_filesystems_on_disk",
    "09_network_and_rest",
}
# What notebooks call the folders that they make, and remove at their end.
FOLDERS = ("quickstart-", "empty-vm-", "on-disk-", "network-")
CELL_DEADLINE = 180  # the first cell may compile the kernel


def load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks/src/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return str(output["text"])
    return str(output.get("data", {}).get("text/plain", ""))


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_notebooks_are_there() -> None:
    assert {path.stem for path in NOTEBOOKS} >= EXPECTED


def test_notebooks_are_made_from_their_sources() -> None:
    builder = load_builder()
    assert [builder.target(source) for source in builder.sources()] == NOTEBOOKS
    for source in builder.sources():
        made = builder.render(source)
        assert builder.target(source).read_text() == made, "run: python notebooks/src/build.py"


@each_notebook
def test_a_notebook_opens_with_what_it_takes(path: Path) -> None:
    first = nbformat.read(path, 4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    for word in ("Goal", "Time", "Memory", "Without KVM"):
        assert f"**{word}" in first.source


@each_notebook
def test_a_notebook_checks_itself_in_hidden_cells(path: Path) -> None:
    checks = [cell for cell in nbformat.read(path, 4).cells if "test" in cell.metadata.get("tags", [])]
    assert checks
    for cell in checks:
        assert cell.metadata["jupyter"]["source_hidden"]
        assert all(re.match(r"assert |\s|\]|\w+ = ", line) for line in cell.source.splitlines())


@each_notebook
def test_pictures_have_a_text(path: Path) -> None:
    assert not re.search(r"!\[\]\(|<img(?![^>]*alt=)", path.read_text())


@each_notebook
def test_a_notebook_needs_no_magic_and_no_click(path: Path) -> None:
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            assert not re.search(r"^\s*[%!]|\binput\(", cell.source, re.MULTILINE)


@each_notebook
def test_code_fits_beside_the_list_of_files(path: Path) -> None:
    """JupyterLab does not wrap code: what is longer is cut off in a window of 1100 pixels."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and "test" not in cell.metadata.get("tags", []):
            assert [line for line in cell.source.splitlines() if len(line) > 84] == []


@pytest.mark.qemu
@pytest.mark.slow
@each_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, 4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_DEADLINE,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    # Whatever is shown as a widget, a figure or a table is there as text too.
    assert all(text_of(output) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    # Plotly's library (5 MB) or a widget's code must not have got into it.
    assert len(json.dumps(notebook)) < 1_000_000
    left = [found.name for found in tmp_path.iterdir() if found.name.startswith(FOLDERS)]
    assert left == []
