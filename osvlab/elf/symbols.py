"""The symbols that a program expects from others and offers to them.

They and the relocations are unpacked here and not with pyelftools, because a large library has ten
thousand of them.

Source of the format: System V ABI with the x86-64 supplement, and `elf.h`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from osvlab.elf.recognise import damaged

__all__ = ["Symbol", "SymbolTable"]

_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_R_X86_64_COPY = 5
_STB_LOCAL, _STB_WEAK = 0, 2
_STV_INTERNAL, _STV_HIDDEN = 1, 2


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


class SymbolTable:
    """The dynamic symbols of an ELF file, and what its relocations say of them.

    Parameters
    ----------
    elf
        The file, as pyelftools opened it.
    tags
        Values of its dynamic section.
    read
        Reads bytes by the address at which they will be loaded; takes that, how many, and what they
        are to be called in an error.
    name
        What errors call the file.
    """

    def __init__(
        self, elf: Any, tags: Mapping[str, int], read: Callable[[int, int, str], bytes], name: str
    ) -> None:
        self._elf, self._tags, self._read, self._name = elf, tags, read, name

    def parted(self) -> tuple[tuple[Symbol, ...], frozenset[str]]:
        """Return the symbols that are expected, in the order of the table, and the names that are offered.

        Raises
        ------
        NotAProgramError
            A table is not where the dynamic section says.
        """
        entries, copied = list(self._entries()), self._copied()
        undefined: list[Symbol] = []
        defined: set[str] = set()
        for index, (name, binding, visibility, is_defined) in enumerate(entries):
            if not name or binding == _STB_LOCAL:
                continue
            if is_defined and visibility not in (_STV_INTERNAL, _STV_HIDDEN):
                defined.add(name)
            if index in copied or not is_defined:
                undefined.append(Symbol(name, weak=binding == _STB_WEAK, copied=index in copied))
        return tuple(undefined), frozenset(defined)

    def _entries(self) -> Iterator[tuple[str, int, int, bool]]:
        """Yield name, binding, visibility and whether it is defined, of every dynamic symbol."""
        if "DT_SYMTAB" not in self._tags or "DT_STRTAB" not in self._tags:
            return
        table, strings_at = self._tags["DT_SYMTAB"], self._tags["DT_STRTAB"]
        count = self._count()
        strings = self._read(strings_at, self._tags.get("DT_STRSZ", 0), "string table")
        raw = self._read(table, count * _SYMBOL.size, "symbol table")
        for name, info, other, section, _, _ in _SYMBOL.iter_unpack(raw):
            end = strings.find(b"\0", name)
            if end < 0:
                raise damaged(self._name, f"a symbol's name is at {name} of {len(strings)} bytes of names")
            yield strings[name:end].decode("utf-8", "backslashreplace"), info >> 4, other & 3, section != 0

    def _count(self) -> int:
        """Return how many symbols there are, which the dynamic section does not say."""
        if "DT_HASH" in self._tags:
            return int(struct.unpack("<4xI", self._read(self._tags["DT_HASH"], 8, "hash table"))[0])
        for section in self._elf.iter_sections("SHT_DYNSYM"):
            if section["sh_addr"] == self._tags["DT_SYMTAB"]:
                return int(section["sh_size"]) // _SYMBOL.size
        # No section headers (they may be stripped): every linker puts the names right behind the symbols.
        return max(0, self._tags["DT_STRTAB"] - self._tags["DT_SYMTAB"]) // _SYMBOL.size

    def _copied(self) -> set[int]:
        """Return the indices of symbols that are copied from a library into the program."""
        if "DT_RELA" not in self._tags:
            return set()
        length = self._tags.get("DT_RELASZ", 0) // _RELA.size * _RELA.size
        raw = self._read(self._tags["DT_RELA"], length, "relocation table")
        return {info >> 32 for _, info, _ in _RELA.iter_unpack(raw) if info & 0xFFFFFFFF == _R_X86_64_COPY}
