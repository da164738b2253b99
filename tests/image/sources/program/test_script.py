from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.image.collection import RecipeError
from osvlab.image.sources.program.script import Script, read_script

SH = os.path.realpath("/bin/sh")


def script(folder: Path, line: bytes) -> Script | None:
    (folder / "script").write_bytes(line + b"\necho\n")
    return read_script(bytes(folder / "script"))


@pytest.mark.parametrize(
    ("line", "interpreter", "arguments"),
    [
        (b"#!/bin/sh", "/bin/sh", ()),
        (b"#! \t/bin/sh  -e -u ", "/bin/sh", ("-e -u",)),
        (b"#!/bin/sh\t-e", "/bin/sh", ("-e",)),
        (b"#!/usr/bin/env sh", None, ()),
        (b"#!/usr/bin/env -S sh -e 'two words'", None, ("-e", "two words")),
        (b"#!/usr/bin/env -Ssh -e", None, ("-e",)),
    ],
)
def test_first_lines(
    tmp_path: Path, line: bytes, interpreter: str | None, arguments: tuple[str, ...]
) -> None:
    found = script(tmp_path, line)
    assert found is not None
    assert found.arguments == arguments
    assert found.interpreter == interpreter if interpreter else os.path.realpath(found.interpreter) == SH
    assert "#!" not in found.line


@pytest.mark.parametrize("line", [b"", b"\x7fELF", b"echo", b"# !/bin/sh"])
def test_what_is_no_script(tmp_path: Path, line: bytes) -> None:
    assert script(tmp_path, line) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"#!", r"names no interpreter"),
        (b"#!/no/such/shell -e", r"script for /no/such/shell -e, and there is no /no/such/shell here"),
        (b"#!/usr/bin/env no-such-program-here", r"there is no no-such-program-here in \$PATH"),
        (b"#!/bin/sh\r", r"script for '/bin/sh\\r', and there is no '/bin/sh\\r' here"),
        (b"#!/usr/bin/env sh -e", r"there is no sh -e in \$PATH"),
        (b"#!/usr/bin/env -i sh", r"says too little about what reads it"),
        (b"#!/usr/bin/env A=b sh", r"says too little"),
        (b"#!/usr/bin/env -S 'sh", r"says too little"),
        (b"#!/usr/bin/env", r"says too little"),
    ],
)
def test_scripts_that_nothing_reads(tmp_path: Path, line: bytes, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        script(tmp_path, line)
