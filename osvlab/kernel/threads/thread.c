// The life of a thread: made, launched, named, gone.
//
// Invariant: a thread is on its process's list and on the list of all threads from thread_new
// until thread_exit; its memory is freed only after it has left the processor.

#include "thread.h"

#include <string.h>

#include "memory.h"
#include "print.h"
#include "scheduler.h"

#define KERNEL_IDS 1000000

static struct spinlock threads_lock = SPINLOCK("threads");
static struct list all_threads = LIST(all_threads);
static int next_id = 1;                 // processes and their threads
static int next_kernel_id = KERNEL_IDS; // threads of the kernel itself

struct thread *current_thread(void) {
    return this_thread();
}

struct process *current_process(void) {
    struct thread *t = this_thread();

    return t && t->process ? t->process : &kernel_process;
}

int thread_id(const struct thread *thread) {
    return thread->id;
}

const char *thread_name(const struct thread *thread) {
    return thread->name;
}

// For messages: an application's first thread is its main thread, whatever it calls itself.
const char *thread_title(const struct thread *thread) {
    bool first = thread->process && thread->process->pid == thread->id;

    return first ? "main" : thread->name;
}

void thread_facts(const struct thread *t, struct thread_facts *out) {
    *out = (struct thread_facts){
        .id = t->id,
        .pid = t->process ? t->process->pid : 0,
        .runnable = t->state == THREAD_RUNNABLE,
        .time = t->cpu_time,
        .switches = t->switches,
        .preemptions = t->preemptions,
    };
}

// Ids are shared by threads and processes: a process's number is its first thread's. The
// kernel's first thread is 1, so that the first application is 2, as in OSv.
static int take_id(const struct process *process) {
    bool kernel = process == &kernel_process && next_id > 1;

    return kernel ? next_kernel_id++ : next_id++;
}

struct thread *thread_new(struct process *process, const char *name) {
    scheduler_bury();
    struct thread *t = kzalloc(sizeof(*t));
    if (!t || !stacks_allocate(t)) {
        kfree(t);
        return NULL;
    }
    list_init(&t->run_link);
    list_init(&t->signals.infos);
    t->process = process;
    t->state = THREAD_SLEEPING;
    strncpy(t->name, name, sizeof(t->name) - 1);

    u64 flags = spin_lock(&threads_lock);
    t->id = take_id(process);
    list_append(&process->threads, &t->sibling);
    list_append(&all_threads, &t->all_link);
    spin_unlock(&threads_lock, flags);
    return t;
}

void thread_launch(struct thread *t, void (*function)(void *), void *argument) {
    // What switch_stacks pops, then thread_begin as the place to return to.
    u64 *stack = (u64 *)t->rsp;

    if (!stack)
        stack = (u64 *)stacks_syscall_top(t);
    *--stack = (u64)thread_begin;
    *--stack = 0;             // rbp
    *--stack = 0;             // rbx
    *--stack = (u64)function; // r12
    *--stack = (u64)argument; // r13
    *--stack = 0;             // r14
    *--stack = 0;             // r15
    t->rsp = (u64)stack;
    scheduler_start(t);
}

struct kernel_function {
    void (*function)(void *);
    void *argument;
};

static void run_kernel_function(void *argument) {
    struct kernel_function f = *(struct kernel_function *)argument;

    kfree(argument);
    f.function(f.argument);
    thread_exit();
}

struct thread *thread_start(const char *name, void (*function)(void *), void *argument) {
    struct kernel_function *f = kzalloc(sizeof(*f));
    struct thread *t = f ? thread_new(&kernel_process, name) : NULL;

    if (!t) {
        kfree(f);
        return NULL;
    }
    *f = (struct kernel_function){function, argument};
    t->kernel_depth = 1;
    thread_launch(t, run_kernel_function, f);
    return t;
}

_Noreturn void thread_exit(void) {
    struct thread *t = this_thread();

    u64 flags = spin_lock(&threads_lock);
    list_remove(&t->sibling);
    list_remove(&t->all_link);
    bool last = list_empty(&t->process->threads); // of two that leave at once, only one is
    spin_unlock(&threads_lock, flags);
    signal_queue_empty(&t->signals);
    process_thread_gone(t, last);
    scheduler_leave();
}

void thread_free(struct thread *t) {
    stacks_release(t);
    kfree(t);
}

void thread_yield(void) {
    scheduler_yield();
}

void threads_each(void (*visit)(struct thread *, void *), void *argument) {
    u64 flags = spin_lock(&threads_lock);
    LIST_EACH(&all_threads, t, struct thread, all_link)
    visit(t, argument);
    spin_unlock(&threads_lock, flags);
}

struct thread *thread_find_locked(int id) {
    LIST_EACH(&all_threads, t, struct thread, all_link) {
        if (t->id == id)
            return t;
    }
    return NULL;
}

struct spinlock *threads_list_lock(void) {
    return &threads_lock;
}
