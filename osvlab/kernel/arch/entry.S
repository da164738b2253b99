// The three ways into the kernel: exceptions, interrupts, system calls.
//
// Each leaves a `struct registers` (arch.h) on a stack of its own kind and calls C with its
// address. Exceptions and interrupts come on IST stacks of the current thread; a system call
// switches to the thread's system call stack by hand.

    .macro SAVE
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    .endm

    .macro RESTORE
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    .endm

// A switch to an IST stack leaves SS empty, which 64-bit mode does not mind. QEMU's translator
// does: it translates code once for every state of the segments that it runs with.
    .macro LOAD_SS
    movl $0x10, %eax
    movl %eax, %ss
    .endm

    .text

// One stub per vector pushes what the processor did not: a zero error code and the number.
    .altmacro
    .macro STUB vector
stub_\vector:
    .if (\vector == 8) || (\vector >= 10 && \vector <= 14) || (\vector == 17) || (\vector == 21) || (\vector == 29) || (\vector == 30)
    .else
    pushq $0
    .endif
    pushq $\vector
    .if \vector < 32
    jmp exception_common
    .else
    jmp interrupt_common
    .endif
    .endm

    .set vector, 0
    .rept 256
    STUB %vector
    .set vector, vector + 1
    .endr

    .type exception_common, @function
exception_common:
    SAVE
    LOAD_SS
    movq %rsp, %rdi
    xorl %ebp, %ebp
    call exception_entry
    RESTORE
    addq $16, %rsp
    iretq

    .type interrupt_common, @function
interrupt_common:
    SAVE
    LOAD_SS
    movq %rsp, %rdi
    xorl %ebp, %ebp
    call interrupt_entry
    RESTORE
    addq $16, %rsp
    iretq

// SYSCALL has put the return address in RCX and the flags in R11, and left RSP alone. Interrupts
// are on, but the thread keeps the processor, whose %gs:16 is used, up to syscall_entry_end.
    .globl syscall_entry, syscall_entry_end
    .type syscall_entry, @function
syscall_entry:
    movq %rsp, %gs:16
    movq %gs:8, %rsp
    subq $8, %rsp       // cr2
    pushq $0x10         // ss
    pushq %gs:16        // rsp
syscall_entry_end:
    pushq %r11          // rflags
    pushq $0x08         // cs
    pushq %rcx          // rip
    pushq %rax          // error code: the call's number, for restarting it
    pushq $256          // vector: a system call
    SAVE
    movq %rsp, %rdi
    xorl %ebp, %ebp
    call syscall_dispatch
    .globl syscall_return
syscall_return:
    // Interrupts may come at any point below: they save and restore all of this.
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    addq $8, %rsp       // r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    addq $8, %rsp       // rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    movq (%rsp), %rcx
    movq 16(%rsp), %r11
    pushq %r11
    popfq
    movq 24(%rsp), %rsp
    jmp *%rcx

// Back to an application with every register as it was (signal return, new threads).
    .globl registers_restore
    .type registers_restore, @function
registers_restore:
    movq %rdi, %rsp
    RESTORE
    addq $16, %rsp
    iretq

// void run_on_frame(struct registers *frame, void (*function)(struct registers *)): goes on below
// the frame, on whatever stack it lies.
    .globl run_on_frame
    .type run_on_frame, @function
run_on_frame:
    movq %rdi, %rsp
    xorl %ebp, %ebp
    call *%rsi
    ud2

// void switch_stacks(u64 *save_rsp, u64 new_rsp): the heart of a context switch. Only what the
// ABI calls callee-saved needs saving; the compiler has saved the rest around this call.
    .globl switch_stacks
    .type switch_stacks, @function
switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

// Where a new thread's first switch lands: r12 = function, r13 = argument.
    .globl thread_begin
    .type thread_begin, @function
thread_begin:
    sti
    movq %r13, %rdi
    xorl %ebp, %ebp
    call *%r12
    ud2

// int user_byte(const u8 *from): the byte, or -EFAULT as in user_copy.
    .globl user_byte, user_byte_end
    .type user_byte, @function
user_byte:
    movzbl (%rdi), %eax
    ret
user_byte_end:

    .section .data.rel.ro, "aw"
    .balign 8
    .globl exception_entries
exception_entries:
    .macro ENTRY vector
    .quad stub_\vector
    .endm
    .set vector, 0
    .rept 256
    ENTRY %vector
    .set vector, vector + 1
    .endr
    .section .note.GNU-stack, "", @progbits
