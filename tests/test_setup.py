"""`.ci/setup`, the first thing a new person runs, on machines that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOBODY = 65534


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A checkout with just what the set-up reads, that other users can read too."""
    # pytest's own temporary folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="osvlab-setup-") as name:
        folder = Path(name)
        for path in (".ci/setup", "binder/apt.txt", "pyproject.toml"):
            (folder / path).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        folder.chmod(0o777)
        yield folder


def set_up(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the set-up as somebody who is not root."""
    command = [str(checkout / ".ci/setup"), *arguments]
    if os.getuid() == 0:
        drop = shutil.which("setpriv")
        assert drop is not None
        command = [drop, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
    environment = {"PATH": path or os.environ["PATH"], "HOME": str(checkout), "LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no Debian or Ubuntu")


@needs_dpkg
@pytest.mark.parametrize("extra", [[], ["dev"], ["soak"]])
def test_without_root_a_missing_package_is_one_line_to_run(checkout: Path, extra: list[str]) -> None:
    with (checkout / "binder/apt.txt").open("a") as packages:
        packages.write("osvlab-no-such-package # made up\nosvlab-nor-this\n")
    ended = set_up(checkout, *extra)
    assert ended.returncode == 1
    lines = [line.strip() for line in ended.stderr.splitlines() if "apt-get install" in line]
    assert len(lines) == 1
    assert lines[0].startswith("sudo apt-get install -y")
    assert {"osvlab-no-such-package", "osvlab-nor-this"} <= set(lines[0].split())
    assert "python3-venv" not in lines[0] or shutil.which("python3") is None
    assert not (checkout / ".venv").exists()


@needs_dpkg
def test_a_package_that_may_be_left_out_is_left_out(checkout: Path) -> None:
    (checkout / "binder/apt.txt").write_text("#test: osvlab-no-such-package (if there)  a snap\n")
    ended = set_up(checkout, "dev", path=python_says(checkout, "3.9.2"))
    assert "left out: osvlab-no-such-package" in ended.stderr


def python_says(checkout: Path, version: str) -> str:
    """Return a PATH with the tools of the set-up, and a python3 of that version and no other Python."""
    tools = checkout / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("dirname", "grep", "rm", "sed", "id", "dpkg-query", "apt-cache", "sha256sum", "cut", "cat"):
        if (found := shutil.which(name)) is not None:
            (tools / name).symlink_to(found)
    python = tools / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *) echo {version} ;; esac\n')
    python.chmod(0o755)
    return str(tools)


def test_an_old_python_is_named_with_its_version(checkout: Path) -> None:
    (checkout / "binder/apt.txt").write_text("")
    ended = set_up(checkout, path=python_says(checkout, "3.9.2"))
    assert ended.returncode == 1
    assert "Python 3.11 or newer" in ended.stderr
    assert f"{checkout}/tools/python3 3.9.2" in ended.stderr
    assert "PYTHON=" in ended.stderr


@pytest.mark.parametrize("moved", [False, True])
def test_a_venv_that_was_moved_is_made_again(checkout: Path, moved: bool) -> None:
    (checkout / "binder/apt.txt").write_text("")
    scripts = checkout / ".venv" / "bin"
    scripts.mkdir(parents=True)
    scripts.parent.chmod(0o777)
    (scripts / "python").write_text("#!/bin/sh\nexit 0\n")
    (scripts / "python").chmod(0o755)
    (scripts / "pip").write_text(f"#!{'/elsewhere' if moved else checkout.resolve()}/.venv/bin/python\n")
    ended = set_up(checkout, path=python_says(checkout, "3.9.2"))
    if moved:
        assert "Python 3.11 or newer" in ended.stderr  # which it wants for a new one
    else:
        assert ended.returncode == 0, ended.stderr
        assert "pip install -e ." in ended.stderr


def test_it_works_alone(checkout: Path) -> None:
    (checkout / "binder/apt.txt").write_text("")
    scripts = checkout / ".venv" / "bin"
    scripts.mkdir(parents=True)
    scripts.parent.chmod(0o777)
    (scripts / "pip").write_text(f"#!{checkout.resolve()}/.venv/bin/python\n")
    (scripts / "python").write_text("#!/bin/sh\n! flock --nonblock .ci/setup true || echo not alone >&2\n")
    (scripts / "python").chmod(0o755)
    ended = set_up(checkout)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "setup: pip install -e .\n"


def test_an_unknown_extra_is_refused(checkout: Path) -> None:
    ended = set_up(checkout, "everything")
    assert ended.returncode == 2
    assert "everything" in ended.stderr


def test_the_second_run_does_nothing() -> None:
    """The environment that runs this test was set up, so there is nothing left to say."""
    if not list((ROOT / ".venv").glob("ready-*")):
        pytest.skip("this checkout was not set up by .ci/setup")
    ended = subprocess.run([ROOT / ".ci/setup"], capture_output=True, text=True, check=True, timeout=30)
    assert ended.stderr == ""


def test_the_kernel_is_made_alone_and_in_a_folder_with_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "my clone"
    (folder / ".ci").mkdir(parents=True)
    (folder / "osvlab" / "kernel").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".ci" / "setup").write_text("#!/bin/sh\n")
    (folder / ".ci" / "setup").chmod(0o755)
    recipe = "all:\n\t@mkdir -p build; ! flock --nonblock build/.lock true\n\t@echo made with '$(PYTHON)'\n"
    (folder / "osvlab" / "kernel" / "Makefile").write_text(recipe)
    ended = subprocess.run(
        ["make", "kernel"], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert f"made with {folder}/.venv/bin/python" in ended.stdout
