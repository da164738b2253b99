// Processes: threads that began together and end together.
//
// Invariant: a process exists while it has threads, and after that until its parent has asked
// for its status (wait4). Once `exiting` is set its status does not change, no thread is added,
// and every thread dies at its next safe point: on the way back to application code, or when an
// interruptible sleep ends.

#include <string.h>
#include <sys/wait.h>

#include "area_internal.h"
#include "file.h"
#include "futex.h"
#include "memory.h"
#include "print.h"
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
    kfree(p->actions);
    kfree(p);
}

// Marks every thread but the current one. Sleeping ones are woken; the rest notice on their
// way out of the kernel or at the next interrupt outside libc.
static void kill_threads(struct process *p) {
    u64 flags = spin_lock(threads_list_lock());

    LIST_EACH(&p->threads, t, struct thread, sibling) {
        if (t == this_thread())
            continue;
        t->killed = true;
        scheduler_wake(t, true);
    }
    spin_unlock(threads_list_lock(), flags);
}

_Noreturn void process_exit(int status) {
    struct process *p = current_process();
    u64 flags = spin_lock(&p->lock);
    bool first = !p->exiting;

    if (first) {
        p->exiting = true;
        p->exit_status = status;
    }
    spin_unlock(&p->lock, flags);
    if (first)
        kill_threads(p);
    futex_thread_exit(this_thread());
    thread_exit();
}

// From a signal to a process none of whose threads is running this.
void process_kill(struct process *p, int status) {
    u64 flags = spin_lock(&p->lock);
    if (!p->exiting) {
        p->exiting = true;
        p->exit_status = status;
    }
    spin_unlock(&p->lock, flags);
    kill_threads(p);
}

static void adopt_children(struct process *p) {
    u64 flags = spin_lock(&processes_lock);
    LIST_EACH(&processes, child, struct process, link) {
        if (child->parent == p)
            child->parent = &kernel_process;
    }
    spin_unlock(&processes_lock, flags);
}

// Called by a dying thread that is off its lists; the last one closes the process down.
void process_thread_gone(struct thread *t) {
    struct process *p = t->process;

    if (p == &kernel_process || !list_empty(&p->threads))
        return;
    t->killed = false; // closing files may sleep
    files_destroy(p->files);
    p->files = NULL;
    areas_remove_owner(p->pid);
    adopt_children(p);
    u64 flags = spin_lock(&p->lock);
    p->dead = true;
    spin_unlock(&p->lock, flags);
    struct process *parent = p->parent;
    if (parent != &kernel_process)
        process_signal(parent, SIGCHLD);
    wait_wake_all(&parent->children);
}

// A child that matches wait4's pid argument: a dead one if there is, else any.
static struct process *find_child(struct process *parent, int pid) {
    struct process *any = NULL;
    u64 flags = spin_lock(&processes_lock);

    LIST_EACH(&processes, p, struct process, link) {
        if (p->parent != parent || (pid > 0 && p->pid != pid))
            continue;
        any = p;
        if (p->dead)
            break;
    }
    spin_unlock(&processes_lock, flags);
    return any;
}

int process_collect(int pid, int options, int *status) {
    struct process *parent = current_process(), *child = NULL;
    int error = 0;

    if (options & WNOHANG)
        child = find_child(parent, pid);
    else
        error = WAIT_FOR(&parent->children, !(child = find_child(parent, pid)) || child->dead,
                         NEVER, true);
    if (error)
        return error;
    if (!child)
        return -ECHILD;
    if (!child->dead)
        return 0;
    int found = child->pid;
    *status = child->exit_status;
    process_discard(child);
    return found;
}

struct process *process_find(int pid) {
    struct process *found = NULL;
    u64 flags = spin_lock(&processes_lock);

    LIST_EACH(&processes, p, struct process, link) {
        if (p->pid == pid && !p->dead)
            found = p;
    }
    spin_unlock(&processes_lock, flags);
    return found;
}

void processes_each(void (*visit)(struct process *, void *), void *argument) {
    u64 flags = spin_lock(&processes_lock);

    LIST_EACH(&processes, p, struct process, link)
    visit(p, argument);
    spin_unlock(&processes_lock, flags);
}
