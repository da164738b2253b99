// For assembler files: copying memory with general registers only.
//
// Not with string instructions: QEMU's translator goes once round its whole loop for each of their
// repetitions, which makes them slower than these moves.
// RDX bytes from RSI to RDI. Destroys these, RCX, and R8 to R10.
    .macro COPY
    subq $64, %rdx
    jb 2f
1:  movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq 16(%rsi), %r9
    movq 24(%rsi), %r10
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    movq %r9, 16(%rdi)
    movq %r10, 24(%rdi)
    movq 32(%rsi), %rcx
    movq 40(%rsi), %r8
    movq 48(%rsi), %r9
    movq 56(%rsi), %r10
    movq %rcx, 32(%rdi)
    movq %r8, 40(%rdi)
    movq %r9, 48(%rdi)
    movq %r10, 56(%rdi)
    addq $64, %rsi
    addq $64, %rdi
    subq $64, %rdx
    jae 1b
2:  addq $64 - 8, %rdx // what is left, less 8
    js 4f
3:  movq (%rsi), %rcx
    movq %rcx, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
    jns 3b
4:  andl $7, %edx
    jz 6f
5:  movb (%rsi), %cl
    movb %cl, (%rdi)
    incq %rsi
    incq %rdi
    decl %edx
    jnz 5b
6:
    .endm
