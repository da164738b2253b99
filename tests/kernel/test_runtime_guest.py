"""The runtime's own test programs, on the lab kernel: what ran over Linux must run there, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image
from tests.kernel.runtime import Runtime

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("runtime")
    maker, cxx = Runtime(Path("/nonexistent"), tree), ["g++"]
    here = ("-Wl,-rpath,$ORIGIN", f"-L{tree}", "-pthread")
    for kind, flags in {"": (), "-nopie": ("-no-pie",), "-static": ("-static",)}.items():
        maker.compile("basics.c", "-pthread", *flags, name=f"basics{kind}")
    maker.compile("basics.c", "-pthread", "-static-pie", name="basics-static-pie")
    maker.library("tls_library.c")
    maker.compile("tls.c", *here, "-ltls_library")
    maker.library("plugin.c")
    maker.library("plugin.c", '-DMODEL="initial-exec"', '-DNAME="fixed"', name="libfixed.so")
    maker.library("plugin.c", "-DMISSING", name="libmissing.so")
    maker.compile("dlopen.c", "-pthread", "-rdynamic")
    maker.library("ifunc_library.c", "-Wno-attributes")
    maker.compile("ifunc.c", *here, "-lifunc_library", "-Wl,-z,pack-relative-relocs")
    maker.compile("own_malloc.c", "-fno-builtin")
    maker.compile("heap.c", "-pthread", "-fno-builtin")
    maker.compile("glibc.c", "-pthread", "-rdynamic", "-fno-omit-frame-pointer")
    maker.compile("leave.c", "-pthread")
    maker.compile("die.c")
    maker.compile("spawn.c")
    maker.compile("environment.c")
    maker.compile(
        "die.c", "-no-pie", "-Wl,-Ttext-segment=0x40000000,-z,max-page-size=0x400000", name="collides"
    )
    maker.library("library_main.c")
    maker.library("cxx_library.cpp", compiler=cxx)
    maker.compile("cxx.cpp", *here, "-lcxx_library", compiler=cxx)
    (tree / "usr" / "lib").mkdir(parents=True)
    for name in ("libstdc++.so.6", "libgcc_s.so.1"):
        shutil.copy(LIBRARIES / name, tree / "usr" / "lib")
    return build(tree, command="/die 0", output=tree.parent / "runtime.img", check=False)


def run(image: Image, command: str, memory: str = "64M") -> tuple[list[str], object]:
    with osvlab.run(image, command=command, memory=memory, timeout=60) as vm:
        outcome = vm.wait()
        text = vm.console.text
    return text.partition("Cmdline: ")[2].splitlines()[1:], outcome


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["basics", "basics-nopie", "basics-static", "basics-static-pie"])
def test_basics(image: Image, name: str) -> None:
    lines, outcome = run(image, f"--env=A=b\\ c /{name} -a -b x last")
    assert (lines, outcome) == (["ok"], osvlab.Exited(0))


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["tls", "ifunc", "own_malloc", "heap", "glibc"])
def test_programs(image: Image, name: str) -> None:
    lines, outcome = run(image, f"/{name}")
    assert (lines[-1], outcome) == ("ok", osvlab.Exited(0))


@pytest.mark.qemu
def test_dlopen(image: Image) -> None:
    lines, outcome = run(image, "/dlopen /libplugin.so /libfixed.so /libmissing.so")
    assert (lines[2:], outcome) == (["ok", "destructor of fixed", "destructor of plugin"], osvlab.Exited(0))


@pytest.mark.qemu
def test_cplusplus(image: Image) -> None:
    lines, outcome = run(image, "/cxx")
    assert outcome == osvlab.Exited(0), lines
    assert lines[:2] == ["unwound", "caught thrown 42"]
    assert lines[-1] == "destroyed global"


@pytest.mark.qemu
def test_a_program_leaves_nothing_behind(image: Image) -> None:
    lines, outcome = run(
        image, "--env=A=b\\ c /leave; /basics -a -b x last; /leave & /leave & /basics -a -b x last"
    )
    assert lines.count("ok") == 2
    assert lines.count("program /leave returned 5") == 3
    assert outcome == osvlab.Exited(0)


@pytest.mark.qemu
def test_programs_start_programs(image: Image) -> None:
    """Many, in a machine too small for leaks."""
    lines, outcome = run(image, "/spawn count 60", memory="24M")
    assert outcome == osvlab.Exited(0), lines
    assert sorted(lines) == ["- grandchild 3", "ok"]


@pytest.mark.qemu
def test_a_program_sets_the_environment_of_later_ones(image: Image) -> None:
    lines, outcome = run(image, "--env=GIVEN=1 /environment set; /environment get")
    assert (lines, outcome) == (["ok"], osvlab.Exited(0))


@pytest.mark.qemu
def test_statuses_and_refusals(image: Image) -> None:
    assert run(image, "/libplugin.so")[0][0] == "/libplugin.so: Failed looking up main"
    assert run(image, "/liblibrary_main.so x") == (
        ["main of a library: 2 x", "program /liblibrary_main.so returned 6"],
        osvlab.Exited(6),
    )
    lines, outcome = run(image, "/collides 0")
    assert lines[0].startswith("Non-PIC executable [/collides] collides with kernel: ")
    assert outcome == osvlab.Exited(126)
    assert run(image, "/die 3 & /die wait &! /die 9")[1] == osvlab.Exited(9)
    assert run(image, "--frobnicate /die 0")[1] == osvlab.Exited(2)
    assert run(image, "/absent")[1] == osvlab.Exited(127)
