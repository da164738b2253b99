"""ELF files: what a program is and what it needs."""

from __future__ import annotations

from osvlab.elf.program import Program, ProgramKind
from osvlab.elf.recognise import NotAProgramError
from osvlab.elf.symbols import Symbol

__all__ = ["NotAProgramError", "Program", "ProgramKind", "Symbol"]
