// Processes: threads that began together and end together.
//
// Invariant: a process exists while it has threads, and after that until its parent has asked
// for its status (wait4). Once `exiting` is set its status does not change, no thread is added,
// and every thread dies at its next safe point: on the way back to application code, or when an
// interruptible sleep ends.
// Locks, first to last: processes, threads, a process's own. A process found by its number is used
// under the first, or not at all: it may be gone a moment later.

#include <string.h>
#include <sys/wait.h>

#include "area_internal.h"
#include "file.h"
#include "futex.h"
#include "memory.h"
#include "print.h"
#include "runtime.h"
#include "scheduler.h"

#define BRK_BASE 0x300000000000UL
#define BRK_ROOM 0x100000000UL

static struct spinlock processes_lock = SPINLOCK("processes");
static struct list processes = LIST(processes);

struct process kernel_process = {
    .link = LIST(kernel_process.link),
    .threads = LIST(kernel_process.threads),
    .pid = 1,
    .name = "kernel",
    .lock = SPINLOCK("process"),
    .signals.infos = LIST(kernel_process.signals.infos),
    .children = WAIT_QUEUE(kernel_process.children, "children"),
};

void processes_init(void) {
    kernel_process.actions = kzalloc(SIGNALS * sizeof(struct k_sigaction));
    list_append(&processes, &kernel_process.link);
}

struct process *process_new(struct process *parent) {
    struct process *p = kzalloc(sizeof(*p));

    if (!p)
        return NULL;
    list_init(&p->threads);
    list_init(&p->signals.infos);
    p->lock.name = "process";
    wait_queue_init(&p->children, "children");
    p->parent = parent;
    strncpy(p->name, parent->name, sizeof(p->name) - 1);
    p->actions = kzalloc(SIGNALS * sizeof(struct k_sigaction));
    p->files = files_clone(parent->files);
    if (!p->actions || !p->files) {
        process_discard(p);
        return NULL;
    }
    memcpy(p->actions, parent->actions, SIGNALS * sizeof(struct k_sigaction));
    u64 flags = spin_lock(&processes_lock);
    list_append(&processes, &p->link);
    spin_unlock(&processes_lock, flags);
    return p;
}

// The pid is that of the first thread.
void process_named_by(struct process *p, struct thread *first) {
    p->pid = first->id;
    p->brk_start = p->brk_end = BRK_BASE + (u64)p->pid * BRK_ROOM;
}

void process_discard(struct process *p) {
    if (p->files)
        files_destroy(p->files);
    if (p->link.next) {
        u64 flags = spin_lock(&processes_lock);
        list_remove(&p->link);
        spin_unlock(&processes_lock, flags);
    }
    signal_queue_empty(&p->signals);
    kfree(p->actions);
    kfree(p);
}

// Marks every thread but the current one. Sleeping ones are woken; the rest notice on their
// way out of the kernel or at the next interrupt outside libc.
static void kill_threads_locked(struct process *p) {
    LIST_EACH(&p->threads, t, struct thread, sibling) {
        if (t == this_thread())
            continue;
        t->killed = true;
        scheduler_wake(t, true);
    }
}

// False if it was exiting already.
static bool begin_exit(struct process *p, int status) {
    u64 flags = spin_lock(&p->lock);
    bool first = !p->exiting;

    if (first) {
        p->exiting = true;
        p->exit_status = status;
    }
    spin_unlock(&p->lock, flags);
    return first;
}

_Noreturn void process_exit(int status) {
    struct process *p = current_process();

    if (begin_exit(p, status)) {
        u64 flags = spin_lock(threads_list_lock());
        kill_threads_locked(p);
        spin_unlock(threads_list_lock(), flags);
    }
    futex_thread_exit(this_thread());
    thread_exit();
}

// By a signal, whoever sent it: the sender may be one of them.
void process_kill_locked(struct process *p, int status) {
    begin_exit(p, status);
    kill_threads_locked(p);
    if (current_process() == p)
        this_thread()->killed = true;
}

// A child of a dead parent becomes the kernel's, which never asks for it: nobody will collect it.
static void orphan_children(struct process *parent) {
    struct list dead = LIST(dead);
    u64 flags = spin_lock(&processes_lock);

    LIST_EACH_SAFE(&processes, child, struct process, link) {
        if (child->parent != parent)
            continue;
        child->parent = &kernel_process;
        child->orphan = true;
        if (child->dead) {
            list_remove(&child->link);
            list_append(&dead, &child->link);
        }
    }
    spin_unlock(&processes_lock, flags);
    for (struct process *p; (p = LIST_FIRST(&dead, struct process, link));)
        process_discard(p);
}

