// Threads and processes.
//
// There is one address space and no user mode, so a process here is only what Linux's
// clone(CLONE_VM) makes: threads that share file descriptors, a current directory, signal
// handlers and an exit status. The kernel's own process is number 1; the first application
// is number 2 (as in OSv).
#pragma once

#include <signal.h>

#include "list.h"
#include "lock.h"
#include "signal_queue.h"

struct files; // a table of file descriptors (files.h)
struct vnode;

struct process {
    struct list link;    // all processes
    struct list threads; // of struct thread.sibling
    int pid;
    struct process *parent;
    struct files *files; // descriptor table, current directory, umask
    char name[64];       // path of the program, for messages
    struct k_sigaction *actions;
    struct spinlock lock;
    struct signal_queue signals; // for whichever thread does not block them
    int exit_status;             // as wait4 reports it
    bool exiting;
    bool dead;                  // all threads are gone; wait4 can collect it
    bool orphan;                // nobody will
    struct wait_queue children; // wait4 sleeps here
    u64 brk_start, brk_end;
};

enum thread_state { THREAD_RUNNABLE, THREAD_SLEEPING, THREAD_DEAD };

struct thread; // the rest is in threads/thread.c's own header, threads/internal.h

// The thread that runs on this CPU.
struct thread *current_thread(void);
struct process *current_process(void);
int thread_id(const struct thread *thread);
const char *thread_name(const struct thread *thread);
const char *thread_title(const struct thread *thread);

// What is to be told of a thread.
struct thread_facts {
    int id, pid;
    bool runnable; // or running
    u64 time;      // nanoseconds on the processor
    u64 switches, preemptions;
};
void thread_facts(const struct thread *thread, struct thread_facts *out);

// Starts a thread of the kernel's own process.
struct thread *thread_start(const char *name, void (*function)(void *), void *argument);

// Lets another thread run.
void thread_yield(void);

// Sends a signal to a process, or with `tid` to that thread of it (pid -1: whosever it is). The
// signal 0 only looks whether there is one. 0, -ESRCH, -EAGAIN. May be called from an interrupt.
int signal_send(int pid, int tid, const siginfo_t *info);
// Sends one to the thread that runs, whoever else is there: SIGPIPE.
void signal_current_thread(int signal);

// Ends every process but the kernel's and the caller's, and waits until they are gone.
void processes_end(u64 deadline);

// Calls `visit` for every process/thread under the lists' locks: visit must not sleep.
void processes_each(void (*visit)(struct process *, void *), void *argument);
void threads_each(void (*visit)(struct thread *, void *), void *argument);
