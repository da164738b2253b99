"""What an ELF program is, and what it needs from a kernel and from libraries.

Headers and the dynamic section are read with pyelftools.

Source of the format: System V ABI with the x86-64 supplement, and `elf.h`.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from osvlab.elf.recognise import AGAIN, NotAProgramError, check_header, check_start, damaged
from osvlab.elf.symbols import Symbol, SymbolTable
from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError, open_bytes

__all__ = ["Program", "ProgramKind"]

_DF_1_NODEFLIB, _DF_1_PIE = 0x800, 0x08000000
# Far more than any real table; a damaged size must not make us read gigabytes.
_LARGEST_TABLE = 256 * 1024 * 1024


class ProgramKind(StrEnum):
    """How a program is linked, which decides how a kernel loads it."""

    PIE = "dynamic PIE"
    DYNAMIC = "dynamic executable"
    STATIC = "static executable"
    STATIC_PIE = "static PIE"
    SHARED = "shared object with main"
    LIBRARY = "shared library"

    @property
    def is_static(self) -> bool:
        """Whether it brings its own libc and enters the kernel by `syscall` only."""
        return self in (ProgramKind.STATIC, ProgramKind.STATIC_PIE)


@dataclass(frozen=True, slots=True)
class Program:
    """An x86-64 ELF program or library.

    Attributes
    ----------
    name
        What it was opened as.
    kind
        How it is linked.
    size
        Bytes of the file.
    memory
        Bytes of memory its segments take, from the lowest address to the highest.
    lowest_address
        Where the first segment is linked; 0 for what can be loaded anywhere.
    entry
        The entry point, as linked.
    interpreter
        The dynamic linker it names, or None.
    soname
        The name under which a library wants to be known, or None.
    needed
        Libraries it needs, in order.
    runpath
        Folders it wants them looked for in (DT_RUNPATH), `$ORIGIN` not expanded.
    rpath
        The same in the older form (DT_RPATH); empty beside a `runpath`, which sets it aside.
    undefined
        Symbols it expects from the kernel or from libraries, in the order of its table.
    defined
        Names it defines for others.
    tls_size
        Bytes of thread-local storage of each thread.
    only_own_folders
        It forbids to look in the system's folders for what it needs (`-z nodefaultlib`).

    Examples
    --------
    >>> import sys
    >>> program = Program.open(sys.executable)
    >>> program.interpreter
    '/lib64/ld-linux-x86-64.so.2'
    >>> any(symbol.name == "__libc_start_main" for symbol in program.undefined)
    True
    """

    name: str
    kind: ProgramKind
    size: int
    memory: int
    lowest_address: int
    entry: int
    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]
    runpath: tuple[str, ...]
    rpath: tuple[str, ...]
    undefined: tuple[Symbol, ...]
    defined: frozenset[str]
    tls_size: int
    only_own_folders: bool

    @classmethod
    def open(cls, path: str | bytes | os.PathLike[str], name: str | None = None) -> Program:
        """Read a program from a file.

        Raises
        ------
        PathNotFoundError
            There is no such file.
        NotAProgramError
            It is no ELF program for x86-64, or it is damaged.
        """
        shown = name if name is not None else os.fsdecode(path)
        try:
            with open(open_bytes(path), "rb") as stream:
                return cls.read(stream, shown)
        except FileNotFoundError:
            raise PathNotFoundError(f"no such program: {shown}", hint="Check the path.") from None
        except OSError as error:
            raise NotAProgramError(
                f"cannot read the program {shown}: {error.strerror}",
                hint="Check path and permissions.",
            ) from error

    @classmethod
    def read(cls, stream: BinaryIO, name: str) -> Program:
        """Read a program from a binary stream; `name` is what errors call it.

        Raises
        ------
        NotAProgramError
            It is no ELF program for x86-64, or it is damaged.
        """
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        check_start(stream.read(256), name, size)
        stream.seek(0)
        try:
            elf = ELFFile(stream)
            check_header(elf, name)
            return _Parts(elf, stream, size, name).program()
        # What pyelftools raises on damaged files depends on where it stumbles.
        except (ELFError, ConstructError, struct.error, ArithmeticError, LookupError, ValueError) as error:
            if isinstance(error, OsvlabError):
                raise
            raise damaged(name, f"{type(error).__name__}: {error}") from error
        except (AttributeError, TypeError, AssertionError, MemoryError) as error:
            raise damaged(name, f"{type(error).__name__}: {error}") from error


class _Parts:
    """The pieces of an ELF file on the way to a `Program`."""

    def __init__(self, elf: Any, stream: BinaryIO, size: int, name: str) -> None:
        self.elf = elf
        self.stream = stream
        self.size = size
        self.name = name
        self.segments = list(elf.iter_segments())
        self.loads = [segment for segment in self.segments if segment["p_type"] == "PT_LOAD"]
        if not self.loads:
            raise damaged(name, "it has no segment to load")
        for index, segment in enumerate(self.segments):
            end = segment["p_offset"] + segment["p_filesz"]
            if segment["p_type"] in ("PT_LOAD", "PT_DYNAMIC", "PT_INTERP") and end > size:
                raise NotAProgramError(
                    f"{name} is truncated: segment {index} ends at byte {end}, the file has {size}",
                    hint=AGAIN,
                )

    def program(self) -> Program:
        dynamic = next((s for s in self.segments if isinstance(s, DynamicSegment)), None)
        interpreter = next((s for s in self.segments if s["p_type"] == "PT_INTERP"), None)
        tags: dict[str, int] = {}
        lists: dict[str, list[str]] = {"DT_NEEDED": [], "DT_RUNPATH": [], "DT_RPATH": [], "DT_SONAME": []}
        for tag in dynamic.iter_tags() if dynamic is not None else ():
            if tag.entry.d_tag in lists:
                text = getattr(tag, tag.entry.d_tag[3:].lower())
                lists[tag.entry.d_tag].append(str(text))
            tags[str(tag.entry.d_tag)] = int(tag.entry.d_val)
        undefined, defined = SymbolTable(self.elf, tags, self._at, self.name).parted()
        first = min(segment["p_vaddr"] for segment in self.loads)
        return Program(
            name=self.name,
            kind=self._kind(tags, interpreter is not None, dynamic is not None, "main" in defined),
            size=self.size,
            memory=max(segment["p_vaddr"] + segment["p_memsz"] for segment in self.loads) - first,
            lowest_address=first,
            entry=self.elf.header["e_entry"],
            interpreter=interpreter.get_interp_name() if interpreter is not None else None,
            soname=next(iter(lists["DT_SONAME"]), None),
            needed=tuple(lists["DT_NEEDED"]),
            runpath=_folders(lists["DT_RUNPATH"]),
            rpath=() if lists["DT_RUNPATH"] else _folders(lists["DT_RPATH"]),
            undefined=undefined,
            defined=defined,
            tls_size=sum(s["p_memsz"] for s in self.segments if s["p_type"] == "PT_TLS"),
            only_own_folders=bool(tags.get("DT_FLAGS_1", 0) & _DF_1_NODEFLIB),
        )

    def _kind(self, tags: dict[str, int], interpreted: bool, dynamic: bool, has_main: bool) -> ProgramKind:
        if self.elf.header["e_type"] == "ET_EXEC":
            return ProgramKind.DYNAMIC if interpreted else ProgramKind.STATIC
        if tags.get("DT_FLAGS_1", 0) & _DF_1_PIE or not dynamic:
            return ProgramKind.PIE if interpreted else ProgramKind.STATIC_PIE
        if has_main and not interpreted:
            return ProgramKind.SHARED
        # Linkers before 2015 did not mark a PIE; a name of its own marks a library that can also be run.
        return ProgramKind.PIE if interpreted and "DT_SONAME" not in tags else ProgramKind.LIBRARY

    def _at(self, address: int, length: int, what: str) -> bytes:
        """Read bytes by the address at which they will be loaded."""
        for segment in self.loads:
            offset = address - segment["p_vaddr"]
            if offset >= 0 and offset + length <= segment["p_filesz"] and length <= _LARGEST_TABLE:
                self.stream.seek(segment["p_offset"] + offset)
                return self.stream.read(length)
        raise damaged(self.name, f"its {what} ({length} bytes at {address:#x}) is in no segment")


def _folders(texts: list[str]) -> tuple[str, ...]:
    return tuple(folder for text in texts for folder in text.split(":") if folder)
