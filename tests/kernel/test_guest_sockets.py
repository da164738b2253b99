"""Sockets in the guest: the same programs, and the same errors, on Linux and on the lab kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image

PROGRAMS = Path(__file__).parent / "guest" / "network"
NAMES = ["local", "rights", "waiting", "datagrams", "streams", "interfaces"]
# Wild pointers are what it is about.
ERRORS_FLAGS = ["-static", "-Wno-stringop-overread", "-Wno-stringop-overflow", "-Wno-nonnull"]

pytestmark = pytest.mark.qemu


def compile_program(name: str, output: Path, *flags: str) -> Path:
    argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", *flags]
    subprocess.run([*argv, str(PROGRAMS / f"{name}.c"), "-o", str(output)], check=True)
    return output


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("sockets")
    for name in NAMES:
        compile_program(name, tree / name)
        compile_program(name, tree / f"{name}-static", "-static")
    compile_program("errors", tree / "errors", *ERRORS_FLAGS)
    return build(tree, command="/local /tmp", output=tree.parent / "sockets.img")


def console_of(image: Image, command: str) -> str:
    with osvlab.run(image, command=command, memory="64M", timeout=120) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        return vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]


@pytest.mark.parametrize("linkage", ["", "-static"])
@pytest.mark.parametrize("name", NAMES)
def test_program_passes_on_linux_and_on_the_lab_kernel(
    name: str, linkage: str, image: Image, tmp_path: Path
) -> None:
    program = compile_program(name, tmp_path / name, *(["-static"] if linkage else []))
    host = subprocess.run([program, tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert host.returncode == 0, host.stdout
    assert f"{name}: ok" in console_of(image, f"/{name}{linkage} /tmp")


def test_every_error_is_the_one_that_linux_gives(image: Image, tmp_path: Path) -> None:
    program = compile_program("errors", tmp_path / "errors", *ERRORS_FLAGS)
    host = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
    assert console_of(image, "/errors").rstrip().splitlines() == host.stdout.splitlines()
