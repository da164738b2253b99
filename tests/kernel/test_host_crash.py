"""The unwinder and the symbol table on the host under the sanitizers."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import host

UNWINDER = [f"crash/{name}.c" for name in ("unwind", "eh_frame", "dwarf", "guess", "symbols")]
UNWINDER += ["crash/no_symbols.S"]
START = 0x40200000


def test_unwinder_agrees_with_glibc_and_survives_damage(tmp_path: Path) -> None:
    bare = ["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fomit-frame-pointer"]
    argv = ["gcc", *bare, "-c", "tests/host/unwind_bare.c", "-o", str(tmp_path / "bare.o")]
    subprocess.run(argv, cwd=host.KERNEL, check=True)
    sources = ["tests/host/unwind_test.c", *UNWINDER, str(tmp_path / "bare.o")]
    program = host.build(tmp_path / "unwind_test", sources, ["-iquote", "crash", "-rdynamic"])
    assert host.run(program) == "ok\n"


def make_table(lines: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, host.KERNEL / "tools" / "symbols.py"],
        input="\n".join(lines), capture_output=True, text=True, check=False,
    )  # fmt: skip


def lookup(folder: Path, table: str, addresses: list[int]) -> list[str]:
    (folder / "table.S").write_text(table)
    tables = ["crash/no_symbols.S", str(folder / "table.S")]
    sources = ["tests/host/symbols_test.c", "crash/symbols.c", *tables]
    flags = ["-no-pie", f"-Wl,--defsym=kernel_start_address={START:#x}"]
    program = host.build(folder / "symbols_test", sources, flags)
    return host.run(program, *(f"{a:x}" for a in addresses)).splitlines()


def test_symbol_table_gives_back_every_function(tmp_path: Path) -> None:
    generator = random.Random(5)
    addresses = sorted(generator.sample(range(START + 0x1000, START + 0x90000), 500))
    functions = {a: f"function_{i}" for i, a in enumerate(addresses)}
    end = addresses[-1] + 100
    lines = [f"{a:016x} {generator.choice('Tt')} {name}" for a, name in functions.items()]
    lines += [
        f"{START:016x} D kernel_start_address",
        f"{end:016x} R text_end",
        f"{end + 8:016x} d some_data",
    ]
    lines += ["                 U undefined", f"{addresses[7]:016x} W _alias_of_7"]
    made = make_table(lines)
    assert made.returncode == 0, made.stderr

    questions = [addresses[0] - 1, end - 1, end, end + 1000, 0, 2**64 - 1]
    questions += [a + generator.choice([0, 1]) for a in addresses[:-1]]
    answers = lookup(tmp_path, made.stdout, questions)
    assert answers[:6] == ["-", "function_499 99", "-", "-", "-", "-"]
    for question, answer in zip(questions[6:], answers[6:], strict=True):
        owner = max(a for a in addresses if a <= question)
        assert answer == f"{functions[owner]} {question - owner}"


def test_first_link_has_an_empty_table(tmp_path: Path) -> None:
    assert lookup(tmp_path, "", [0, START, START + 100]) == ["-", "-", "-"]


@pytest.mark.parametrize("missing", ["kernel_start_address", "text_end"])
def test_symbols_without_the_kernels_bounds_are_refused(missing: str) -> None:
    lines = [f"{START:x} D kernel_start_address", f"{START + 64:x} R text_end", f"{START + 8:x} T f"]
    made = make_table([line for line in lines if missing not in line])
    assert made.returncode != 0
    assert missing in made.stderr
