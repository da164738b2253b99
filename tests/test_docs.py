"""Every public name is documented, and every example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest

import osvlab

NOT_IMPORTED = {"osvlab._build_hook", "osvlab.cli.__main__"}
WALKED = [info.name for info in pkgutil.walk_packages(osvlab.__path__, "osvlab.")]
MODULES = ["osvlab", *(name for name in WALKED if name not in NOT_IMPORTED and "osvlab.kernel." not in name)]


# What whoever uses the package meets of images, filesystems and VMs: each name is in an example that runs.
SHOWN = [
    "osvlab",
    *(f"osvlab.vm.{name}" for name in ("console", "machine", "network", "outcome", "run", "timeline", "vm")),
    "osvlab.filesystems",
    *(
        f"osvlab.filesystems.{name}"
        for name in (
            *(
                "base",
                "bootfs",
                "copying",
                "cpio",
                "disk",
                "disk_pools",
                "disk_structures",
                "file",
                "fsspec",
                "host",
                "opening",
                "overview",
                "path",
            ),
            *("rofs", "tree", "zfs"),
        )
    ),
    "osvlab.image",
    *(f"osvlab.image.{name}" for name in ("build", "empty_vm", "image", "rebuild")),
]


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


def examples_of(value: object) -> list[doctest.Example]:
    """Return the examples that run of a module, a class with its methods, or a function."""
    found = doctest.DocTestFinder(exclude_empty=True).find(value, name="")
    return [example for one in found for example in one.examples if doctest.SKIP not in example.options]


@pytest.mark.parametrize("name", SHOWN)
def test_public_names_are_shown_at_work(name: str) -> None:
    module = importlib.import_module(name)
    named = {public_name: getattr(module, public_name) for public_name in public(module)}
    is_face = hasattr(module, "__path__")  # which has its names from elsewhere
    shown = {
        public_name: value
        for public_name, value in named.items()
        if (inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception)))
        and (is_face or value.__module__ == name)
    }
    homes = {module, *(importlib.import_module(value.__module__) for value in shown.values())}
    examples = [example.source + example.want for home in homes for example in examples_of(home)]
    words = set(re.findall(r"\w+", " ".join(examples)))
    assert [public_name for public_name in shown if public_name not in words] == []
