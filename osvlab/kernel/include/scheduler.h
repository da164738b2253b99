// The scheduler's own view of threads. Other parts use thread.h.
#pragma once

#include <signal.h>

#include "arch.h"
#include "clock.h"
#include "list.h"
#include "lock.h"
#include "signal_queue.h"
#include "thread.h"

#define SYSCALL_STACK_SIZE 16384
#define INTERRUPT_STACK_SIZE 8192
#define EXCEPTION_STACK_SIZE 16384

struct k_sigaction { // as rt_sigaction passes it
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    u64 mask;
};
#define SIGNALS 64

struct thread {
    u64 rsp;              // saved by switch_stacks while not running
    struct list run_link; // on the run queue, or to itself
    struct list sibling;  // in process->threads
    struct list all_link;
    struct process *process;
    int id;
    enum thread_state state;
    bool on_queue;
    bool woken; // a wake-up came since the thread last prepared to sleep
    bool interruptible;
    int kernel_depth; // >0 while in a system call or exception; 0 = application code
    char name[16];

    u64 stacks; // base of the guarded stacks, see threads/stacks.c
    void *fpu;  // saved floating-point registers
    u64 fs_base;

    u64 blocked; // signals, bit n-1 = signal n
    u64 awaited; // it sleeps for these: they are not ignored, whatever their action is
    struct signal_queue signals;
    siginfo_t fault_info; // of the pending synchronous signal
    u64 fault_mask;       // which signals are synchronous and pending
    u64 saved_mask;       // for sigsuspend, ppoll...
    bool restore_mask;
    stack_t alternate;
    bool killed;      // has to die at the next safe point
    bool restore_all; // leave the system call through registers_restore

    struct timer sleep_timer;
    bool timed_out;
    u32 *clear_tid; // CLONE_CHILD_CLEARTID
    u64 cpu_time, run_since;
    u64 switches, preemptions; // how often it left the processor; how often unasked
    int exception_depth;       // exceptions being served on this thread's exception stack
    struct registers *frame;   // of the system call being served
    u64 robust_list;           // head given to set_robust_list
};

extern struct spinlock scheduler_lock;

void scheduler_init(void);
void scheduler_idle(void);      // the boot thread ends here, as the idle thread
void scheduler_tick_soon(void); // have a look at the current thread again in a moment
void scheduler_tick(void);      // from the timer interrupt
void scheduler_interrupt_exit(struct registers *r);
void scheduler_start(struct thread *t); // puts a new thread on the run queue
void scheduler_wake(struct thread *t, bool for_signal);
void scheduler_yield(void);
void scheduler_bury(void);            // frees threads that have left for good
_Noreturn void scheduler_leave(void); // the current thread is dead
bool signal_deliverable(struct thread *t);
void timers_init(void);
u64 timers_next(void);
void timers_run(void);

// threads/stacks.c
bool stacks_allocate(struct thread *t);
void stacks_release(struct thread *t);
u64 stacks_syscall_top(const struct thread *t);
u64 stacks_interrupt_top(const struct thread *t);
u64 stacks_exception_top(const struct thread *t);
const char *stacks_guard_name(u64 address); // which kernel stack's guard page is this?
u64 stacks_cached_bytes(void);
bool stacks_reclaim(void);

// threads/thread.c
struct thread *thread_new(struct process *process, const char *name);
void thread_launch(struct thread *t, void (*function)(void *), void *argument);
_Noreturn void thread_exit(void);
void switch_stacks(u64 *save_rsp, u64 new_rsp);
void thread_begin(void);
void thread_free(struct thread *t);
_Noreturn void registers_restore(struct registers *r);
_Noreturn void run_on_frame(struct registers *frame, void (*function)(struct registers *));

// threads/process.c
extern struct process kernel_process;
void processes_init(void);
struct process *process_new(struct process *parent);
_Noreturn void process_exit(int status); // status as wait4 reports it
void process_thread_gone(struct thread *t, bool last);
void process_discard(struct process *p);
void process_named_by(struct process *p, struct thread *first);
void process_kill_locked(struct process *p, int status); // threads_list_lock held
int process_collect(int pid, int options, int *status);
bool process_lives(int pid);
struct process *process_find_locked(int pid); // processes_list_lock held
struct spinlock *processes_list_lock(void);
struct thread *thread_find_locked(int id); // threads_list_lock held
struct spinlock *threads_list_lock(void);

// threads/signal.c
// On the way back to an application. `call` is the system call that was served, or -1.
void signals_deliver(struct registers *r, i64 call);
void signals_after_interrupt(const struct registers *r);
bool signal_fault(struct registers *r, int signal, int code, u64 address); // false: no handler
