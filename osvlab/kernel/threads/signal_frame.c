// Signal frames: Linux's x86_64 layout (arch/x86/include/asm/sigframe.h, uapi sigcontext.h), which
// handlers read through ucontext_t.
//
// Invariant: what signal_frame_push saves, signal_frame_pop restores to the last bit, except the
// segment registers and the privileged flags, which an application cannot choose.

#include "signal_frame.h"

#include <string.h>
#include <sys/ucontext.h>

#include "user.h"

#define RED_ZONE 128
#define APPLICATION_FLAGS 0xcd5UL // CF PF AF ZF SF TF DF OF: what a frame may set

struct kernel_context { // ucontext_t as the kernel writes it: the mask is one word
    unsigned long flags;
    struct ucontext *link;
    stack_t stack;
    gregset_t registers;
    u64 fpu;
    u64 reserved[8];
    u64 mask;
};

struct signal_frame {
    void (*restorer)(void);
    struct kernel_context context;
    siginfo_t info;
};

static void save_registers(struct kernel_context *c, const struct registers *r) {
    const u64 values[] = {r->r8,  r->r9,         r->r10,    r->r11, r->r12, r->r13,
                          r->r14, r->r15,        r->rdi,    r->rsi, r->rbp, r->rbx,
                          r->rdx, r->rax,        r->rcx,    r->rsp, r->rip, r->rflags,
                          r->cs,  r->error_code, r->vector, 0,      r->cr2};

    memcpy(c->registers, values, sizeof(values)); // the order of REG_R8... in <sys/ucontext.h>
}

static void restore_registers(struct registers *r, const struct kernel_context *c) {
    const long long *g = c->registers;

    r->r8 = g[REG_R8];
    r->r9 = g[REG_R9];
    r->r10 = g[REG_R10];
    r->r11 = g[REG_R11];
    r->r12 = g[REG_R12];
    r->r13 = g[REG_R13];
    r->r14 = g[REG_R14];
    r->r15 = g[REG_R15];
    r->rdi = g[REG_RDI];
    r->rsi = g[REG_RSI];
    r->rbp = g[REG_RBP];
    r->rbx = g[REG_RBX];
    r->rdx = g[REG_RDX];
    r->rax = g[REG_RAX];
    r->rcx = g[REG_RCX];
    r->rsp = g[REG_RSP];
    r->rip = g[REG_RIP];
    r->rflags =
        (r->rflags & ~APPLICATION_FLAGS) | (g[REG_EFL] & APPLICATION_FLAGS) | RFLAGS_INTERRUPT;
}

static bool on_alternate(const struct thread *t, u64 rsp) {
    return t->alternate.ss_size && rsp - (u64)t->alternate.ss_sp < t->alternate.ss_size;
}

static u64 frame_stack(const struct thread *t, const struct registers *r,
                       const struct k_sigaction *action) {
    bool usable = t->alternate.ss_size && !(t->alternate.ss_flags & SS_DISABLE);

    if ((action->flags & SA_ONSTACK) && usable && !on_alternate(t, r->rsp))
        return (u64)t->alternate.ss_sp + t->alternate.ss_size;
    return r->rsp - RED_ZONE;
}

int signal_frame_push(struct registers *r, const struct k_sigaction *action, const siginfo_t *info,
                      u64 mask) {
    struct thread *t = this_thread();
    u64 stack = frame_stack(t, r, action);
    u64 fpu = ALIGN_DOWN(stack - fpu_area_size, 64);
    // The handler must find the stack as after a call: 16-aligned plus the return address.
    u64 place = ALIGN_DOWN(fpu - sizeof(struct signal_frame), 16) - 8;
    struct signal_frame frame = {.restorer = action->restorer, .info = *info};

    frame.context.stack = t->alternate;
    frame.context.fpu = fpu;
    frame.context.mask = mask;
    save_registers(&frame.context, r);
    fpu_save(t->fpu); // the thread's own area is free while it runs
    if (user_write((void *)fpu, t->fpu, fpu_area_size) < 0 ||
        user_write((void *)place, &frame, sizeof(frame)) < 0)
        return -EFAULT;
    r->rsp = place;
    r->rip = (u64)action->handler;
    r->rdi = info->si_signo;
    r->rsi = place + offsetof(struct signal_frame, info);
    r->rdx = place + offsetof(struct signal_frame, context);
    r->rax = 0;
    r->rflags &= ~APPLICATION_FLAGS;
    return 0;
}

int signal_frame_pop(struct registers *r, u64 *mask) {
    struct thread *t = this_thread();
    struct kernel_context context; // the handler's return has popped the restorer

    if (user_read(&context, (void *)r->rsp, sizeof(context)) < 0)
        return -EFAULT;
    if (context.fpu) {
        // Once with interrupts on, to bring the pages in; then so that no thread switch comes
        // between the reading and the restoring.
        if (user_read(t->fpu, (void *)context.fpu, fpu_area_size) < 0)
            return -EFAULT;
        interrupts_off();
        int status = user_read(t->fpu, (void *)context.fpu, fpu_area_size);
        if (!status)
            fpu_restore(t->fpu);
        interrupts_on();
        if (status)
            return status;
    }
    restore_registers(r, &context);
    *mask = context.mask;
    return 0;
}
