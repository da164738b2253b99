from __future__ import annotations

import functools
import io
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.elf.program import NotAProgramError, Program, ProgramKind, is_elf

HELLO = """
#include <stdio.h>
extern int wanted(void) __attribute__((weak));
__thread char local[40];
int main(int argc, char **argv) { fprintf(stdout, "hello %d %p\\n", local[argc], (void *)wanted); return 0; }
"""

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def compiled(folder: Path, name: str, *options: str, source: str = HELLO) -> Path:
    (folder / f"{name}.c").write_text(source)
    command = ["gcc", "-o", str(folder / name), str(folder / f"{name}.c"), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / name


@functools.cache
def _hello(folder: Path) -> bytes:
    return compiled(folder, "hello").read_bytes()


@pytest.fixture
def hello(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _hello(tmp_path_factory.getbasetemp())


@needs_gcc
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ([], ProgramKind.PIE),
        (["-pie", "-fPIE"], ProgramKind.PIE),
        (["-no-pie"], ProgramKind.DYNAMIC),
        (["-static"], ProgramKind.STATIC),
        (["-static-pie"], ProgramKind.STATIC_PIE),
        (["-shared", "-fPIC"], ProgramKind.SHARED),
    ],
)
def test_kinds(tmp_path: Path, options: list[str], kind: ProgramKind) -> None:
    program = Program.open(compiled(tmp_path, "p", *options))
    assert program.kind is kind
    assert program.tls_size >= 40
    assert program.kind.is_static == (program.needed == ())
    assert program.memory > 0


@needs_gcc
def test_what_a_program_needs(tmp_path: Path) -> None:
    program = Program.open(compiled(tmp_path, "p", "-Wl,-rpath,/opt/lib:$ORIGIN/lib"))
    symbols = {symbol.name: symbol for symbol in program.undefined}
    assert program.needed == ("libc.so.6",)
    assert program.runpath == ("/opt/lib", "$ORIGIN/lib")
    assert program.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert {"fprintf", "__libc_start_main"} <= {n for n, s in symbols.items() if not s.weak}
    assert symbols["wanted"].weak
    assert "main" not in symbols


@needs_gcc
def test_copied_variables_are_needed_though_the_program_has_a_place_for_them(tmp_path: Path) -> None:
    program = Program.open(compiled(tmp_path, "p", "-no-pie", "-fno-pic"))
    (stdout,) = [symbol for symbol in program.undefined if symbol.name == "stdout"]
    assert stdout.copied
    assert not stdout.weak


@needs_gcc
def test_a_library(tmp_path: Path) -> None:
    source = 'int f(void) { return 1; } __attribute__((visibility("hidden"))) int g(void) { return 2; }'
    library = Program.open(
        compiled(tmp_path, "l", "-shared", "-fPIC", "-Wl,-soname,libl.so.1", source=source)
    )
    assert library.kind is ProgramKind.LIBRARY
    assert library.soname == "libl.so.1"
    assert "f" in library.defined
    assert "g" not in library.defined


@needs_gcc
def test_without_section_headers(hello: bytes) -> None:
    bare = bytearray(hello)
    struct.pack_into("<Q", bare, 40, 0)
    struct.pack_into("<HHH", bare, 58, 0, 0, 0)
    full, stripped = Program.read(io.BytesIO(hello), "p"), Program.read(io.BytesIO(bytes(bare)), "p")
    assert stripped == full


def header(elf_class: int = 2, machine: int = 62, type: int = 3, endian: int = 1) -> bytes:
    start = b"\x7fELF" + bytes([elf_class, endian, 1]) + bytes(9)
    order = "<" if endian == 1 else ">"
    return start + struct.pack(order + "HHIQQQIHHHHHH", type, machine, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "p is empty"),
        (b"#!/bin/sh\necho", "p is a script for /bin/sh, not an ELF program"),
        (b"#!/usr/bin/env python3\n", "script for /usr/bin/env python3"),
        (b"#!", "script for no interpreter"),
        (b"hello\n", "no program: it starts with b'hell'"),
        (b"MZ" + bytes(300), "a Windows program"),
        (b"\x7fELF", "truncated: 4 bytes"),
        (header()[:63], "truncated: 63 bytes"),
        (header(elf_class=1, machine=3), "32-bit program .32-bit x86"),
        (header(machine=183), "program for 64-bit ARM"),
        (header(machine=22, endian=2), "program for IBM Z"),
        (header(machine=4711), "program for 4711"),
        (header(type=1), "object file"),
        (header(type=4), "core dump"),
        (header(type=9), "damaged ELF file: its type is 9"),
        (header(), "no segment to load"),
        (header(elf_class=7), "damaged ELF"),
    ],
)
def test_what_is_no_program_is_told_apart(data: bytes, message: str) -> None:
    with pytest.raises(NotAProgramError, match=message):
        Program.read(io.BytesIO(data), "p")


def test_a_real_script_and_its_hint(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/bash -e\n")
    with pytest.raises(NotAProgramError) as caught:
        Program.open(tmp_path / "run.sh")
    assert 'command="/bash /run.sh"' in str(caught.value)


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such program: .*absent"):
        Program.open(tmp_path / "absent")
    with pytest.raises(NotAProgramError, match=r"Is a directory"):
        Program.open(tmp_path)
    assert not is_elf(tmp_path)
    assert not is_elf(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    assert not is_elf(tmp_path / "pipe")  # and does not wait for somebody to write


@needs_gcc
def test_a_truncated_program_without_section_headers_says_so(hello: bytes) -> None:
    bare = bytearray(hello[:5000])
    struct.pack_into("<Q", bare, 40, 0)
    struct.pack_into("<HHH", bare, 58, 0, 0, 0)
    with pytest.raises(
        NotAProgramError, match=r"truncated: segment \d+ ends at byte \d+, the file has 5000"
    ):
        Program.read(io.BytesIO(bytes(bare)), "p")


@needs_gcc
def test_a_truncated_program_says_so(hello: bytes) -> None:
    with pytest.raises(
        NotAProgramError, match=r"truncated: its section headers end at byte \d+, the file has 5000"
    ):
        Program.read(io.BytesIO(hello[:5000]), "p")


@needs_gcc
@given(data=st.data())
@settings(deadline=5000, max_examples=150)
def test_random_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    image = bytearray(_hello(tmp_path_factory.getbasetemp()))
    at = st.one_of(st.integers(0, 0x800), st.integers(0, len(image) - 1))
    for _ in range(data.draw(st.integers(1, 5))):
        image[data.draw(at)] = data.draw(st.integers(0, 255))
    try:
        Program.read(io.BytesIO(bytes(image)), "p")
    except NotAProgramError:
        return


@needs_gcc
@pytest.mark.parametrize(("entry_size", "count"), [(0, 0xFFFF), (56, 0x8000), (8, 3)])
def test_program_headers_that_cannot_be(hello: bytes, entry_size: int, count: int) -> None:
    # 65,535 headers in one place are a table of libraries each: minutes of reading the same bytes.
    image = bytearray(hello)
    image[54:58] = struct.pack("<HH", entry_size, count)
    with pytest.raises(NotAProgramError, match=f"{count} program headers of {entry_size} bytes"):
        Program.read(io.BytesIO(bytes(image)), "p")
