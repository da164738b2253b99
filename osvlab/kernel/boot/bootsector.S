# The boot sector: what the BIOS runs when the image itself is the boot disk.
#
# It reads the kernel into memory and then pretends to be a hypervisor: it enters the kernel
# exactly as `qemu -kernel` does, by the PVH protocol of Xen (docs/misc/pvh.pandoc and
# xen/include/public/arch-x86/hvm/start_info.h). So the kernel has one way in.
#
# The layout of the disk and of this sector is OSv's (arch/x64/boot16.S), so that OSv's own
# tools can patch our images and ours can patch OSv's:
#
#     LBA 0        this sector          LBA 1..63   command line, NUL-terminated
#     LBA 128...   the kernel's ELF file as it is, in chunks of 64 sectors (32 KiB)
#
# Memory while it runs:
#     0x2000   memory map              0x7C00   this sector; the stack grows down from it
#     0x80000  bounce buffer (32 KiB)  0x7E00   command line (63 sectors, then a NUL)
#                                      0x200000 the kernel, byte for byte
#
# Errors go to the serial port, because nobody watches the screen of a virtual machine. Every
# byte counts: the sector is full.

.set MEMORY_MAP, 0x2000
.set MEMORY_MAP_END, 0x2000 + 24 * 128
.set COMMAND_LINE, 0x7e00
.set COMMAND_LINE_END, COMMAND_LINE + 63 * 512
.set BOUNCE, 0x80000
.set CHUNK, 64 * 512
.set KERNEL, 0x200000
.set KERNEL_ENTRY, KERNEL + 0xff0       # where the kernel keeps its 32-bit physical entry point
.set ELF_MAGIC, 0x464c457f              # "\x7fELF"
.set SMAP, 0x534d4150                   # "SMAP", read as a big-endian number

.code16
.text
.global _start
_start:
    ljmp $0, $init                      # some BIOSes start us at 07C0:0000
drive:
    .byte 0

.org 0x10
chunks:                                 # how many to load; written by whoever makes the image
    .word 0
kernel_packet:                          # "disk address packet" of INT 13h function 42h
    .byte 16, 0
    .word CHUNK / 512                   # sectors
    .word 0, BOUNCE >> 4                # to offset:segment
lba:
    .quad 128
command_line_packet:
    .byte 16, 0
    .word 63
    .word COMMAND_LINE, 0
    .quad 1
target:                                 # where the next chunk goes
    .long KERNEL

gdt:                                    # its first entry is never read: a place for GDTR
    .word gdt_end - gdt - 1
    .long gdt
    .word 0
    .quad 0x00cf9b000000ffff            # 0x08: 32-bit code, base 0, 4 GiB
    .quad 0x00cf93000000ffff            # 0x10: 32-bit data
gdt_end:

init:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $_start, %sp
    movb %dl, drive                     # the BIOS says which disk it booted

    movw $0x2401, %ax                   # A20: let odd megabytes be addressed
    int $0x15

    movw $command_line_packet, %si
    call read_disk
    movb $0, COMMAND_LINE_END           # however long, it ends

next_chunk:
    decw chunks
    js loaded
    movw $kernel_packet, %si
    call read_disk
    call flat_segments
    movl $BOUNCE, %esi
    movl target, %edi
    movl $CHUNK / 4, %ecx
    addr32 rep movsl
    movl %edi, target
    addl $CHUNK / 512, lba
    jmp next_chunk

loaded:                                 # the memory map: PVH wants E820's own entries, padded to 24
    xorl %ebx, %ebx
    movw $MEMORY_MAP, %di
next_range:
    movl $0xe820, %eax
    movl $SMAP, %edx
    movl $20, %ecx
    int $0x15
    jc enter
    cmpl $SMAP, %eax
    jne enter
    andl $0, 20(%di)
    addw $24, %di
    incl memory_map_entries
    cmpw $MEMORY_MAP_END, %di
    jae enter
    testl %ebx, %ebx                    # 0 after the last one
    jnz next_range

enter:
    call flat_segments
    addr32 cmpl $ELF_MAGIC, KERNEL
    movw $no_kernel, %si
    jne fail
    movl %cr0, %eax
    incw %ax                            # protected mode, paging off
    movl %eax, %cr0
    ljmpl $0x08, $enter32

.code32
enter32:
    pushl $0x10
    popl %edx
    movl %edx, %ds
    movl %edx, %es
    movl %edx, %ss
    movl $start_info, %ebx
    jmp *KERNEL_ENTRY

.code16
# Loads DS and ES with 4 GiB limits and goes back to real mode, where the limits stay until a
# BIOS call changes them ("unreal mode"). Interrupts stay off until the next disk read.
flat_segments:
    cli
    lgdtl gdt
    movl %cr0, %eax
    incw %ax
    movl %eax, %cr0
    movw $0x10, %dx
    movw %dx, %ds
    movw %dx, %es
    decw %ax
    movl %eax, %cr0
low_segments:                           # base 0 for the real-mode world
    xorw %dx, %dx
    movw %dx, %ds
    movw %dx, %es
    ret

read_disk:                              # by the packet at SI; does not return on an error
    sti
    movb drive, %dl
    movb $0x42, %ah
    int $0x13
    movw $disk_error, %si
    jc fail
    ret

# Says the text at SI on the serial port and resets the machine, which under `qemu -no-reboot`
# ends it.
fail:
    call low_segments
next_letter:
    lodsb
    testb %al, %al
    jz reset
    movb $1, %ah                        # "send character" on port 0
    xorw %dx, %dx
    int $0x14
    jmp next_letter
reset:
    movb $0xfe, %al                     # the keyboard controller holds the reset line
    outb %al, $0x64
    jmp reset

disk_error:
    .asciz "boot: disk error\r\n"
no_kernel:
    .asciz "boot: no kernel\r\n"

start_info:                             # struct hvm_start_info, used where it is
    .long 0x336ec578                    # magic
    .long 1                             # version
    .long 0, 0                          # flags, modules
    .quad 0, COMMAND_LINE, 0, MEMORY_MAP # module list, command line, RSDP (to be searched), map
memory_map_entries:
    .long 0, 0                          # entries, reserved

.org 0x1b8
    .ascii "VSO\0\0\0"                  # disk signature, by which OSv images are known
.org 0x1be
    .fill 64, 1, 0                      # the partition table
    .byte 0x55, 0xaa
