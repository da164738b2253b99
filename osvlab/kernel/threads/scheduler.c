// Who runs next: one queue, first come first served, a time slice each.
//
// Invariant: a runnable thread is either running or on the run queue, once. A thread goes to
// sleep only in sleep_until_woken, under scheduler_lock, after looking whether the wake-up has
// already come; so no wake-up is lost. Preemption keeps a thread on the queue, whatever it was
// about to do.
//
// The timer is one-shot: it is set for the earlier of the next timer and the end of the slice,
// and a slice ends only when somebody else wants the processor.

#include "scheduler.h"

#include "counts.h"
#include "print.h"

#define SLICE (5 * MILLISECOND)

struct spinlock scheduler_lock = SPINLOCK("scheduler");
static struct list run_queue = LIST(run_queue);
static struct list dead_threads = LIST(dead_threads);
static u64 switches;
static struct thread idle_thread = {.name = "idle", .kernel_depth = 1};

u64 switch_count(void) {
    return switches;
}

static void enqueue(struct thread *t) {
    if (t->on_queue || t == cpu()->idle)
        return;
    t->on_queue = true;
    list_append(&run_queue, &t->run_link);
}

static struct thread *next_thread(void) {
    struct thread *t = LIST_FIRST(&run_queue, struct thread, run_link);

    if (!t)
        return cpu()->idle;
    t->on_queue = false;
    list_remove(&t->run_link);
    return t;
}

static void arm_timer(void) {
    apic_timer_set(MIN(timers_next(), cpu()->slice_end));
}

static void change_thread(struct thread *from, struct thread *to, u64 now) {
    struct cpu *c = cpu();

    switches++;
    from->switches++;
    from->cpu_time += now - from->run_since;
    to->run_since = now;
    if (from->fpu && from->state != THREAD_DEAD)
        fpu_save(from->fpu);
    from->fs_base = thread_pointer();
    c->thread = to;
    if (to->stacks) {
        c->syscall_stack = stacks_syscall_top(to) - 8;
        cpu_use_stacks(stacks_interrupt_top(to), stacks_exception_top(to));
        fpu_restore(to->fpu);
    }
    thread_pointer_set(to->fs_base);
    switch_stacks(&from->rsp, to->rsp);
}

// Switches to the next thread. scheduler_lock is held, and is released on the way: interrupts
// stay off, and there is one processor, so nobody comes in between.
static void switch_thread(void) {
    struct cpu *c = cpu();
    struct thread *from = c->thread, *to = next_thread();
    u64 now = clock_monotonic();

    c->reschedule = false;
    c->slice_end = list_empty(&run_queue) ? NEVER : now + SLICE;
    arm_timer();
    scheduler_lock.held = 0;
    if (from != to)
        change_thread(from, to, now);
}

// Threads that have left the processor for good give their memory back here.
void scheduler_bury(void) {
    u64 flags = spin_lock(&scheduler_lock);
    struct thread *t = LIST_FIRST(&dead_threads, struct thread, run_link);
    while (t && t != this_thread()) {
        list_remove(&t->run_link);
        spin_unlock(&scheduler_lock, flags);
        thread_free(t);
        flags = spin_lock(&scheduler_lock);
        t = LIST_FIRST(&dead_threads, struct thread, run_link);
    }
    spin_unlock(&scheduler_lock, flags);
}

void scheduler_init(void) {
    struct cpu *c = cpu();

    list_init(&idle_thread.run_link);
    c->idle = c->thread = &idle_thread;
    c->slice_end = NEVER;
}

void scheduler_idle(void) {
    for (;;) {
        interrupts_off();
        u64 flags = spin_lock(&scheduler_lock);
        bool work = !list_empty(&run_queue);
        if (work)
            switch_thread();
        else
            spin_unlock(&scheduler_lock, flags);
        scheduler_bury();
        if (!work) {
            arm_timer();
            wait_for_interrupt();
        }
    }
}

static void make_runnable(struct thread *t) {
    if (t->state != THREAD_SLEEPING)
        return;
    t->state = THREAD_RUNNABLE;
    enqueue(t);
    struct cpu *c = cpu();
    if (c->thread == c->idle)
        c->reschedule = true;
    else if (c->slice_end == NEVER)
        c->slice_end = clock_monotonic() + SLICE;
}

void scheduler_start(struct thread *t) {
    u64 flags = spin_lock(&scheduler_lock);
    t->state = THREAD_SLEEPING;
    make_runnable(t);
    arm_timer();
    spin_unlock(&scheduler_lock, flags);
}

void scheduler_wake(struct thread *t, bool for_signal) {
    u64 flags = spin_lock(&scheduler_lock);
    if (!for_signal)
        t->woken = true;
    if (!for_signal || t->interruptible)
        make_runnable(t);
    arm_timer();
    spin_unlock(&scheduler_lock, flags);
}

static void sleep_timed_out(struct timer *timer) {
    struct thread *t = CONTAINER_OF(timer, struct thread, sleep_timer);
    u64 flags = spin_lock(&scheduler_lock);

    t->timed_out = true;
    make_runnable(t);
    spin_unlock(&scheduler_lock, flags);
}

int wait_sleep(u64 deadline, bool interruptible) {
    struct thread *t = this_thread();

    t->timed_out = false;
    t->sleep_timer.function = sleep_timed_out;
    if (deadline != NEVER)
        timer_set(&t->sleep_timer, deadline);

    u64 flags = spin_lock(&scheduler_lock);
    bool signalled = interruptible && signal_deliverable(t);
    t->interruptible = interruptible;
    if (!t->woken && !t->timed_out && !signalled) {
        t->state = THREAD_SLEEPING;
        switch_thread();
        flags |= RFLAGS_INTERRUPT; // we slept, so they were on
    } else {
        scheduler_lock.held = 0;
    }
    if (flags & RFLAGS_INTERRUPT)
        interrupts_on();
    if (deadline != NEVER)
        timer_cancel(&t->sleep_timer);
    if (t->woken)
        return 0;
    return t->timed_out ? -ETIMEDOUT : interruptible && signal_deliverable(t) ? -EINTR : 0;
}

void scheduler_yield(void) {
    u64 flags = spin_lock(&scheduler_lock);

    enqueue(this_thread());
    switch_thread();
    if (flags & RFLAGS_INTERRUPT)
        interrupts_on();
}

_Noreturn void scheduler_leave(void) {
    struct thread *t = this_thread();

    spin_lock(&scheduler_lock);
    t->state = THREAD_DEAD;
    list_append(&dead_threads, &t->run_link);
    switch_thread();
    panic("a dead thread ran");
}

void scheduler_tick(void) {
    struct cpu *c = cpu();

    timers_run();
    if (clock_monotonic() >= c->slice_end)
        c->reschedule = true;
    else
        arm_timer();
}

void scheduler_tick_soon(void) {
    cpu()->slice_end = MIN(cpu()->slice_end, clock_monotonic() + MILLISECOND);
    arm_timer();
}

// The end of every interrupt: the one place where a thread loses the processor unasked.
void scheduler_interrupt_exit(struct registers *r) {
    struct cpu *c = cpu();
    bool entering = r->rip > (u64)syscall_entry && r->rip < (u64)syscall_entry_end;

    if (c->reschedule && entering) {
        scheduler_tick_soon();
    } else if (c->reschedule && (r->rflags & RFLAGS_INTERRUPT) && c->thread != c->idle) {
        spin_lock(&scheduler_lock);
        c->thread->preemptions++;
        enqueue(c->thread);
        switch_thread();
    }
    signals_after_interrupt(r);
}
