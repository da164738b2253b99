"""Every public name is documented, and every example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import osvlab

NOT_IMPORTED = {"osvlab._build_hook", "osvlab.cli.__main__"}
WALKED = [info.name for info in pkgutil.walk_packages(osvlab.__path__, "osvlab.")]
MODULES = ["osvlab", *(name for name in WALKED if name not in NOT_IMPORTED and "osvlab.kernel." not in name)]


def public(module: ModuleType) -> list[str]:
    return list(getattr(module, "__all__", []))


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public_name in public(module):
        value = getattr(module, public_name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{public_name} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_there_and_the_rest_is_private(name: str) -> None:
    module = importlib.import_module(name)
    for public_name in public(module):
        assert hasattr(module, public_name), f"{name}.__all__ names {public_name}, which is not there"


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("doctest"))
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
