"""What is no program is refused, and named."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest

from osvlab.elf.program import Program
from osvlab.elf.recognise import NotAProgramError, is_elf
from tests.elf.programs import needs_gcc


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


@needs_gcc
def test_what_cannot_be_read_is_no_elf_file(tmp_path: Path, hello: bytes) -> None:
    (tmp_path / "hello").write_bytes(hello)
    assert is_elf(tmp_path / "hello")
    assert not is_elf(tmp_path)
    assert not is_elf(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    assert not is_elf(tmp_path / "pipe")  # and does not wait for somebody to write


@needs_gcc
def test_a_truncated_program_says_so(hello: bytes) -> None:
    with pytest.raises(
        NotAProgramError, match=r"truncated: its section headers end at byte \d+, the file has 5000"
    ):
        Program.read(io.BytesIO(hello[:5000]), "p")


@needs_gcc
@pytest.mark.parametrize(("entry_size", "count"), [(0, 0xFFFF), (56, 0x8000), (8, 3)])
def test_program_headers_that_cannot_be(hello: bytes, entry_size: int, count: int) -> None:
    # 65,535 headers in one place are a table of libraries each: minutes of reading the same bytes.
    image = bytearray(hello)
    image[54:58] = struct.pack("<HH", entry_size, count)
    with pytest.raises(NotAProgramError, match=f"{count} program headers of {entry_size} bytes"):
        Program.read(io.BytesIO(bytes(image)), "p")
