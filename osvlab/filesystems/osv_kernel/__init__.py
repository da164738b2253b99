"""Files that hold a kernel: as an ELF file, compressed behind a boot sector, or behind Linux's boot header.

==================== ================================================================================
file                 what
==================== ================================================================================
loader-stripped.elf  the kernel, a 64-bit ELF file; QEMU loads it
lzloader.elf         a 32-bit ELF file that unpacks the compressed kernel it holds
loader.img           OSv's boot sector, a command line, and at byte 65,536 an lzloader.elf
vmlinuz.bin          a boot header as Linux has it, and at byte 2,048 a loader-stripped.elf
disk of the lab      the lab's boot sector, a command line, and at byte 65,536 the kernel as it is
==================== ================================================================================

Source of the formats: OSv, `arch/x64/boot16.S`, `arch/x64/vmlinuz-boot32.S`, `fastlz/`, and its Makefile.
"""

from __future__ import annotations

from osvlab.filesystems.osv_kernel.kernel import KernelFile, KernelForm, kernel_form

__all__ = ["KernelFile", "KernelForm", "kernel_form"]
