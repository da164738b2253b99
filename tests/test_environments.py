"""The lists of what has to be installed agree with each other, and each thing is listed once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CONDA_NAMES: dict[str, str] = {}
# What README may tell a person to install before the first `make`, and what only libvirt users want.
BEFORE_MAKE = {"git", "make"}
LIBVIRT = {"libvirt-dev", "libvirt-daemon", "pkg-config"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*(.*?)\s*", text)
    assert match is not None
    return normal(match[1]), match[2]


def conda(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in yaml.safe_load(path.read_text())["dependencies"]:
        for text in entry["pip"] if isinstance(entry, dict) else [entry]:
            name, bounds = requirement(text)
            found[name] = bounds
    return found


def python_needs() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(
        requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["lab"]
    )


def debian_packages() -> list[str]:
    lines = (ROOT / "binder" / "apt.txt").read_text().splitlines()
    plain = [line.partition("#")[0].strip() for line in lines]
    marked = [
        match[1] for line in lines if (match := re.match(r"#(?:test|bench|soak): *([a-z0-9.+-]+)", line))
    ]
    return [name for name in plain if name] + marked


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_has_what_the_package_needs(path: str) -> None:
    listed = conda(ROOT / path)
    for name, bounds in python_needs().items():
        assert listed.get(CONDA_NAMES.get(name, name)) == bounds, name


def test_the_desk_has_what_binder_has() -> None:
    desk, binder = conda(ROOT / "environment.yml"), conda(ROOT / "binder/environment.yml")
    assert binder.items() <= desk.items()
    assert desk.keys() - binder.keys() == {"libvirt-python"}


def test_binder_can_read_the_package_list() -> None:
    """repo2docker takes each line up to `#` as one package name."""
    for line in (ROOT / "binder" / "apt.txt").read_text().splitlines():
        name = line.partition("#")[0].strip()
        assert not name or re.fullmatch(r"[a-z0-9.+-]+", name), line


def test_each_package_is_listed_once() -> None:
    packages = debian_packages()
    assert len(packages) == len(set(packages))


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "Makefile", ".ci/setup", ".ci/run"])
def test_no_second_package_list(path: str) -> None:
    for line in (ROOT / path).read_text().splitlines():
        if "apt-get install" in line:
            words = set(re.findall(r"[a-z0-9.+-]+", line.partition("apt-get install")[2]))
            assert words & set(debian_packages()) <= BEFORE_MAKE, line


def test_hints_name_packages_of_the_list() -> None:
    known = {*debian_packages(), *LIBVIRT}
    for path in (ROOT / "osvlab").rglob("*.py"):
        for match in re.finditer(r"apt-get install((?: [a-z][a-z0-9.+-]+)+)", path.read_text()):
            assert set(match[1].split()) <= known, f"{path}: {match[0]}"
