"""ELF files: what a program is and what it needs."""

from __future__ import annotations

from osvlab.elf.program import NotAProgramError, Program, ProgramKind, Symbol

__all__ = ["NotAProgramError", "Program", "ProgramKind", "Symbol"]
