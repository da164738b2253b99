"""Make the notebooks of this folder's Python files: `python notebooks/src/build.py`.

The Python files are the source: they can be read, compared and merged. The notebooks
are made of them, without outputs, and a test checks that they are up to date. A cell's
id is a hash of its text, so that changing one cell changes one cell.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import jupytext
import nbformat

SOURCES = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources() -> list[Path]:
    """Return the notebooks' sources, in order."""
    return sorted(SOURCES.glob("[0-9][0-9]_*.py"))


def target(source: Path) -> Path:
    """Return the notebook that a source is for."""
    return SOURCES.parent / f"{source.stem}.ipynb"


def render(source: Path) -> str:
    """Return the text of a notebook."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = METADATA
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cell.id = f"{digest}-{seen[digest]}"
        seen[digest] += 1
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


if __name__ == "__main__":
    for source in sources():
        target(source).write_text(render(source), encoding="utf-8")
        print(target(source))
