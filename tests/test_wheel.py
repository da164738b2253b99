"""`pip install .`: what a wheel carries, with and without a compiler where it was built."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNEL = {f"osvlab/kernel/build/{name}" for name in ("lab-kernel-stripped.elf", "boot.bin")}


def wheel(folder: Path, **environment: str) -> Path:
    ended = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (built,) = folder.glob("*.whl")
    return built


def names(built: Path) -> set[str]:
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


@pytest.mark.slow
def test_a_wheel_brings_the_kernel_and_works_where_it_is_installed(tmp_path: Path) -> None:
    built = wheel(tmp_path)
    assert names(built) >= {
        *KERNEL,
        "osvlab/py.typed",
        "osvlab/kernel/Makefile",
        "osvlab/kernel/boot/entry.S",
    }
    assert not {name for name in names(built) if name.startswith("tests/") or name.endswith(".o")}
    place = tmp_path / "place"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(place)
    said = subprocess.run(
        [sys.executable, "-c", "import osvlab; print(osvlab.__file__); print(osvlab.Kernel.lab().path)"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert all(path.startswith(str(place)) for path in said), said


def test_without_a_compiler_the_sources_ship_all_the_same(tmp_path: Path) -> None:
    found = names(wheel(tmp_path, OSVLAB_NO_KERNEL="1"))
    assert "osvlab/kernel/boot/entry.S" in found
    assert not KERNEL & found
