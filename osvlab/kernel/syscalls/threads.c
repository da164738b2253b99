// System calls about threads and processes.

#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "arch.h"
#include "area_internal.h"
#include "futex.h"
#include "print.h"
#include "scheduler.h"
#include "syscalls.h"
#include "user.h"

enum {
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_REQUEUE = 3,
    FUTEX_CMP_REQUEUE = 4,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10
};
#define FUTEX_CLOCK_REALTIME 256
#define FUTEX_CMD_MASK 127

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003

// A new thread begins with a copy of its maker's registers, but for the result and the stack.
static void return_to_application(void *frame) {
    struct registers *r = frame;
    struct thread *t = this_thread();

    t->kernel_depth = 0;
    signals_deliver(r, -1);
    interrupts_off();
    registers_restore(r);
}

static void copy_frame(struct thread *t, u64 stack) {
    struct registers *r = (struct registers *)ALIGN_DOWN(stacks_syscall_top(t) - sizeof(*r), 16);

    *r = *this_thread()->frame;
    r->rax = 0;
    r->rsp = stack ? stack : r->rsp;
    t->frame = r;
    t->rsp = (u64)r; // thread_launch builds below it
}

static void inherit(struct thread *t, u64 flags, u64 tls, u32 *child_tid) {
    struct thread *me = this_thread();

    t->fs_base = flags & CLONE_SETTLS ? tls : thread_pointer();
    t->blocked = me->blocked;
    t->kernel_depth = 1;
    if (t->process->exiting)
        t->killed = true; // it came too late to be told
    t->clear_tid = flags & CLONE_CHILD_CLEARTID ? child_tid : NULL;
    fpu_save(t->fpu);
}

long sys_clone(u64 flags, u64 stack, u32 *parent_tid, u32 *child_tid, u64 tls) {
    struct process *me = current_process(), *process = me;
    u32 id;

    if (!(flags & CLONE_VM)) // fork: there is one address space
        return -ENOSYS;
    if (!(flags & CLONE_THREAD) && !(process = process_new(me)))
        return -ENOMEM;
    struct thread *t = thread_new(process, thread_name(this_thread()));
    if (!t) {
        if (process != me)
            process_discard(process);
        return -ENOMEM;
    }
    if (process != me)
        process_named_by(process, t);
    inherit(t, flags, tls, child_tid);
    copy_frame(t, stack);
    id = thread_id(t);
    if (flags & CLONE_PARENT_SETTID)
        user_write(parent_tid, &id, sizeof(id));
    if (flags & CLONE_CHILD_SETTID)
        user_write(child_tid, &id, sizeof(id));
    thread_launch(t, return_to_application, t->frame);
    if (flags & CLONE_VFORK) // the maker waits until the child is done with its stack
        WAIT_FOR(&me->children, !process_lives((int)id), NEVER, false);
    return id;
}

long sys_exit(int status) {
    struct thread *t = this_thread();
    struct process *p = t->process;

    u64 flags = spin_lock(threads_list_lock());
    bool last = p->threads.next == &t->sibling && p->threads.previous == &t->sibling;
    spin_unlock(threads_list_lock(), flags);
    if (last)
        process_exit((status & 0xff) << 8);
    futex_thread_exit(t);
    thread_exit();
}

long sys_exit_group(int status) {
    process_exit((status & 0xff) << 8);
}

long sys_wait4(int pid, int *status, int options, struct rusage *usage) {
    int value = 0;
    long found = process_collect(pid, options, &value);

    (void)usage;
    if (found > 0 && status && user_write(status, &value, sizeof(value)) < 0)
        return -EFAULT;
    return found;
}

long sys_waitid(int type, int id, siginfo_t *info, int options, struct rusage *usage) {
    int value = 0;
    long found = process_collect(type == P_ALL ? -1 : id, options, &value);
    bool exited = (value & 0x7f) == 0;

    (void)usage;
    if (found < 0)
        return found;
    siginfo_t result = {.si_signo = found ? SIGCHLD : 0,
                        .si_code = exited ? CLD_EXITED : CLD_KILLED};
    result.si_pid = (int)found;
    result.si_status = exited ? value >> 8 : value & 0x7f;
    return info ? user_write(info, &result, sizeof(result)) : 0;
}

long sys_gettid(void) {
    return this_thread()->id;
}

long sys_getpid(void) {
    return current_process()->pid;
}

long sys_getppid(void) {
    struct process *parent = current_process()->parent;
    if (!parent) // nobody's any more, or the kernel's own
        parent = current_process() == &kernel_process ? NULL : &kernel_process;
    return parent ? parent->pid : 0;
}

long sys_set_tid_address(u32 *address) {
    this_thread()->clear_tid = address;
    return this_thread()->id;
}

long sys_set_robust_list(u64 head, size_t size) {
    if (size != 24)
        return -EINVAL;
    this_thread()->robust_list = head;
    return 0;
}

long sys_get_robust_list(int tid, u64 *head, size_t *size) {
    size_t length = 24;

    if (tid && tid != this_thread()->id)
        return -ESRCH;
    int status = user_write(head, &this_thread()->robust_list, sizeof(*head));
    return status ? status : user_write(size, &length, sizeof(length));
}

