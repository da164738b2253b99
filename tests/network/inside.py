"""What the lab kernel counts, read from the guest's memory: the guest need not be asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from elftools.elf.elffile import ELFFile

from osvlab.kernels import Kernel
from osvlab.vm.vm import VM

__all__ = ["Counts", "counts"]

KERNEL_VIRTUAL, KERNEL_PHYSICAL = 0x40200000, 0x200000  # osvlab/kernel/README.md, "Memory"


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets that somebody owns, connections of TCP in any state, and free page frames."""

    packets: int
    connections: int
    free_pages: int


@cache
def _addresses() -> dict[str, int]:
    path = Kernel.lab().path.with_name("lab-kernel.elf")
    wanted = {"in_use", "tcp_connection_count", "free_pages"}
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        # Link-time optimization appends to the names of what is local.
        variables = (s for s in table.iter_symbols() if s["st_info"]["type"] == "STT_OBJECT")
        found = {s.name.split(".")[0]: s["st_value"] for s in variables}
    return {name: found[name] - KERNEL_VIRTUAL + KERNEL_PHYSICAL for name in wanted}


def _number(vm: VM, name: str, letter: str) -> int:
    words = vm.qmp("human-monitor-command", command_line=f"xp /1x{letter} {_addresses()[name]:#x}")
    found = re.search(r": (0x[0-9a-f]+)", words)
    assert found, words
    return int(found[1], 16)


def counts(vm: VM) -> Counts:
    """Return what the kernel of a guest counts now."""
    return Counts(
        packets=_number(vm, "in_use", "g"),
        connections=_number(vm, "tcp_connection_count", "w"),
        free_pages=_number(vm, "free_pages", "g"),
    )
