from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.elf.program import Program, ProgramKind
from osvlab.elf.recognise import NotAProgramError
from tests.elf.programs import compiled, compiled_once, needs_gcc


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
    assert program.needed == ("libc.so.6",)
    assert program.runpath == ("/opt/lib", "$ORIGIN/lib")
    assert program.interpreter == "/lib64/ld-linux-x86-64.so.2"


@needs_gcc
def test_a_library(tmp_path: Path) -> None:
    options = ("-shared", "-fPIC", "-Wl,-soname,libl.so.1")
    library = Program.open(compiled(tmp_path, "l", *options, source="int f(void) { return 1; }"))
    assert library.kind is ProgramKind.LIBRARY
    assert library.soname == "libl.so.1"


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such program: .*absent"):
        Program.open(tmp_path / "absent")
    with pytest.raises(NotAProgramError, match=r"Is a directory"):
        Program.open(tmp_path)


@needs_gcc
def test_without_section_headers(hello: bytes) -> None:
    bare = bytearray(hello)
    struct.pack_into("<Q", bare, 40, 0)
    struct.pack_into("<HHH", bare, 58, 0, 0, 0)
    full, stripped = Program.read(io.BytesIO(hello), "p"), Program.read(io.BytesIO(bytes(bare)), "p")
    assert stripped == full


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
@given(data=st.data())
@settings(deadline=5000, max_examples=150)
def test_random_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    image = bytearray(compiled_once(tmp_path_factory.getbasetemp()))
    at = st.one_of(st.integers(0, 0x800), st.integers(0, len(image) - 1))
    for _ in range(data.draw(st.integers(1, 5))):
        image[data.draw(at)] = data.draw(st.integers(0, 255))
    try:
        Program.read(io.BytesIO(bytes(image)), "p")
    except NotAProgramError:
        return
