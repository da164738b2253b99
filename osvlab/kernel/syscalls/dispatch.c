// From the SYSCALL instruction to a C function and back.
//
// Invariant: application code finds all its registers as they were, except RAX (the result) and
// RCX and R11 (which the instruction itself destroys).

#include "arch.h"
#include "print.h"
#include "scheduler.h"
#include "system_calls.h"

void syscall_dispatch(struct registers *r);

static long unknown_call(u64 number) {
    static u64 told[8]; // each number is mentioned once

    if (number < 512 && !(told[number / 64] & 1UL << number % 64)) {
        told[number / 64] |= 1UL << number % 64;
        debug("syscall(): unimplemented system call %lu\n", number);
    }
    return -ENOSYS;
}

void syscall_dispatch(struct registers *r) {
    struct thread *t = this_thread();
    u64 number = r->rax;

    t->kernel_depth++;
    t->frame = r;
    system_call *call = number < SYSTEM_CALLS ? system_calls[number] : NULL;
    r->rax = call ? call(r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9) : unknown_call(number);
    t->kernel_depth--;
    if (t->signals.pending | t->process->signals.pending | t->killed | t->restore_mask)
        signals_deliver(r, t->restore_all ? -1 : (i64)number);
    if (t->restore_all) {
        t->restore_all = false;
        registers_restore(r);
    }
}
