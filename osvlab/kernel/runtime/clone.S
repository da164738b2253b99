// Entering a new process, and entering a program.
// Registers at a program's start: System V ABI AMD64 supplement 3.4.1.

#define CLONE_VM_SIGCHLD 0x111
#define SYS_clone 56

    .text
    .globl process_clone
    .hidden process_clone
    .type process_clone, @function
// long process_clone(void *stack, void *entry, void *launch)
process_clone:
    mov %rsi, %r8
    mov %rdx, %r9
    mov %rdi, %rsi
    mov $CLONE_VM_SIGCHLD, %edi
    xor %edx, %edx
    xor %r10d, %r10d
    mov $SYS_clone, %eax
    syscall
    test %rax, %rax
    jz 1f
    ret
1:  xor %ebp, %ebp
    mov %rsp, %rdi
    mov %r9, %rsi
    call *%r8
    ud2
    .size process_clone, . - process_clone

    .globl process_enter
    .hidden process_enter
    .type process_enter, @function
// void process_enter(void *stack, u64 entry)
process_enter:
    mov %rdi, %rsp
    mov %rsi, %r11
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx // no function to register with atexit
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    cld
    jmp *%r11
    .size process_enter, . - process_enter
    .section .note.GNU-stack, "", @progbits
