// getcontext, setcontext, makecontext, swapcontext (POSIX.1-2001), which musl leaves out.
// The offsets are those of ucontext_t, the same in glibc, musl and Linux's <asm/ucontext.h>.
// Only what a function call must preserve is saved; the signal mask is, too.

#define UC_LINK 8
#define UC_STACK_POINTER 16
#define UC_STACK_SIZE 32
#define REGISTERS 40
#define R8 (REGISTERS + 0)
#define R9 (REGISTERS + 8)
#define R12 (REGISTERS + 32)
#define R13 (REGISTERS + 40)
#define R14 (REGISTERS + 48)
#define R15 (REGISTERS + 56)
#define RDI (REGISTERS + 64)
#define RSI (REGISTERS + 72)
#define RBP (REGISTERS + 80)
#define RBX (REGISTERS + 88)
#define RDX (REGISTERS + 96)
#define RCX (REGISTERS + 112)
#define RSP (REGISTERS + 120)
#define RIP (REGISTERS + 128)
#define FP_POINTER (REGISTERS + 184)
#define SIGNALS 296
#define FP_AREA 424
#define FP_MXCSR (FP_AREA + 24)
#define SYS_rt_sigprocmask 14
#define SIG_SETMASK 2

    .macro function name
    .pushsection .text.\name, "ax", @progbits
    .globl \name
    .type \name, @function
\name:
    .endm

    .macro end name
    .size \name, . - \name
    .popsection
    .endm

// Saves the caller's state into (%rdi), as if the call had returned.
    .macro save
    mov %rbx, RBX(%rdi)
    mov %rbp, RBP(%rdi)
    mov %r12, R12(%rdi)
    mov %r13, R13(%rdi)
    mov %r14, R14(%rdi)
    mov %r15, R15(%rdi)
    mov %rdi, RDI(%rdi)
    mov %rsi, RSI(%rdi)
    mov %rdx, RDX(%rdi)
    mov %rcx, RCX(%rdi)
    mov %r8, R8(%rdi)
    mov %r9, R9(%rdi)
    mov (%rsp), %rcx
    mov %rcx, RIP(%rdi)
    lea 8(%rsp), %rcx
    mov %rcx, RSP(%rdi)
    lea FP_AREA(%rdi), %rcx
    mov %rcx, FP_POINTER(%rdi)
    fnstenv (%rcx)
    fldenv (%rcx)
    stmxcsr FP_MXCSR(%rdi)
    .endm

function getcontext
    save
    lea SIGNALS(%rdi), %rdx
    xor %esi, %esi
    mov $SIG_SETMASK, %edi
    mov $8, %r10d
    mov $SYS_rt_sigprocmask, %eax
    syscall
    xor %eax, %eax
    ret
end getcontext

function swapcontext
    save
    push %rsi
    lea SIGNALS(%rdi), %rdx
    lea SIGNALS(%rsi), %rsi
    mov $SIG_SETMASK, %edi
    mov $8, %r10d
    mov $SYS_rt_sigprocmask, %eax
    syscall
    pop %rdx
    jmp context_resume
end swapcontext

function setcontext
    push %rdi
    lea SIGNALS(%rdi), %rsi
    xor %edx, %edx
    mov $SIG_SETMASK, %edi
    mov $8, %r10d
    mov $SYS_rt_sigprocmask, %eax
    syscall
    pop %rdx
    .hidden context_resume
    .globl context_resume
context_resume: // of the context at %rdx
    mov FP_POINTER(%rdx), %rcx
    fldenv (%rcx)
    ldmxcsr FP_MXCSR(%rdx)
    mov RSP(%rdx), %rsp
    mov RBX(%rdx), %rbx
    mov RBP(%rdx), %rbp
    mov R12(%rdx), %r12
    mov R13(%rdx), %r13
    mov R14(%rdx), %r14
    mov R15(%rdx), %r15
    push RIP(%rdx)
    mov RSI(%rdx), %rsi
    mov RDI(%rdx), %rdi
    mov RCX(%rdx), %rcx
    mov R8(%rdx), %r8
    mov R9(%rdx), %r9
    mov RDX(%rdx), %rdx
    xor %eax, %eax
    ret
end setcontext

// Where a function started by makecontext returns to: %rbx = the context to go on with.
function context_end
    .hidden context_end
    mov %rbx, %rdi
    test %rdi, %rdi
    jz 1f
    call setcontext
1:  mov $0, %edi
    call exit
    ud2
end context_end
    .section .note.GNU-stack, "", @progbits
