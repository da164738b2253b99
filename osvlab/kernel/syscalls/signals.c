// System calls about signals.

#include <string.h>

#include "scheduler.h"
#include "signal_frame.h"
#include "syscalls.h"
#include "user.h"

#define MASK_SIZE 8
#define UNBLOCKABLE ((1UL << (SIGKILL - 1)) | (1UL << (SIGSTOP - 1)))

long sys_rt_sigaction(int signal, const struct k_sigaction *new, struct k_sigaction *old,
                      size_t size) {
    struct k_sigaction action;

    if (signal < 1 || signal > SIGNALS || size != MASK_SIZE ||
        (new && (signal == SIGKILL || signal == SIGSTOP)))
        return -EINVAL;
    struct k_sigaction *current = &current_process()->actions[signal - 1];
    if (new && user_read(&action, new, sizeof(action)) < 0)
        return -EFAULT;
    if (old && user_write(old, current, sizeof(*old)) < 0)
        return -EFAULT;
    if (new) {
        action.mask &= ~UNBLOCKABLE;
        *current = action;
    }
    return 0;
}

long sys_rt_sigprocmask(int how, const u64 *new, u64 *old, size_t size) {
    struct thread *t = this_thread();
    u64 mask, before = t->blocked;

    if (size != MASK_SIZE)
        return -EINVAL;
    if (new) {
        if (user_read(&mask, new, sizeof(mask)) < 0)
            return -EFAULT;
        switch (how) {
        case SIG_BLOCK:
            t->blocked |= mask;
            break;
        case SIG_UNBLOCK:
            t->blocked &= ~mask;
            break;
        case SIG_SETMASK:
            t->blocked = mask;
            break;
        default:
            return -EINVAL;
        }
        t->blocked &= ~UNBLOCKABLE;
    }
    return old ? user_write(old, &before, sizeof(before)) : 0;
}

long sys_rt_sigpending(u64 *out, size_t size) {
    u64 pending = (this_thread()->signals.pending | current_process()->signals.pending) &
                  this_thread()->blocked;

    return size != MASK_SIZE ? -EINVAL : user_write(out, &pending, sizeof(pending));
}

// Sleeps until a signal is to be delivered. Always -EINTR.
static long sleep_for_signal(void) {
    static struct wait_queue nobody_wakes = WAIT_QUEUE(nobody_wakes, "signals");

    return WAIT_FOR(&nobody_wakes, false, NEVER, true);
}

// For calls that sleep with another signal mask: it is put back after the handler has run.
void signal_mask_for_sleep(u64 mask) {
    struct thread *t = this_thread();

    t->saved_mask = t->blocked;
    t->blocked = mask & ~UNBLOCKABLE;
    t->restore_mask = true;
}

long sys_rt_sigsuspend(const u64 *mask, size_t size) {
    u64 wanted;

    if (size != MASK_SIZE)
        return -EINVAL;
    if (user_read(&wanted, mask, sizeof(wanted)) < 0)
        return -EFAULT;
    signal_mask_for_sleep(wanted);
    return sleep_for_signal();
}

long sys_pause(void) {
    return sleep_for_signal();
}

// Takes one of the signals, of the thread's or of the process's.
static bool take_signal(u64 wanted, siginfo_t *info) {
    return signal_queue_take(&this_thread()->signals, wanted, info) ||
           signal_queue_take(&current_process()->signals, wanted, info);
}

long sys_rt_sigtimedwait(const u64 *set, siginfo_t *info, const struct timespec *timeout,
                         size_t size) {
    static struct wait_queue nobody_wakes = WAIT_QUEUE(nobody_wakes, "sigtimedwait");
    struct thread *t = this_thread();
    struct timespec length;
    siginfo_t result;
    u64 wanted, deadline = NEVER;

    if (size != MASK_SIZE)
        return -EINVAL;
    if (user_read(&wanted, set, sizeof(wanted)) < 0 ||
        (timeout && user_read(&length, timeout, sizeof(length)) < 0))
        return -EFAULT;
    if (timeout && !timespec_valid(&length))
        return -EINVAL;
    if (timeout)
        deadline = clock_monotonic() + timespec_to_ns(&length);
    u64 before = t->blocked;
    t->awaited = wanted;
    t->blocked &= ~wanted; // so that their arrival ends the sleep
    int status = WAIT_FOR(&nobody_wakes, false, deadline, true);
    t->blocked = before;
    t->awaited = 0;
    if (!take_signal(wanted & ~UNBLOCKABLE, &result))
        return status == -ETIMEDOUT ? -EAGAIN : -EINTR;
    if (info && user_write(info, &result, sizeof(result)) < 0)
        return -EFAULT;
    return result.si_signo;
}

long sys_rt_sigreturn(void) {
    struct thread *t = this_thread();
    u64 mask;

    if (signal_frame_pop(t->frame, &mask) < 0)
        process_exit(SIGSEGV);
    t->blocked = mask & ~UNBLOCKABLE;
    t->restore_all = true;
    return (long)t->frame->rax;
}

long sys_sigaltstack(const stack_t *new, stack_t *old) {
    struct thread *t = this_thread();
    stack_t stack, current = t->alternate;
    u64 offset = t->frame->rsp - (u64)current.ss_sp;

    if (!current.ss_size)
        current.ss_flags = SS_DISABLE;
    else if (offset < current.ss_size)
        current.ss_flags |= SS_ONSTACK;
    if (new && user_read(&stack, new, sizeof(stack)) < 0)
        return -EFAULT;
    if (old && user_write(old, &current, sizeof(current)) < 0)
        return -EFAULT;
    if (!new)
        return 0;
    if (current.ss_flags & SS_ONSTACK)
        return -EPERM;
    if (stack.ss_flags & SS_DISABLE)
        stack = (stack_t){0};
    else if (stack.ss_size < MINSIGSTKSZ)
        return -ENOMEM;
    t->alternate = stack;
    return 0;
}

static long send(int pid, int tid, int signal, int code) {
    siginfo_t info = {.si_signo = signal, .si_code = code};

    if (signal < 0 || signal > SIGNALS)
        return -EINVAL;
    info.si_pid = current_process()->pid;
    return signal_send(pid, tid, &info);
}

long sys_kill(int pid, int signal) {
    return send(pid <= 0 ? current_process()->pid : pid, 0, signal, SI_USER);
}

// The information is the sender's, but it cannot pretend to be the kernel.
static long send_with_info(int pid, int tid, int signal, const siginfo_t *user) {
    siginfo_t info;

    if (user_read(&info, user, sizeof(info)) < 0)
        return -EFAULT;
    if (signal < 0 || signal > SIGNALS)
        return -EINVAL;
    if (info.si_code >= 0 && pid != current_process()->pid)
        return -EPERM;
    info.si_signo = signal;
    return signal_send(pid, tid, &info);
}

long sys_rt_sigqueueinfo(int pid, int signal, const siginfo_t *info) {
    return send_with_info(pid, 0, signal, info);
}

long sys_rt_tgsigqueueinfo(int pid, int tid, int signal, const siginfo_t *info) {
    return pid <= 0 || tid <= 0 ? -EINVAL : send_with_info(pid, tid, signal, info);
}

long sys_tgkill(int pid, int tid, int signal) {
    return pid <= 0 || tid <= 0 ? -EINVAL : send(pid, tid, signal, SI_TKILL);
}

long sys_tkill(int tid, int signal) {
    return tid <= 0 ? -EINVAL : send(-1, tid, signal, SI_TKILL);
}