// GS is the kernel's: it finds its per-CPU state there, in the same ring.
long sys_arch_prctl(int code, u64 address) {
    u64 base = thread_pointer();

    switch (code) {
    case ARCH_SET_FS:
        thread_pointer_set(address);
        return 0;
    case ARCH_GET_FS:
        return user_write((void *)address, &base, sizeof(base));
    case ARCH_SET_GS:
        return -EPERM;
    default:
        return -EINVAL;
    }
}

// The deadline a futex call means, in time since boot.
static int futex_deadline(int operation, const struct timespec *timeout, u64 *deadline) {
    struct timespec t;
    int command = operation & FUTEX_CMD_MASK;

    *deadline = NEVER;
    if (!timeout || (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET))
        return 0;
    if (user_read(&t, timeout, sizeof(t)) < 0)
        return -EFAULT;
    if (!timespec_valid(&t))
        return -EINVAL;
    u64 now = clock_monotonic(), wanted = timespec_to_ns(&t);
    if (command == FUTEX_WAIT) // relative
        *deadline = now + wanted;
    else if (operation & FUTEX_CLOCK_REALTIME)
        *deadline = wanted > clock_realtime() ? now + (wanted - clock_realtime()) : now;
    else
        *deadline = wanted;
    return 0;
}

long sys_futex(u32 *address, int operation, u32 value, const struct timespec *timeout,
               u32 *address2, u32 value3) {
    u64 deadline;
    int status = futex_deadline(operation, timeout, &deadline);

    if (status)
        return status;
    switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return futex_wait(address, value, deadline, UINT32_MAX);
    case FUTEX_WAIT_BITSET:
        return futex_wait(address, value, deadline, value3);
    case FUTEX_WAKE:
        return futex_wake(address, (int)value, UINT32_MAX);
    case FUTEX_WAKE_BITSET:
        return futex_wake(address, (int)value, value3);
    case FUTEX_REQUEUE:
        return futex_requeue(address, address2, (int)value, (int)(u64)timeout, NULL);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(address, address2, (int)value, (int)(u64)timeout, &value3);
    default:
        return -ENOSYS;
    }
}

long sys_sched_yield(void) {
    thread_yield();
    return 0;
}

long sys_sched_getaffinity(int tid, size_t size, u64 *mask) {
    u64 one = 1;

    (void)tid;
    if (size < sizeof(one))
        return -EINVAL;
    return user_write(mask, &one, sizeof(one)) < 0 ? -EFAULT : (long)sizeof(one);
}

long sys_sched_setaffinity(int tid, size_t size, const u64 *mask) {
    u64 wanted = 0;

    (void)tid;
    if (user_read(&wanted, mask, MIN(size, sizeof(wanted))) < 0)
        return -EFAULT;
    return wanted & 1 ? 0 : -EINVAL;
}

long sys_sched_getparam(int tid, int *parameter) {
    int zero = 0;
    (void)tid;
    return user_write(parameter, &zero, sizeof(zero));
}

long sys_sched_getscheduler(int tid) {
    (void)tid;
    return SCHED_OTHER;
}

long sys_sched_setscheduler(int tid, int policy, const int *parameter) {
    (void)tid;
    (void)parameter;
    return policy == SCHED_OTHER ? 0 : -EPERM;
}

long sys_sched_get_priority_max(int policy) {
    return policy == SCHED_FIFO || policy == SCHED_RR ? 99 : 0;
}

long sys_sched_get_priority_min(int policy) {
    return policy == SCHED_FIFO || policy == SCHED_RR ? 1 : 0;
}

long sys_getcpu(u32 *cpu_out, u32 *node) {
    u32 id = cpu()->id, zero = 0;

    if (cpu_out && user_write(cpu_out, &id, sizeof(id)) < 0)
        return -EFAULT;
    return node ? user_write(node, &zero, sizeof(zero)) : 0;
}

long sys_prctl(int option, u64 a, u64 b, u64 c, u64 d) {
    struct thread *t = this_thread();
    char name[16] = "";

    (void)c;
    (void)d;
    switch (option) {
    case PR_SET_NAME:
        if (user_string(name, (const char *)a, sizeof(name)) == -EFAULT)
            return -EFAULT;
        name[15] = 0;
        memcpy(t->name, name, sizeof(name));
        return 0;
    case PR_GET_NAME:
        return user_write((void *)a, t->name, sizeof(t->name));
    case PR_SET_MM: { // tells the path of the program: arg2 = PR_SET_MM_EXE_FILE's place, as text
        char path[64];
        if (a != PR_SET_MM_ARG_START)
            return -EINVAL;
        if (user_string(path, (const char *)b, sizeof(path)) == -EFAULT)
            return -EFAULT;
        path[63] = 0;
        memcpy(current_process()->name, path, sizeof(path));
        return 0;
    }
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_SET_PDEATHSIG:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_KEEPCAPS:
        return 0;
    default:
        return -EINVAL;
    }
}

long sys_membarrier(int command, unsigned flags) {
    (void)flags;
    return command == 0 /* QUERY */ ? 0 : -EINVAL;
}
