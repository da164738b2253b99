"""The lab kernel is compiled when it must be, once, and says what is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from osvlab import kernel_build
from osvlab.errors import OsvlabError
from osvlab.events import Event, StepFinished, listening
from osvlab.kernel_build import KernelBuildError, boot_sector, built_kernel, built_module

# A kernel that compiles in no time: what is tested is when it is compiled, and where.
MAKEFILE = """
all: $(O)/lab-kernel-stripped.elf $(O)/boot.bin
$(O)/%: main.c
\tcp main.c $@
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in site-packages, which nobody writes to: kernel sources without a build."""
    sources = tmp_path / "site-packages" / "osvlab" / "kernel"
    sources.mkdir(parents=True)
    (sources / "Makefile").write_text(MAKEFILE)
    (sources / "main.c").write_text("first")
    monkeypatch.setattr(kernel_build, "SOURCES", sources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return sources


@pytest.fixture
def checkout(sources: Path) -> Path:
    (sources.parent.parent / "pyproject.toml").touch()
    return sources


def later(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10_000_000_000))


def test_installed_without_a_build_it_is_compiled_into_the_cache(sources: Path, tmp_path: Path) -> None:
    steps: list[Event] = []
    with listening(steps.append):
        kernel = built_kernel()
    assert kernel.is_relative_to(tmp_path / "cache")
    assert kernel.read_text() == "first"
    assert boot_sector().parent == kernel.parent
    assert [step.bytes for step in steps if isinstance(step, StepFinished)] == [5]
    assert not (sources / "build").exists()


def test_other_sources_get_another_place(sources: Path) -> None:
    first = built_kernel()
    (sources / "main.c").write_text("other")
    assert built_kernel() != first
    assert first.read_text() == "first"


def test_installed_with_a_build_it_is_taken_as_it_is(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "build").mkdir()
    for name in ("lab-kernel-stripped.elf", "boot.bin"):
        (sources / "build" / name).write_text("ready")
    later(sources / "main.c")  # wheels do not keep times
    monkeypatch.setenv("PATH", "")
    assert built_kernel() == sources / "build" / "lab-kernel-stripped.elf"


def test_a_checkout_is_compiled_in_place_and_again_when_a_source_is_newer(checkout: Path) -> None:
    kernel = built_kernel()
    assert kernel == checkout / "build" / "lab-kernel-stripped.elf"
    before = kernel.stat().st_mtime_ns
    assert built_kernel().stat().st_mtime_ns == before
    (checkout / "main.c").write_text("second")
    later(checkout / "main.c")
    assert built_kernel().read_text() == "second"


def test_a_module_that_is_missing_is_compiled(checkout: Path) -> None:
    built_kernel()
    (checkout / "modules" / "extra").mkdir(parents=True)
    (checkout / "modules" / "extra" / "module.toml").touch()
    rule = "all: $(O)/modules/extra.so\n$(O)/modules/extra.so: main.c\n\tmkdir -p $(@D) && cp $< $@\n"
    (checkout / "Makefile").write_text(MAKEFILE + rule)
    assert built_module("extra").read_text() == "first"


def test_compiler_errors_are_shown(checkout: Path) -> None:
    (checkout / "Makefile").write_text("all:\n\t@echo 'main.c:1: no semicolon' >&2; exit 1\n")
    with pytest.raises(KernelBuildError, match=r"main\.c:1: no semicolon") as caught:
        built_kernel()
    assert isinstance(caught.value, OsvlabError)
    assert "make -C" in str(caught.value.hint)


@pytest.mark.parametrize("tool", ["make", "gcc", "objcopy"])
def test_a_missing_tool(checkout: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else real(name))
    with pytest.raises(KernelBuildError, match="apt-get install"):
        built_kernel()


def test_missing_musl(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_build, "LIBRARIES", {tmp_path / "libc.a": "musl-dev"})
    with pytest.raises(KernelBuildError, match="musl-dev"):
        built_kernel()


def test_folders_with_spaces(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "Ada Lovelace" / "cache"))
    assert built_kernel().read_text() == "first"
    assert "Ada Lovelace" in str(built_kernel())


def test_a_checkout_in_a_folder_with_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "my clone" / "osvlab" / "kernel"
    sources.mkdir(parents=True)
    (sources / "Makefile").write_text(MAKEFILE)
    (sources / "main.c").write_text("first")
    (tmp_path / "my clone" / "pyproject.toml").touch()
    monkeypatch.setattr(kernel_build, "SOURCES", sources)
    assert built_kernel() == sources / "build" / "lab-kernel-stripped.elf"


def test_a_build_of_another_user(checkout: Path) -> None:
    (checkout / "build").mkdir()
    (checkout / "build" / ".lock").mkdir()  # cannot be opened, also by root
    with pytest.raises(KernelBuildError, match=r"cannot compile the lab kernel in .*build") as caught:
        built_kernel()
    assert "sudo rm -r" in str(caught.value.hint)
