"""Programs that plain gcc made, on the runtime: linking, thread-local storage, libc, processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kernel.runtime import Runtime

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
DEBIAN = [
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libz.so.1",
    "libyaml-0.so.2",
    "libsqlite3.so.0",
    "libcrypto.so.3",
]
DEBIAN += ["libssl.so.3", "libgomp.so.1", "libexpat.so.1", "libffi.so.8"]


KINDS = {
    "pie": [],
    "non-pie": ["-no-pie"],
    "static": ["-static"],
    "static-pie": ["-static-pie"],
    "sysv-hash": ["-Wl,--hash-style=sysv"],
    "lazy": ["-Wl,-z,lazy"],
    "relr": ["-Wl,-z,pack-relative-relocs"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_basics(runtime: Runtime, kind: str) -> None:
    program = runtime.compile("basics.c", "-pthread", *KINDS[kind])
    ended = runtime.run(f"--env=A=b\\ c {program} -a -b x last")
    assert (ended.output, ended.errors, ended.status) == ("ok\n", "", 0)


@pytest.mark.skipif(not shutil.which("musl-gcc"), reason="needs musl-gcc (musl-tools)")
@pytest.mark.parametrize("flags", [[], ["-static"]], ids=["dynamic", "static"])
def test_basics_with_musl(runtime: Runtime, flags: list[str]) -> None:
    program = runtime.compile("basics.c", *flags, compiler=["musl-gcc"])
    assert runtime.run(f"--env=A=b\\ c {program} -a -b x last").output == "ok\n"


@pytest.mark.parametrize("dialect", ["gnu", "gnu2"])
@pytest.mark.parametrize("pie", ["-pie", "-no-pie"])
def test_thread_local_storage(runtime: Runtime, dialect: str, pie: str) -> None:
    library = runtime.library("tls_library.c", f"-mtls-dialect={dialect}")
    program = runtime.compile("tls.c", pie, "-pthread", str(library), "-Wl,-rpath,$ORIGIN")
    assert runtime.run(str(program)).output == "ok\n"


@pytest.mark.parametrize("dialect", ["gnu", "gnu2"])
def test_dlopen(runtime: Runtime, dialect: str) -> None:
    flag = f"-mtls-dialect={dialect}"
    plugin = runtime.library("plugin.c", flag)
    fixed = runtime.library("plugin.c", '-DMODEL="initial-exec"', '-DNAME="fixed"', flag, name="libfixed.so")
    missing = runtime.library("plugin.c", "-DMISSING", flag, name="libmissing.so")
    program = runtime.compile("dlopen.c", "-pthread", "-rdynamic")
    ended = runtime.run(f"{program} {plugin} {fixed} {missing}")
    assert (ended.errors, ended.status) == ("", 0)
    assert ended.output.splitlines() == [
        "constructor of plugin",
        "constructor of fixed",
        "ok",
        "destructor of fixed",
        "destructor of plugin",
    ]


def test_ifunc_and_relr(runtime: Runtime) -> None:
    library = runtime.library("ifunc_library.c", "-Wno-attributes")
    for flags in ([], ["-Wl,-z,pack-relative-relocs"], ["-no-pie"]):
        program = runtime.compile("ifunc.c", *flags, str(library), "-Wl,-rpath,$ORIGIN")
        assert runtime.run(str(program)).output == "ok\n"


def test_order_of_life(runtime: Runtime) -> None:
    lower = runtime.library("order_library.c", '-DLETTER="b"', name="libb.so")
    folder = ("-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", f"-L{lower.parent}")
    runtime.library("order_library.c", '-DLETTER="a"', *folder, "-lb", name="liba.so")
    program = runtime.compile("order.c", "-no-pie", *folder, "-la")
    ended = runtime.run(f"{program} last")
    assert ended.output.splitlines() == [
        "before everything 2 last",
        "library b begins 2 last envp",
        "library a begins 2 last envp",
        "program begins 101",
        "program begins 2 last envp",
        "mainatexit 2",
        "atexit 1",
        "program ends",
        "library a ends",
        "library b ends",
        f"program {program} returned 3",
    ]


HEAP_FLAGS = ("-pthread", "-fno-builtin")


def test_the_heap_under_threads(runtime: Runtime) -> None:
    program = runtime.compile("heap.c", *HEAP_FLAGS)
    assert subprocess.run([program], capture_output=True, timeout=60, check=False).stdout == b"ok\n"
    ended = runtime.run(str(program))
    assert (ended.output, ended.errors, ended.status) == ("ok\n", "", 0)


@pytest.mark.parametrize("size", ["small", "middle", "large"])
@pytest.mark.parametrize("rule", ["twice", "elsewhere", "inside", "wild", "realloc-twice", "realloc-inside"])
def test_what_breaks_the_rules_of_the_heap_is_found_out(runtime: Runtime, rule: str, size: str) -> None:
    program = runtime.compile("heap.c", *HEAP_FLAGS)
    ended = runtime.run(f"{program} {rule}-{size}")
    assert "survived" not in ended.output
    assert ended.status == 128 + signal.SIGABRT
    invalid = "inside" in rule or "wild" in rule or size == "large"
    assert ("invalid pointer" if invalid else "double free detected") in ended.errors


def test_own_malloc(runtime: Runtime) -> None:
    library = runtime.library("ifunc_library.c", "-Wno-attributes")
    for more in (
        [],
        ["-Wl,--no-as-needed", library],
    ):  # more objects, more that the linker allocates for itself
        program = runtime.compile("own_malloc.c", "-fno-builtin", *more)
        assert runtime.run(str(program)).output == "ok\n"


def test_main_in_a_library(runtime: Runtime) -> None:
    library = runtime.library("library_main.c")
    ended = runtime.run(f"{library} x")
    assert ended.output == f"main of a library: 2 x\nprogram {library} returned 6\n"
    assert ended.status == 6


def test_glibc_names(runtime: Runtime) -> None:
    program = runtime.compile("glibc.c", "-pthread", "-rdynamic", "-fno-omit-frame-pointer")
    ended = runtime.run(str(program))
    assert ended.output == "ok\n"
    assert "an error about nothing: No such file or directory" in ended.errors


def test_fortify(runtime: Runtime) -> None:
    program = runtime.compile(
        "fortify.c", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-Wno-stringop-overflow"
    )
    assert runtime.run(str(program)).output == "ok\n"
    ended = runtime.run(f"{program} overflow")
    assert ended.errors == "*** buffer overflow detected ***: terminated\n"
    assert ended.status == 128 + 6


def test_cplusplus(runtime: Runtime) -> None:
    compiler = ["g++"]
    library = runtime.library("cxx_library.cpp", compiler=compiler)
    program = runtime.compile("cxx.cpp", "-pthread", str(library), "-Wl,-rpath,$ORIGIN", compiler=compiler)
    ended = runtime.run(str(program))
    assert ended.output.splitlines() == [
        "unwound",
        "caught thrown 42",
        *["destroyed per thread"] * 2,
        "ff 1.5 1 per thread",
        "destroyed per thread",
        "destroyed global",
    ]
    assert ended.status == 0


def test_a_program_leaves_nothing_behind(runtime: Runtime) -> None:
    leave, basics = runtime.compile("leave.c", "-pthread"), runtime.compile("basics.c", "-pthread")
    ended = runtime.run(f"--env=A=b\\ c {leave}; {basics} -a -b x last; {leave}; {basics} -a -b x last")
    assert ended.output.splitlines().count("ok") == 2
    assert ended.output.count("returned 5") == 2
    ended = runtime.run(
        "--env=A=b\\ c " + f"{leave} & {basics} -a -b x last & " * 4 + f"{basics} -a -b x last"
    )
    assert ended.output.splitlines().count("ok") == 5
    assert ended.status == 0


def test_programs_start_programs(runtime: Runtime) -> None:
    program = runtime.compile("spawn.c")
    ended = runtime.run(f"--env=WRITABLE={runtime.folder} {program}")
    assert (ended.errors, ended.status) == ("", 0)
    assert sorted(ended.output.splitlines()) == ["- grandchild 3", "ok"]


def test_a_program_sets_the_environment_of_later_ones(runtime: Runtime) -> None:
    program = runtime.compile("environment.c")
    ended = runtime.run(f"--env=GIVEN=1 {program} set; {program} get")
    assert (ended.output, ended.errors, ended.status) == ("ok\n", "", 0)


@pytest.mark.parametrize("file", DEBIAN)
def test_debian_libraries_find_what_they_want(built: Path, file: str) -> None:
    library = LIBRARIES / file
    if not library.exists():
        pytest.skip(f"{file} is not installed here")

    def symbols(path: Path, which: str) -> list[list[str]]:
        argv = ["nm", "-D", which, str(path)]
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line.split() for line in lines]

    have = {fields[-1] for fields in symbols(built, "--defined-only")}
    want = {
        f[-1].partition("@")[0]
        for f in symbols(library, "--undefined-only")
        if f[-2] == "U" and "@GLIBC" in f[-1]
    }
    assert want
    assert not want - have
