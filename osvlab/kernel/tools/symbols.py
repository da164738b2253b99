"""Turn the functions of a linked kernel into the table that crash reports read.

Reads ``nm -n`` output on standard input and writes assembler text on standard output. The form of the
table is described where it is read, in ``crash/symbols.c``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

START = "kernel_start_address"
END = "text_end"
FUNCTION_KINDS = "TtWwi"
# What the linker and the assembler name for their own use.
# What link-time optimisation puts behind the name of a static function; the source does not have it.
SUFFIX = re.compile(r"\.lto_priv\.\d+")
NOT_FUNCTIONS = re.compile(r"text_start$|core_text_(start|end)$|_+start$|\.L")


def rank(name: str, kind: str) -> tuple[bool, bool, int, str]:
    """Order the names of one address: the one a reader knows best comes first."""
    return name.startswith("_"), kind not in "TW", len(name), name


def functions(lines: Iterable[str]) -> tuple[int, list[tuple[int, str]], int]:
    """Give the kernel's start, its functions as (address, name) in order, and the end of its code.

    >>> lines = ["10 A kernel_start_address", "20 T open", "20 W __open", "30 t f.lto_priv.0"]
    >>> functions([*lines, "44 R text_end"])
    (16, [(32, 'open'), (48, 'f')], 68)
    """
    best: dict[int, tuple[str, str]] = {}
    marks: dict[str, int] = {}
    for line in lines:
        fields = line.split()
        if len(fields) != 3:
            continue  # undefined symbols have no address
        address, kind, name = int(fields[0], 16), fields[1], SUFFIX.sub("", fields[2])
        if name in (START, END):
            marks[name] = address
        elif kind not in FUNCTION_KINDS or NOT_FUNCTIONS.match(name):
            continue
        elif address not in best or rank(name, kind) < rank(*best[address]):
            best[address] = (name, kind)
    if missing := {START, END} - marks.keys():
        raise SystemExit(f"symbols.py: the first link defines no {' and no '.join(sorted(missing))}")
    start, end = marks[START], marks[END]
    return start, [(a, best[a][0]) for a in sorted(best) if start <= a < end], end


def assembler(start: int, symbols: list[tuple[int, str]], end: int) -> str:
    """Write the table as a source file.

    >>> print(assembler(16, [(32, "open")], 48))
        .section .kernel_symbols, "a"
        .globl kernel_symbols
        .hidden kernel_symbols
    kernel_symbols:
        .uleb128 16
        .asciz "open"
        .uleb128 16
        .asciz ""
        .section .note.GNU-stack, "", @progbits
    """
    text = ['    .section .kernel_symbols, "a"', "    .globl kernel_symbols", "    .hidden kernel_symbols"]
    text.append("kernel_symbols:")
    before = start
    for address, name in [*symbols, (end, "")]:
        text += [f"    .uleb128 {address - before}", f'    .asciz "{name}"']
        before = address
    text.append('    .section .note.GNU-stack, "", @progbits')
    return "\n".join(text)


if __name__ == "__main__":
    print(assembler(*functions(sys.stdin)))
