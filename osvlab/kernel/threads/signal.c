// Signals, as far as one process needs them (signal(7); frame layout: Linux x86_64 rt_sigframe).
//
// Invariant: a handler runs only on the way back to application code, on a frame from which
// rt_sigreturn restores every register. SIGKILL and a process's exit cannot be blocked.

#include <string.h>
#include <sys/ucontext.h>
#include <sys/wait.h>

#include "arch.h"
#include "crash.h"
#include "print.h"
#include "scheduler.h"
#include "signal_frame.h"
#include "user.h"

#define BIT(signal) (1UL << ((signal) - 1))
#define IGNORED_BY_DEFAULT (BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGCONT))
#define STOPPING (BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU))
#define CRASHING                                                                            \
    (BIT(SIGABRT) | BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | \
     BIT(SIGSYS) | BIT(SIGQUIT) | BIT(SIGXCPU) | BIT(SIGXFSZ))

#define EXIT_BY_SIGNAL(signal) (signal)

static struct k_sigaction *action_of(struct process *p, int signal) {
    return &p->actions[signal - 1];
}

static bool ignored(struct process *p, int signal) {
    void (*handler)(int) = action_of(p, signal)->handler;

    if (handler == SIG_DFL)
        return (IGNORED_BY_DEFAULT | STOPPING) & BIT(signal);
    return handler == SIG_IGN;
}

bool signal_deliverable(struct thread *t) {
    return t->killed || (t->pending & ~t->blocked);
}

void signal_send_thread(struct thread *t, int signal) {
    if (t->process == &kernel_process)
        return;
    if (signal == SIGKILL) {
        process_kill(t->process, EXIT_BY_SIGNAL(SIGKILL));
        t->killed = true;
    } else if (ignored(t->process, signal) && !(t->blocked & BIT(signal))) {
        return;
    } else {
        __atomic_or_fetch(&t->pending, BIT(signal), __ATOMIC_RELAXED);
    }
    scheduler_wake(t, true);
}

// To the first thread that does not block it, or to the first one.
void process_signal(struct process *process, int signal) {
    struct thread *chosen = NULL;
    u64 flags = spin_lock(threads_list_lock());

    LIST_EACH(&process->threads, t, struct thread, sibling) {
        if (!chosen || ((chosen->blocked & BIT(signal)) && !(t->blocked & BIT(signal))))
            chosen = t;
    }
    spin_unlock(threads_list_lock(), flags);
    if (chosen)
        signal_send_thread(chosen, signal);
}

// A fault in application code: true if a handler will run.
bool signal_fault(struct registers *r, int signal, int code, u64 address) {
    struct thread *t = this_thread();

    (void)r;
    if (!t || t->process == &kernel_process || t->kernel_depth > 1 || (t->blocked & BIT(signal)))
        return false;
    void (*handler)(int) = action_of(t->process, signal)->handler;
    if (handler == SIG_DFL || handler == SIG_IGN)
        return false;
    t->fault_info = (siginfo_t){.si_signo = signal, .si_code = code, .si_addr = (void *)address};
    t->fault_mask |= BIT(signal);
    t->pending |= BIT(signal);
    return true;
}

static int next_signal(struct thread *t) {
    u64 ready = t->pending & ~t->blocked;
    u64 faults = ready & t->fault_mask;

    if (!ready)
        return 0;
    return __builtin_ctzl(faults ? faults : ready) + 1;
}

// A system call that was interrupted is begun again, or reports EINTR.
static void restart_call(struct registers *r, i64 call, unsigned long flags) {
    if (call >= 0 && (i64)r->rax == -EINTR && (flags & SA_RESTART)) {
        r->rax = call;
        r->rip -= 2; // the SYSCALL instruction
    }
}

static void die_by(struct registers *r, int signal) {
    char words[96];
    struct thread *t = this_thread();

    if (CRASHING & BIT(signal)) {
        format_string(words, sizeof(words), "%s in thread %s, which handles no signal %d",
                      signal == SIGABRT ? "abort" : "fatal signal", thread_title(t), signal);
        crash(r, words);
    }
    debug("process %d ended by signal %d\n", t->process->pid, signal);
    process_exit(EXIT_BY_SIGNAL(signal));
}

static void run_handler(struct registers *r, int signal, i64 call) {
    struct thread *t = this_thread();
    struct k_sigaction action = *action_of(t->process, signal);
    siginfo_t info = t->fault_mask & BIT(signal)
                         ? t->fault_info
                         : (siginfo_t){.si_signo = signal, .si_code = SI_USER};

    t->pending &= ~BIT(signal);
    t->fault_mask &= ~BIT(signal);
    if (action.handler == SIG_IGN || (action.handler == SIG_DFL && ignored(t->process, signal)))
        return;
    if (action.handler == SIG_DFL)
        die_by(r, signal);

    restart_call(r, call, action.flags);
    u64 mask = t->restore_mask ? t->saved_mask : t->blocked;
    t->restore_mask = false;
    if (signal_frame_push(r, &action, &info, mask) < 0) {
        kprintf("No room on the stack for the handler of signal %d.\n", signal);
        die_by(r, SIGSEGV);
    }
    t->blocked |= action.mask | (action.flags & SA_NODEFER ? 0 : BIT(signal));
    if (action.flags & SA_RESETHAND)
        action_of(t->process, signal)->handler = SIG_DFL;
}

// Dying in libc could leave one of its locks held for ever, so a thread that is there lives on
// until it comes out or sleeps interruptibly.
static bool may_die_here(const struct registers *r, i64 call) {
    return !in_kernel_image(r->rip) || (call >= 0 && (i64)r->rax == -EINTR);
}

void signals_deliver(struct registers *r, i64 call) {
    struct thread *t = this_thread();

    if (!t->process || t->process == &kernel_process || t->kernel_depth > 0)
        return;
    if (t->killed && may_die_here(r, call)) {
        interrupts_on();
        t->kernel_depth = 1;
        process_exit(EXIT_BY_SIGNAL(SIGKILL));
    }
    int signal = next_signal(t);
    if (signal) {
        t->kernel_depth++;
        run_handler(r, signal, call);
        t->kernel_depth--;
    } else if (!signal && t->restore_mask) {
        t->blocked = t->saved_mask;
        t->restore_mask = false;
    }
}

static void deliver_and_return(struct registers *r) {
    interrupts_on();
    signals_deliver(r, -1);
    interrupts_off();
    registers_restore(r);
}

// Application code was interrupted. Its handler's frame may have to be faulted in, for which
// interrupts must be on, but the interrupt stack serves the next interrupt: so move over to the
// system call stack, which is empty.
void signals_after_interrupt(const struct registers *r) {
    struct thread *t = this_thread();

    if (t->kernel_depth || t->process == &kernel_process || !signal_deliverable(t))
        return;
    if (in_core_text(r->rip)) { // the first or last instructions of a system call
        scheduler_tick_soon();
        return;
    }
    struct registers *copy = (struct registers *)ALIGN_DOWN(stacks_syscall_top(t) - sizeof(*r), 16);
    *copy = *r;
    run_on_frame(copy, deliver_and_return);
}
