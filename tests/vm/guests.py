"""Tiny guests: PVH kernels of a few instructions, written step by step and assembled by gcc.

They are entered in 32-bit protected mode, say things on the first serial port and on
the report channel, and end in the way that a test is about. They carry the note that
makes the lab take them for its own kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

COM1, REPORT, DEBUG_EXIT = 0x3F8, 0xE9, 0xF4

# A serial port is asked before each byte whether it has room.
SERIAL_LOOP = [
    "2: lodsb; mov %al, %ah",
    f"3: mov ${COM1 + 5}, %edx; in (%dx), %al; test $0x20, %al; jz 3b",
    f"mov ${COM1}, %edx; mov %ah, %al; out %al, (%dx)",
    "loop 2b",
]

FRAME = r"""
.macro note owner, type
    .balign 4
    .long 2f - 1f, 4f - 3f, \type
1:  .asciz "\owner"
2:  .balign 4
3:
.endm
.section .note.boot, "a", @note
    note "Xen", 18
    .long _start
4:  note "osvlab", 1
    .asciz "tiny"
4:  .balign 4
.text
.code32
.globl _start
_start:
    cld
"""


class Guest:
    """A guest under construction; each method adds what it does next."""

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._texts: list[bytes] = []

    def say(self, text: str | bytes, times: int = 1) -> Self:
        """Print on the console, some number of times."""
        return self._out(COM1, text.encode() if isinstance(text, str) else text, times)

    def report(self, event: str, **fields: Any) -> Self:
        """Send a line down the report channel."""
        return self.report_raw(json.dumps({"event": event, **fields}).encode() + b"\n")

    def report_raw(self, line: bytes) -> Self:
        """Send bytes down the report channel."""
        return self._out(REPORT, line, 1)

    def _out(self, port: int, data: bytes, times: int) -> Self:
        self._texts.append(data)
        name = f"text{len(self._texts) - 1}"
        return self.code(
            f"mov ${times}, %ebx",
            f"1: mov ${name}, %esi; mov ${len(data)}, %ecx; mov ${port}, %edx",
            *(["2: rep outsb"] if port != COM1 else SERIAL_LOOP),
            "dec %ebx; jnz 1b",
        )

    def echo_line(self) -> Self:
        """Read the serial port, printing what comes, until a newline."""
        return self.code(
            f"1: mov ${COM1 + 5}, %edx; in (%dx), %al; test $1, %al; jz 1b",
            f"mov ${COM1}, %edx; in (%dx), %al; out %al, (%dx)",
            "cmp $10, %al; jne 1b",
        )

    def leave(self, status: int) -> Self:
        """End QEMU through isa-debug-exit, without a report."""
        return self.code(f"mov ${status}, %al; out %al, ${DEBUG_EXIT}")

    def exit(self, status: int) -> Self:
        """Report an exit status and leave."""
        return self.report("exited", status=status).leave(status)

    def hang(self) -> Self:
        """Do nothing for ever."""
        return self.code("cli", "1: hlt; jmp 1b")

    def spin(self) -> Self:
        """Compute for ever."""
        return self.code("1: jmp 1b")

    def triple_fault(self) -> Self:
        """Fault without a handler, which resets the machine."""
        return self.code("lidt nowhere", "int3")

    def power_off(self) -> Self:
        """Turn the power off through ACPI, where QEMU's pc has it after its BIOS ran."""
        return self.code("mov $0x604, %edx; mov $0x2000, %ax; out %ax, (%dx)").hang()

    def code(self, *lines: str) -> Self:
        """Add instructions."""
        self._steps += lines
        return self

    def assemble(self, folder: Path) -> Path:
        """Write the guest's ELF file into a folder, once."""
        texts = [f"text{n}: .byte {','.join(map(str, data))}" for n, data in enumerate(self._texts) if data]
        source = "\n".join(
            [FRAME, *self._steps, "1: hlt; jmp 1b", ".data", "nowhere: .word 0; .long 0", *texts, ""]
        )
        target = folder / f"guest-{hashlib.sha256(source.encode()).hexdigest()[:16]}.elf"
        if not target.exists():
            handle, temporary = tempfile.mkstemp(dir=folder)
            os.close(handle)
            options = [
                "-nostdlib",
                "-static",
                "-no-pie",
                "-Wl,-Ttext-segment=0x100000,--build-id=none,-z,noexecstack",
            ]
            subprocess.run(
                ["gcc", *options, "-x", "assembler", "-", "-o", temporary],
                input=source.encode(),
                check=True,
            )
            os.replace(temporary, target)
        return target