// From here on the parent may collect the process and free it.
static void announce_death(struct process *p) {
    int pid = p->pid, status = p->exit_status;
    u64 flags = spin_lock(&processes_lock);
    bool orphan = p->orphan;
    int parent = p->parent->pid;

    p->dead = true;
    wait_wake_all(&p->parent->children);
    spin_unlock(&processes_lock, flags);
    if (orphan)
        process_discard(p);
    siginfo_t info = {.si_signo = SIGCHLD, .si_code = status & 0x7f ? CLD_KILLED : CLD_EXITED};
    info.si_pid = pid;
    info.si_status = status & 0x7f ? status & 0x7f : status >> 8;
    signal_send(parent, 0, &info);
}

// Called by a dying thread that is off its lists; the last one closes the process down.
void process_thread_gone(struct thread *t, bool last) {
    struct process *p = t->process;

    if (p == &kernel_process || !last)
        return;
    t->killed = false; // closing files may sleep
    files_destroy(p->files);
    p->files = NULL;
    runtime_process_gone(p->pid);
    areas_remove_owner(p->pid);
    orphan_children(p);
    announce_death(p);
    t->process = &kernel_process;
}

// Takes a dead child that matches wait4's pid argument off the list, for the caller alone. NULL:
// there is none; *any tells whether there are living ones.
static struct process *take_dead_child(struct process *parent, int pid, bool *any) {
    struct process *found = NULL;
    u64 flags = spin_lock(&processes_lock);

    *any = false;
    LIST_EACH(&processes, p, struct process, link) {
        if (p->parent != parent || (pid > 0 && p->pid != pid))
            continue;
        *any = true;
        if (p->dead) {
            found = p;
            list_remove(&p->link);
            break;
        }
    }
    spin_unlock(&processes_lock, flags);
    return found;
}

int process_collect(int pid, int options, int *status) {
    struct process *parent = current_process(), *child = NULL;
    bool any = false;
    int error = 0;

    if (options & WNOHANG)
        child = take_dead_child(parent, pid, &any);
    else
        error = WAIT_FOR(&parent->children, (child = take_dead_child(parent, pid, &any)) || !any,
                         NEVER, true);
    if (error)
        return error;
    if (!child)
        return any ? 0 : -ECHILD;
    int found = child->pid;
    *status = child->exit_status;
    process_discard(child);
    return found;
}

struct process *process_find_locked(int pid) {
    LIST_EACH(&processes, p, struct process, link) {
        if (p->pid == pid && !p->dead)
            return p;
    }
    return NULL;
}

struct spinlock *processes_list_lock(void) {
    return &processes_lock;
}

static bool only_mine(void) {
    u64 flags = spin_lock(&processes_lock);
    bool only = true;

    LIST_EACH(&processes, p, struct process, link)
    only &= p->dead || p == &kernel_process || p == current_process();
    spin_unlock(&processes_lock, flags);
    return only;
}

void processes_end(u64 deadline) {
    u64 flags = spin_lock(&processes_lock), inner = spin_lock(threads_list_lock());

    LIST_EACH(&processes, p, struct process, link) {
        if (p == current_process() && p != &kernel_process)
            kill_threads_locked(p);
        else if (p != &kernel_process && !p->dead)
            process_kill_locked(p, SIGKILL);
    }
    spin_unlock(threads_list_lock(), inner);
    spin_unlock(&processes_lock, flags);
    WAIT_FOR(&kernel_process.children, only_mine(), deadline, false);
}

bool process_lives(int pid) {
    u64 flags = spin_lock(&processes_lock);
    bool lives = process_find_locked(pid);

    spin_unlock(&processes_lock, flags);
    return lives;
}

void processes_each(void (*visit)(struct process *, void *), void *argument) {
    u64 flags = spin_lock(&processes_lock), inner = spin_lock(threads_list_lock());

    LIST_EACH(&processes, p, struct process, link)
    visit(p, argument);
    spin_unlock(threads_list_lock(), inner);
    spin_unlock(&processes_lock, flags);
}
