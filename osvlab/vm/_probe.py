"""The probe: a PVH kernel of some two hundred bytes that does what real kernels do first.

`/dev/kvm` may open, answer its version and run a few bytes, and still give up
("KVM internal error, emulation failure") on the first SSE instruction in ring 0;
nested virtualisation without all its parts does that. So the probe goes through the
door that every 64-bit kernel goes through (page tables, long mode), moves a register
into an SSE register and back, does a 16-byte compare-and-exchange, and says through
``isa-debug-exit`` that it arrived. The ELF file is written here byte by byte, so that
nobody needs an assembler.
"""

from __future__ import annotations

import struct

__all__ = ["ARRIVED", "probe_elf"]

ARRIVED = 2 * 0x2A + 1
"""QEMU's exit status when the probe got through: isa-debug-exit turns 0x2A into 2 * 0x2A + 1."""

BASE = 0x100000  # where the file is loaded: the ELF header is at this very address
PML4, PDPT, PD, SCRATCH = (BASE + page * 0x1000 for page in (1, 2, 3, 4))  # behind the file, zeroed
HEADERS = 64 + 2 * 56
NOTE = struct.pack("<III4s", 4, 4, 18, b"Xen\0")  # XEN_ELFNOTE_PHYS32_ENTRY, then the entry
CODE = BASE + HEADERS + len(NOTE) + 4


def _long(value: int) -> bytes:
    return struct.pack("<I", value)


def _code() -> bytes:
    """Assemble the program. PVH enters in 32-bit protected mode with paging off and flat segments."""
    enter = b"".join(
        [
            # One 2 MiB page maps address 0 onto itself: PML4 -> PDPT -> PD -> page.
            b"\xc7\x05" + _long(PML4) + _long(PDPT | 3),  # mov dword [PML4], PDPT + present, writable
            b"\xc7\x05" + _long(PDPT) + _long(PD | 3),  # mov dword [PDPT], PD + present, writable
            b"\xc7\x05" + _long(PD) + _long(0x83),  # mov dword [PD], present, writable, large
            b"\xb8" + _long(PML4),  # mov eax, PML4
            b"\x0f\x22\xd8",  # mov cr3, eax
            b"\x0f\x20\xe0",  # mov eax, cr4
            b"\x0d" + _long(0x620),  # or eax, PAE + OSFXSR + OSXMMEXCPT
            b"\x0f\x22\xe0",  # mov cr4, eax
            b"\xb9" + _long(0xC0000080),  # mov ecx, EFER
            b"\x0f\x32",  # rdmsr
            b"\x0d" + _long(0x100),  # or eax, LME
            b"\x0f\x30",  # wrmsr
            b"\x0f\x20\xc0",  # mov eax, cr0
            b"\x83\xe0\xf3",  # and eax, not (EM + TS)
            b"\x0d" + _long(0x80000003),  # or eax, PG + MP + PE
            b"\x0f\x22\xc0",  # mov cr0, eax: long mode, still in 32-bit code
        ]
    )
    far_jump = len(enter) + 7  # the address behind lgdt (7 bytes) is where the jump (7 bytes) stands
    work = b"".join(
        [
            b"\x48\xb8" + struct.pack("<Q", 0x0123456789ABCDEF),  # mov rax, pattern
            b"\x66\x48\x0f\x6e\xc0",  # movq xmm0, rax
            b"\x66\x48\x0f\x7e\xc3",  # movq rbx, xmm0
            b"\x48\x39\xd8",  # cmp rax, rbx
            b"\x75\x1a",  # jne halt
            b"\x0f\x29\x04\x25" + _long(SCRATCH + 16),  # movaps [SCRATCH + 16], xmm0
            b"\x31\xc0",  # xor eax, eax
            b"\x31\xd2",  # xor edx, edx
            b"\xf0\x48\x0f\xc7\x0c\x25" + _long(SCRATCH),  # lock cmpxchg16b [SCRATCH]
            b"\xb0\x2a",  # mov al, 0x2A
            b"\xe6\xf4",  # out 0xF4, al: isa-debug-exit
            b"\xf4",  # halt: hlt
            b"\xeb\xfd",  # jmp halt
        ]
    )
    gdt_address = CODE + far_jump + 7 + len(work)
    gdt = struct.pack("<QQ", 0, 0x00209A0000000000)  # null; 64-bit code, present, ring 0
    pointer_address = gdt_address + len(gdt)
    pointer = struct.pack("<HI", len(gdt) - 1, gdt_address)
    return b"".join(
        [
            enter,
            b"\x0f\x01\x15" + _long(pointer_address),  # lgdt [pointer]
            b"\xea" + _long(CODE + far_jump + 7) + b"\x08\x00",  # jmp 0x08:work, into 64-bit code
            work,
            gdt,
            pointer,
        ]
    )


def probe_elf() -> bytes:
    r"""Return the probe as an ELF file that QEMU's ``-kernel`` boots.

    Examples
    --------
    >>> probe_elf()[:4], len(probe_elf()) < 500
    (b'\x7fELF', True)
    """
    code = _code()
    size = HEADERS + len(NOTE) + 4 + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",  # 64-bit, little-endian, version 1
        2, 62, 1,  # ET_EXEC, EM_X86_64, version
        CODE, 64, 0, 0,  # entry, program headers, no section headers, flags
        64, 56, 2, 0, 0, 0,  # header sizes and counts
    )  # fmt: skip
    # PT_LOAD, rwx, with a zeroed tail for the page tables; PT_NOTE.
    load = struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, 0x5000, 0x1000)
    note_size = len(NOTE) + 4
    note = struct.pack("<IIQQQQQQ", 4, 4, HEADERS, BASE + HEADERS, BASE + HEADERS, note_size, note_size, 4)
    return header + load + note + NOTE + _long(CODE) + code
