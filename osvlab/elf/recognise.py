"""Whether a file is a program at all; and if it is none, what it is instead.

Source of the format: System V ABI with the x86-64 supplement, and `elf.h`.
"""

from __future__ import annotations

import os
import struct
from typing import Any

from osvlab.errors import OsvlabError
from osvlab.paths import open_bytes

__all__ = ["MAGIC", "NotAProgramError", "check_header", "check_start", "damaged", "is_elf"]

MAGIC = b"\x7fELF"
_64_BITS_LITTLE_ENDIAN = b"\x02\x01"
_PROGRAM_HEADER_SIZE = 56
AGAIN = "Compile or copy it again."


class NotAProgramError(OsvlabError, ValueError):
    """A file is no program that an x86-64 library OS can run."""


def is_elf(path: str | bytes | os.PathLike[str]) -> bool:
    """Whether a file starts like an ELF file. Unreadable files do not."""
    try:
        with open(open_bytes(path), "rb", buffering=0) as stream:
            return stream.read(4) == MAGIC
    except OSError:
        return False


def damaged(name: str, problem: str) -> NotAProgramError:
    """Return the error that a file is ELF and cannot be right."""
    return NotAProgramError(f"{name} is a damaged ELF file: {problem}", hint=AGAIN)


def check_start(head: bytes, name: str, size: int) -> None:
    """Refuse what is no ELF file, saying what it is instead, and what is cut off.

    Parameters
    ----------
    head
        Its first bytes, 64 at least if it has so many.
    name, size
        What errors call it, and how many bytes it has.

    Raises
    ------
    NotAProgramError
        It is none, or not whole.

    Examples
    --------
    >>> check_start(b"MZ", "setup.exe", 2)
    Traceback (most recent call last):
    ...
    osvlab.elf.recognise.NotAProgramError: setup.exe is a Windows program: ...
    """
    if head[:4] != MAGIC:
        raise _something_else(head, name)
    if len(head) < 64:
        raise NotAProgramError(
            f"{name} is truncated: {len(head)} bytes are less than an ELF header", hint=AGAIN
        )
    if head[4:6] != _64_BITS_LITTLE_ENDIAN:
        return  # `check_header` says what that is
    # Section headers come last in the file, so they tell first that its end is missing.
    start, entry_size, count = struct.unpack_from("<40xQ10xHH", head)
    end = start + entry_size * count
    if end > size:
        raise NotAProgramError(
            f"{name} is truncated: its section headers end at byte {end}, the file has {size}", hint=AGAIN
        )
    start, entry_size, count = struct.unpack_from("<32xQ14xHH", head)
    if entry_size != _PROGRAM_HEADER_SIZE or start + entry_size * count > size:
        raise damaged(name, f"it has {count} program headers of {entry_size} bytes at byte {start}")


def _something_else(head: bytes, name: str) -> NotAProgramError:
    if head[:2] == b"#!":
        line = head[2:].split(b"\n")[0].strip().decode("utf-8", "replace")
        return NotAProgramError(
            f"{name} is a script for {line or 'no interpreter'}, not an ELF program",
            hint=f'Put the interpreter into the directory: command="/{_base(line)} /{_base(name)}".',
        )
    if not head:
        return NotAProgramError(f"{name} is empty, not an ELF program", hint=AGAIN)
    kinds = {
        b"MZ": "a Windows program",
        b"\xcf\xfa\xed\xfe": "a macOS program",
        b"!<arch>": "an archive (.a)",
    }
    what = next((kind for start, kind in kinds.items() if head.startswith(start)), None)
    return NotAProgramError(
        f"{name} is {what or 'no program'}: it starts with {head[:4]!r}, an ELF program with {MAGIC!r}",
        hint="Name a program compiled for Linux on x86-64.",
    )


def _base(path: str) -> str:
    return path.split(" ")[0].rpartition("/")[2] or "sh"


_MACHINES = {
    "EM_386": "32-bit x86",
    "EM_AARCH64": "64-bit ARM",
    "EM_ARM": "32-bit ARM",
    "EM_RISCV": "RISC-V",
    "EM_PPC64": "64-bit POWER",
    "EM_S390": "IBM Z",
    "EM_MIPS": "MIPS",
}


def check_header(elf: Any, name: str) -> None:
    """Refuse ELF files (pyelftools' `ELFFile`) for other machines, and those that are not linked."""
    machine = elf.header["e_machine"]
    shown = _MACHINES.get(machine, str(machine).removeprefix("EM_"))
    if elf.elfclass != 64:
        raise NotAProgramError(
            f"{name} is a 32-bit program ({shown}); the kernels run 64-bit programs for x86-64",
            hint="Compile it with -m64.",
        )
    if machine != "EM_X86_64" or not elf.little_endian:
        raise NotAProgramError(
            f"{name} is a program for {shown}; the kernels run programs for x86-64",
            hint="Compile it for x86-64.",
        )
    match elf.header["e_type"]:
        case "ET_EXEC" | "ET_DYN":
            pass
        case "ET_REL":
            raise NotAProgramError(
                f"{name} is an object file, not yet a program", hint="Link it: gcc -o program ..."
            )
        case "ET_CORE":
            raise NotAProgramError(f"{name} is a core dump, not a program", hint="Name the program itself.")
        case other:
            raise damaged(name, f"its type is {other}")
