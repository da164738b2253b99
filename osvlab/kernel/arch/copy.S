// Copying to and from the application's memory (memory/user.c).

#include "copying.S"

    .text

// int user_copy(void *to, const void *from, size_t size): 0, or -EFAULT when either address
// cannot be used: the fault handler resumes at user_copy_fault if RIP is in between.
    .globl user_copy, user_copy_end, user_copy_fault
    .hidden user_copy, user_copy_end, user_copy_fault
    .type user_copy, @function
user_copy:
    COPY
    xorl %eax, %eax
    ret
user_copy_end:
user_copy_fault:
    movl $-14, %eax
    ret
    .size user_copy, . - user_copy

    .section .note.GNU-stack, "", @progbits
