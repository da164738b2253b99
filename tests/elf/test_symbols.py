"""What programs expect and offer, against what gcc was told to make of them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from osvlab.elf.program import Program
from osvlab.elf.recognise import NotAProgramError
from tests.elf.programs import compiled, needs_gcc


@needs_gcc
def test_what_a_program_expects_of_others(hello: bytes) -> None:
    symbols = {symbol.name: symbol for symbol in Program.read(io.BytesIO(hello), "p").undefined}
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
def test_what_a_library_offers(tmp_path: Path) -> None:
    source = 'int f(void) { return 1; } __attribute__((visibility("hidden"))) int g(void) { return 2; }'
    library = Program.open(compiled(tmp_path, "l", "-shared", "-fPIC", source=source))
    assert "f" in library.defined
    assert "g" not in library.defined


@needs_gcc
def test_a_name_that_is_not_among_the_names(hello: bytes) -> None:
    table = ELFFile(io.BytesIO(hello)).get_section_by_name(".dynsym")
    image = bytearray(hello)
    struct.pack_into("<I", image, table["sh_offset"] + table["sh_entsize"], 1 << 30)
    with pytest.raises(NotAProgramError, match=r"damaged .*a symbol's name is at 1073741824 of \d+ bytes"):
        Program.read(io.BytesIO(bytes(image)), "p")


@needs_gcc
def test_a_table_that_is_in_no_segment(hello: bytes) -> None:
    section = ELFFile(io.BytesIO(hello)).get_section_by_name(".dynamic")
    tags = [tag.entry.d_tag for tag in section.iter_tags()]
    image = bytearray(hello)
    value = section["sh_offset"] + section["sh_entsize"] * tags.index("DT_STRSZ") + 8
    struct.pack_into("<Q", image, value, 1 << 40)
    with pytest.raises(NotAProgramError, match=r"its string table \(1099511627776 bytes at .*in no segment"):
        Program.read(io.BytesIO(bytes(image)), "p")
