// memcpy and memset for libc, programs and the core, in place of musl's: see copying.S for why.

#include "copying.S"

    .text

// void *memcpy(void *to, const void *from, size_t size)
    .globl memcpy
    .type memcpy, @function
memcpy:
    movq %rdi, %rax
    COPY
    ret
    .size memcpy, . - memcpy

// void *memset(void *to, int byte, size_t size)
    .globl memset
    .type memset, @function
memset:
    movq %rdi, %rax
    movzbl %sil, %ecx
    movabsq $0x0101010101010101, %r8
    imulq %r8, %rcx
    subq $64, %rdx
    jb 2f
1:  movq %rcx, (%rdi)
    movq %rcx, 8(%rdi)
    movq %rcx, 16(%rdi)
    movq %rcx, 24(%rdi)
    movq %rcx, 32(%rdi)
    movq %rcx, 40(%rdi)
    movq %rcx, 48(%rdi)
    movq %rcx, 56(%rdi)
    addq $64, %rdi
    subq $64, %rdx
    jae 1b
2:  addq $64 - 8, %rdx
    js 4f
3:  movq %rcx, (%rdi)
    addq $8, %rdi
    subq $8, %rdx
    jns 3b
4:  andl $7, %edx
    jz 6f
5:  movb %cl, (%rdi)
    incq %rdi
    decl %edx
    jnz 5b
6:  ret
    .size memset, . - memset

    .section .note.GNU-stack, "", @progbits
