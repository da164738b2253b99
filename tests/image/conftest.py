"""Things images are made of: a kernel file, programs, directories."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.kernels import Kernel

# An ELF file that says of itself that it is the lab kernel: with the notes, and with a few symbols.
# It boots nowhere; making and checking images needs no more of a kernel.
KERNEL = r"""
__asm__(".pushsection .note.xen, \"a\", @note\n.long 4, 8, 18\n.asciz \"Xen\"\n.quad 0x200ff0\n.popsection\n"
        ".pushsection .note.osvlab, \"a\", @note\n.long 7, 4, 1\n.asciz \"osvlab\"\n"
        ".balign 4\n.asciz \"9.9\"\n"
        ".popsection\n");
char filler[100000] = {1};
void *stdout;
int printf(void) { return 0; }
int puts(void) { return 0; }
int __libc_start_main(void) { return 0; }
int __cxa_finalize(void) { return 0; }
"""

OSV_STUB = r"""
__asm__(".pushsection .note.xen, \"a\", @note\n.long 4, 8, 18\n.asciz \"Xen\"\n.quad 1\n.popsection");
int main(void) { return 0; }
"""

HELLO = r"#include <stdio.h>" "\n" r'int main(void) { puts("hello"); return 0; }'

Compile = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("gcc") is None:
        for item in items:
            if {"compile", "kernel", "app", "osv_stub"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.skip(reason="needs gcc"))


def _compile(target: Path, source: str, *options: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-x", "c", "-", "-o", str(target), *options]
    subprocess.run(command, input=source.encode(), check=True, capture_output=True, timeout=60)
    return target


@pytest.fixture(scope="session")
def compile() -> Compile:
    return _compile


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    folder = tmp_path_factory.mktemp("kernel")
    path = _compile(folder / "kernel.elf", KERNEL, "-shared", "-nostdlib", "-fPIC", "-w")
    boot = bytes([0xEA, 0x5E, 0x7C, 0, 0]) + bytes(505) + b"\x55\xaa"
    (folder / "boot.bin").write_bytes(boot)
    return Kernel.open(path)


@pytest.fixture
def osv_stub(tmp_path: Path) -> Path:
    """A file that says of itself that it is OSv: linked where OSv is, with a PVH note."""
    options = (
        *("-nostdlib", "-static", "-w"),
        *("-Wl,-Ttext-segment=0x40200000", "-Wl,-e,0", "-Wl,--build-id=none"),
    )
    return _compile(tmp_path / "osv.elf", OSV_STUB, *options)


@pytest.fixture(scope="session")
def _hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _compile(tmp_path_factory.mktemp("hello") / "hello", HELLO)


@pytest.fixture
def app(tmp_path: Path, _hello: Path) -> Path:
    """A directory with a program, as people have it."""
    folder = tmp_path / "app"
    folder.mkdir()
    shutil.copy(_hello, folder / "hello")
    (folder / "etc").mkdir()
    (folder / "etc/motd").write_text("welcome\n")
    (folder / "link").symlink_to("/etc/motd")
    return folder
