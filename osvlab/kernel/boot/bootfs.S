// The files linked into the kernel: an archive in OSv's bootfs format (osv scripts/mkbootfs.py).
// Usually empty, which is one record of zeros; `make BOOTFS=file` links one in.

    .section .rodata
    .balign 8
    .globl bootfs_start, bootfs_end
bootfs_start:
#ifdef BOOTFS
    .incbin BOOTFS
#else
    .skip 128
#endif
bootfs_end:
    .section .note.GNU-stack, "", @progbits
