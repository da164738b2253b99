// Exceptions: page faults are served, the rest becomes a signal or the end.
// Intel SDM vol. 3 chapter 6.15.
//
// Invariant: an exception in application code that nobody handles ends the run with a report;
// one in the kernel always does, except inside user_copy, which turns it into -EFAULT.

#include "arch.h"

#include <signal.h>

#include "crash.h"
#include "fault.h"
#include "print.h"
#include "scheduler.h"

int user_copy(void *to, const void *from, size_t size);
int user_byte(const u8 *from);
extern char user_copy_end[], user_copy_fault[], user_byte_end[];

static const struct {
    const char *words;
    int signal, code;
} meanings[32] = {
    [VECTOR_DIVIDE] = {"division by zero or overflow", SIGFPE, FPE_INTDIV},
    [VECTOR_DEBUG] = {"debug trap", SIGTRAP, TRAP_TRACE},
    [VECTOR_NMI] = {"non-maskable interrupt", 0, 0},
    [VECTOR_BREAKPOINT] = {"breakpoint", SIGTRAP, TRAP_BRKPT},
    [VECTOR_OVERFLOW] = {"overflow trap", SIGSEGV, SI_KERNEL},
    [VECTOR_BOUND] = {"bound range exceeded", SIGSEGV, SI_KERNEL},
    [VECTOR_OPCODE] = {"invalid opcode", SIGILL, ILL_ILLOPN},
    [VECTOR_DOUBLE_FAULT] = {"double fault", 0, 0},
    [VECTOR_PROTECTION] = {"general protection fault", SIGSEGV, SI_KERNEL},
    [VECTOR_X87] = {"x87 floating-point exception", SIGFPE, FPE_FLTINV},
    [VECTOR_ALIGNMENT] = {"misaligned access", SIGBUS, BUS_ADRALN},
    [VECTOR_SIMD] = {"SIMD floating-point exception", SIGFPE, FPE_FLTINV},
};

static bool resume_user_copy(struct registers *r) {
    bool in_copy = (r->rip >= (u64)user_copy && r->rip < (u64)user_copy_end) ||
                   (r->rip >= (u64)user_byte && r->rip < (u64)user_byte_end);

    if (in_copy)
        r->rip = (u64)user_copy_fault;
    return in_copy;
}

static void page_fault(struct registers *r) {
    char words[160];
    int signal = SIGSEGV, code = SEGV_MAPERR;
    // With interrupts off nobody may sleep for a page: user_copy then fails and is tried again.
    bool may_sleep = r->rflags & RFLAGS_INTERRUPT;

    if (may_sleep)
        interrupts_on();
    if (fault_serve(r->cr2, r->error_code, may_sleep, &signal, &code))
        return;
    if (resume_user_copy(r))
        return;
    if (!in_core_text(r->rip) && signal_fault(r, signal, code, r->cr2))
        return;
    fault_describe(r, words, sizeof(words));
    crash(r, words);
}

void exception_entry(struct registers *r);

void exception_entry(struct registers *r) {
    struct thread *t = this_thread();

    __asm__ volatile("movq %%cr2, %0" : "=r"(r->cr2));
    if (t && t->stacks) {
        if (++t->exception_depth > 2)
            crash(r, "exception inside the handling of an exception");
        t->kernel_depth++;
        cpu_use_stacks(stacks_interrupt_top(t), stacks_exception_top(t));
    }
    if (r->vector == VECTOR_PAGE_FAULT) {
        page_fault(r);
    } else {
        int signal = meanings[r->vector].signal;
        const char *words = meanings[r->vector].words;
        bool handled = (r->vector == VECTOR_PROTECTION && resume_user_copy(r)) ||
                       (signal && !in_core_text(r->rip) &&
                        signal_fault(r, signal, meanings[r->vector].code, r->rip));
        if (!handled)
            crash(r, words ? words : "unexpected exception");
    }
    if (t && t->stacks) {
        interrupts_on();
        t->kernel_depth--;
        signals_deliver(r, -1);
        interrupts_off();
        t->exception_depth--;
        cpu_use_stacks(stacks_interrupt_top(t), stacks_exception_top(t));
    }
}
