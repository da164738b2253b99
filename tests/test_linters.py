"""The gates: formatters, linters, types, and rules of this project that a tool can check."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
EXPECTED_AT_TOP_LEVEL = {
    *("notebooks", "osvlab", "tests", "binder", "benchmarks"),
    *("environment.yml", "README.md", "pyproject.toml", "Makefile", "LICENSE", "CONTRIBUTING.md"),
}
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


def project_files(*patterns: str) -> list[Path]:
    """Return the project's own files: what git tracks or would track."""
    # Git refuses to read a checkout that belongs to somebody else, unless it is told.
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    which = ["--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run([*git, *which], cwd=ROOT, capture_output=True, check=True).stdout
    paths = (ROOT / name.decode() for name in listed.split(b"\0") if name)
    return sorted(path for path in paths if path.exists())


def passes(*command: str | Path) -> None:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"


def test_ruff_finds_nothing() -> None:
    passes(BIN / "ruff", "check", "--quiet", ".")


def test_python_is_formatted() -> None:
    passes(BIN / "ruff", "format", "--check", "--quiet", ".")


def test_types_are_strict_and_right() -> None:
    passes(BIN / "mypy")


def test_c_is_formatted() -> None:
    sources = project_files("*.c", "*.h")
    assert sources
    passes(BIN / "clang-format", "--dry-run", "--Werror", *sources)


def test_modules_stay_small() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in project_files("osvlab/*.py", "osvlab/*.c", "osvlab/*.js")
        if (lines := path.read_text().count("\n")) > 500
    }
    assert not long


def test_top_level_holds_what_people_expect() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in project_files()}
    assert {name for name in top if not name.startswith(".")} <= EXPECTED_AT_TOP_LEVEL


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_stripped(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert "widgets" not in notebook["metadata"]
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert not cell.get("outputs"), f"{cell['id']} has outputs: make format"
        assert cell.get("execution_count") is None
    assert path.stat().st_size < 60_000


def test_nothing_is_loaded_from_the_network() -> None:
    loads = re.compile(r"""(?:\bfrom|\bimport|\bimport\(|@import|src=|href=|fetch\()\s*["'`]?\s*https?://""")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in (ROOT / "osvlab").rglob("*")
        if path.suffix in (".js", ".mjs", ".css", ".html")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if loads.search(line)
    ]
    assert not found


def test_a_missing_path_is_not_silently_excluded() -> None:
    """`git ls-files` outside a checkout would make every gate above pass on nothing."""
    assert ROOT / "tests" / "test_linters.py" in project_files("tests/*.py")
