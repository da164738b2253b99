"""Every error that the lab raises on purpose says what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import osvlab
from osvlab.errors import OsvlabError

PACKAGE = Path(osvlab.__file__).parent
HINTS_ITSELF = {"DamagedError", "PathError", "PreflightError"}  # their constructors know what to say


def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def family(modules: dict[Path, ast.Module]) -> set[str]:
    """The names of all classes that come from `OsvlabError`."""
    classes = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in modules.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {OsvlabError.__name__}
    while more := {name for name, bases in classes.items() if bases & found} - found:
        found |= more
    return found


def without_hint(modules: dict[Path, ast.Module]) -> Iterator[str]:
    names = family(modules) - HINTS_ITSELF
    assert len(names) > 10
    for path, tree in modules.items():
        for node in ast.walk(tree):
            made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
            if made and len(node.args) < 2 and not any(word.arg == "hint" for word in node.keywords):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)[:80]}"


def test_every_error_has_a_hint() -> None:
    assert list(without_hint(trees())) == []


def test_an_error_without_a_hint_would_be_found() -> None:
    modules = trees() | {PACKAGE / "made_up.py": ast.parse("raise OsvlabError('no')")}
    assert list(without_hint(modules)) == ["made_up.py:1: OsvlabError('no')"]
