"""What an ELF program is, and what it needs from a kernel and from libraries.

Headers and the dynamic section are read with pyelftools; symbols and relocations
are unpacked here, because a large library has ten thousand of them.

Source of the format: System V ABI with the x86-64 supplement, and `elf.h`.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError, open_bytes

__all__ = ["NotAProgramError", "Program", "ProgramKind", "Symbol", "is_elf"]

MAGIC = b"\x7fELF"
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_R_X86_64_COPY = 5
_PROGRAM_HEADER_SIZE = 56
_DF_1_NODEFLIB, _DF_1_PIE = 0x800, 0x08000000
_STB_LOCAL, _STB_WEAK = 0, 2
_STV_INTERNAL, _STV_HIDDEN = 1, 2
# Far more than any real table; a damaged size must not make us read gigabytes.
_LARGEST_TABLE = 256 * 1024 * 1024


AGAIN = "Compile or copy it again."


class NotAProgramError(OsvlabError, ValueError):
    """A file is no program that an x86-64 library OS can run."""


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
class Symbol:
    """A symbol that a program expects somebody else to define.

    Attributes
    ----------
    name
        Without its version: neither OSv nor the lab kernel tells versions apart.
    weak
        The program copes when nobody defines it.
    copied
        A variable that is copied into the program, such as `stdout`.
    """

    name: str
    weak: bool = False
    copied: bool = False


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
        _check_start(stream.read(256), name, size)
        stream.seek(0)
        try:
            elf = ELFFile(stream)
            _check_header(elf, name)
            return _Parts(elf, stream, size, name).program()
        # What pyelftools raises on damaged files depends on where it stumbles.
        except (ELFError, ConstructError, struct.error, ArithmeticError, LookupError, ValueError) as error:
            if isinstance(error, OsvlabError):
                raise
            raise _damaged(name, f"{type(error).__name__}: {error}") from error
        except (AttributeError, TypeError, AssertionError, MemoryError) as error:
            raise _damaged(name, f"{type(error).__name__}: {error}") from error


def is_elf(path: str | bytes | os.PathLike[str]) -> bool:
    """Whether a file starts like an ELF file. Unreadable files do not."""
    try:
        with open(open_bytes(path), "rb", buffering=0) as stream:
            return stream.read(4) == MAGIC
    except OSError:
        return False


def _damaged(name: str, problem: str) -> NotAProgramError:
    return NotAProgramError(f"{name} is a damaged ELF file: {problem}", hint=AGAIN)


def _check_start(head: bytes, name: str, size: int) -> None:
    """Refuse what is no ELF file, saying what it is instead."""
    if head[:4] == MAGIC:
        if len(head) < 64:
            raise NotAProgramError(
                f"{name} is truncated: {len(head)} bytes are less than an ELF header", hint=AGAIN
            )
        # Section headers come last in the file, so they tell first that its end is missing.
        start, entry_size, count = struct.unpack_from("<40xQ10xHH", head)
        end = start + entry_size * count
        if head[4:6] == b"\x02\x01" and end > size:
            raise NotAProgramError(
                f"{name} is truncated: its section headers end at byte {end}, the file has {size}",
                hint=AGAIN,
            )
        start, entry_size, count = struct.unpack_from("<32xQ14xHH", head)
        if head[4:6] == b"\x02\x01" and (
            entry_size != _PROGRAM_HEADER_SIZE or start + entry_size * count > size
        ):
            raise _damaged(name, f"it has {count} program headers of {entry_size} bytes at byte {start}")
        return
    if head[:2] == b"#!":
        line = head[2:].split(b"\n")[0].strip().decode("utf-8", "replace")
        raise NotAProgramError(
            f"{name} is a script for {line or 'no interpreter'}, not an ELF program",
            hint=f'Put the interpreter into the directory: command="/{_base(line)} /{_base(name)}".',
        )
    if not head:
        raise NotAProgramError(f"{name} is empty, not an ELF program", hint=AGAIN)
    kinds = {
        b"MZ": "a Windows program",
        b"\xcf\xfa\xed\xfe": "a macOS program",
        b"!<arch>": "an archive (.a)",
    }
    what = next((kind for start, kind in kinds.items() if head.startswith(start)), None)
    raise NotAProgramError(
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


def _check_header(elf: Any, name: str) -> None:
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
            raise _damaged(name, f"its type is {other}")


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
            raise _damaged(name, "it has no segment to load")
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
        symbols = list(self._symbols(tags))
        copied = self._copied(tags)
        undefined, defined = _sort(symbols, copied)
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
        raise _damaged(self.name, f"its {what} ({length} bytes at {address:#x}) is in no segment")

    def _symbols(self, tags: dict[str, int]) -> Iterator[tuple[str, int, int, bool]]:
        """Yield name, binding, visibility and whether it is defined, of every dynamic symbol."""
        if "DT_SYMTAB" not in tags or "DT_STRTAB" not in tags:
            return
        table, strings_at = tags["DT_SYMTAB"], tags["DT_STRTAB"]
        count = self._symbol_count(tags)
        strings = self._at(strings_at, tags.get("DT_STRSZ", 0), "string table")
        raw = self._at(table, count * _SYMBOL.size, "symbol table")
        for name, info, other, section, _, _ in _SYMBOL.iter_unpack(raw):
            end = strings.find(b"\0", name)
            if end < 0:
                raise _damaged(self.name, f"a symbol's name is at {name} of {len(strings)} bytes of names")
            yield strings[name:end].decode("utf-8", "backslashreplace"), info >> 4, other & 3, section != 0

    def _symbol_count(self, tags: dict[str, int]) -> int:
        """Return how many symbols there are, which the dynamic section does not say."""
        if "DT_HASH" in tags:
            return int(struct.unpack("<4xI", self._at(tags["DT_HASH"], 8, "hash table"))[0])
        for section in self.elf.iter_sections("SHT_DYNSYM"):
            if section["sh_addr"] == tags["DT_SYMTAB"]:
                return int(section["sh_size"]) // _SYMBOL.size
        # No section headers (they may be stripped): every linker puts the names right behind the symbols.
        return max(0, tags["DT_STRTAB"] - tags["DT_SYMTAB"]) // _SYMBOL.size

    def _copied(self, tags: dict[str, int]) -> set[int]:
        """Return the indices of symbols that are copied from a library into the program."""
        if "DT_RELA" not in tags:
            return set()
        length = tags.get("DT_RELASZ", 0) // _RELA.size * _RELA.size
        raw = self._at(tags["DT_RELA"], length, "relocation table")
        return {info >> 32 for _, info, _ in _RELA.iter_unpack(raw) if info & 0xFFFFFFFF == _R_X86_64_COPY}


def _folders(texts: list[str]) -> tuple[str, ...]:
    return tuple(folder for text in texts for folder in text.split(":") if folder)


def _sort(
    symbols: list[tuple[str, int, int, bool]], copied: set[int]
) -> tuple[tuple[Symbol, ...], frozenset[str]]:
    """Part symbols into those that are expected and those that are offered."""
    undefined: list[Symbol] = []
    defined: set[str] = set()
    for index, (name, binding, visibility, is_defined) in enumerate(symbols):
        if not name or binding == _STB_LOCAL:
            continue
        if is_defined and visibility not in (_STV_INTERNAL, _STV_HIDDEN):
            defined.add(name)
        if index in copied or not is_defined:
            undefined.append(Symbol(name, weak=binding == _STB_WEAK, copied=index in copied))
    return tuple(undefined), frozenset(defined)
