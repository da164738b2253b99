// Signals, as far as one process needs them (signal(7); frame layout: Linux x86_64 rt_sigframe).
//
// Invariant: a handler runs only on the way back to application code, on a frame from which
// rt_sigreturn restores every register. SIGKILL and a process's exit cannot be blocked.

#include <string.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>

#include "arch.h"
#include "crash.h"
#include "print.h"
#include "scheduler.h"
#include "signal_frame.h"
#include "syscalls.h"
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

static u64 waiting_for(const struct thread *t) {
    u64 process = t->process ? t->process->signals.pending : 0;

    return (t->fault_mask | t->signals.pending | process) & ~t->blocked;
}

bool signal_deliverable(struct thread *t) {
    return t->killed || waiting_for(t);
}

// --- Sending; the list of threads is locked ---

static int send_to_thread(struct thread *t, const siginfo_t *info) {
    if (ignored(t->process, info->si_signo) && !((t->blocked | t->awaited) & BIT(info->si_signo)))
        return 0;
    if (!signal_queue_add(&t->signals, info))
        return -EAGAIN;
    scheduler_wake(t, true);
    return 0;
}

// To be taken by whichever thread does not block it: one is woken, at best one that sleeps for it.
// If all block it, it waits for one to unblock it, or to ask for it (sigwait).
static int send_to_process(struct process *process, const siginfo_t *info) {
    struct thread *chosen = NULL;

    LIST_EACH(&process->threads, t, struct thread, sibling) {
        if (t->awaited & BIT(info->si_signo)) {
            chosen = t;
            break;
        }
        if (!chosen && !(t->blocked & BIT(info->si_signo)))
            chosen = t;
    }
    bool awaited = chosen && (chosen->awaited & BIT(info->si_signo));
    if (chosen && !awaited && ignored(process, info->si_signo))
        return 0;
    if (!signal_queue_add(&process->signals, info))
        return -EAGAIN;
    if (chosen)
        scheduler_wake(chosen, true);
    return 0;
}

static int send_locked(int pid, int tid, const siginfo_t *info) {
    struct process *p = pid == -1 ? NULL : process_find_locked(pid);
    struct thread *t = tid ? thread_find_locked(tid) : NULL;

    if (pid == -1 && t)
        p = t->process;
    if (!p || (tid && (!t || t->process != p)))
        return -ESRCH;
    if (info->si_signo == 0 || p == &kernel_process)
        return 0;
    if (info->si_signo == SIGKILL) {
        process_kill_locked(p, EXIT_BY_SIGNAL(SIGKILL));
        return 0;
    }
    return t ? send_to_thread(t, info) : send_to_process(p, info);
}

void signal_current_thread(int signal) {
    siginfo_t info = {.si_signo = signal, .si_code = SI_USER};

    info.si_pid = current_process()->pid;
    signal_send(info.si_pid, thread_id(current_thread()), &info);
}

int signal_send(int pid, int tid, const siginfo_t *info) {
    u64 flags = spin_lock(processes_list_lock()), inner = spin_lock(threads_list_lock());
    int status = send_locked(pid, tid, info);

    spin_unlock(threads_list_lock(), inner);
    spin_unlock(processes_list_lock(), flags);
    return status;
}

// --- Delivering ---

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
    return true;
}

// Takes the next signal for this thread. A fault comes first: its instruction is at hand.
static bool next_signal(struct thread *t, siginfo_t *info) {
    u64 open = ~t->blocked;

    if (t->fault_mask & open) {
        *info = t->fault_info;
        t->fault_mask &= ~BIT(info->si_signo);
        return true;
    }
    return signal_queue_take(&t->signals, open, info) ||
           signal_queue_take(&t->process->signals, open, info);
}

// Calls that a handler always ends, even one with SA_RESTART (signal(7)): they wait for a signal,
// or for a time that would begin anew.
static bool ends_with_handler(const struct registers *r, i64 call) {
    switch (call) {
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_rt_sigtimedwait:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
        return true;
    case SYS_futex:
        return r->r10 != 0; // with a timeout
    default:
        return false;
    }
}

// A system call that was interrupted is begun again, or reports EINTR.
static void restart_call(struct registers *r, i64 call) {
    if (call >= 0 && (i64)r->rax == -EINTR) {
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

// False: the signal is ignored.
static bool run_handler(struct registers *r, const siginfo_t *info, i64 call) {
    struct thread *t = this_thread();
    int signal = info->si_signo;
    struct k_sigaction action = *action_of(t->process, signal);

    if (ignored(t->process, signal))
        return false;
    if (action.handler == SIG_DFL)
        die_by(r, signal);

    if ((action.flags & SA_RESTART) && !ends_with_handler(r, call))
        restart_call(r, call);
    u64 mask = t->restore_mask ? t->saved_mask : t->blocked;
    t->restore_mask = false;
    if (signal_frame_push(r, &action, info, mask) < 0) {
        kprintf("No room on the stack for the handler of signal %d.\n", signal);
        die_by(r, SIGSEGV);
    }
    t->blocked |= action.mask | (action.flags & SA_NODEFER ? 0 : BIT(signal));
    if (action.flags & SA_RESETHAND)
        action_of(t->process, signal)->handler = SIG_DFL;
    return true;
}

// Dying in libc could leave one of its locks held for ever, so a thread that is there lives on
// until it comes out or sleeps interruptibly.
static bool may_die_here(const struct registers *r, i64 call) {
    return !in_kernel_image(r->rip) || (call >= 0 && (i64)r->rax == -EINTR);
}

void signals_deliver(struct registers *r, i64 call) {
    struct thread *t = this_thread();
    bool final = call >= 0 && (i64)r->rax == -EINTR_FINAL;
    i64 again = final ? -1 : call;

    if (!t->process || t->process == &kernel_process || t->kernel_depth > 0)
        return;
    if (final)
        r->rax = -EINTR;
    if (t->killed && may_die_here(r, call)) {
        interrupts_on();
        t->kernel_depth = 1;
        process_exit(EXIT_BY_SIGNAL(SIGKILL));
    }
    siginfo_t info;
    bool handled = false;
    t->kernel_depth++;
    while (!handled && waiting_for(t) && next_signal(t, &info))
        handled = run_handler(r, &info, again);
    t->kernel_depth--;
    if (!handled)
        restart_call(r, again); // another thread took it, or it is ignored: nothing has happened
    if (!handled && t->restore_mask) {
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
