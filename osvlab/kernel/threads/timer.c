// Timers: functions to be called at a time, in one list ordered by deadline.
//
// Invariant: a timer is on the list exactly while `pending`. Functions run from the timer
// interrupt, without the list's lock, after the timer has left the list: they may set it again.
// Once timer_cancel has returned, the timer's function is not running any more, and the timer may be
// freed. So a function does not cancel its own timer, nor wait for a lock of whoever cancels it.

#include "scheduler.h"

static struct spinlock timers_lock = SPINLOCK("timers");
static struct list timers = LIST(timers);
static struct timer *volatile running; // its function is being called

u64 timers_next(void) {
    struct timer *first = LIST_FIRST(&timers, struct timer, link);

    return first ? first->deadline : NEVER;
}

static void unlink_timer(struct timer *timer) {
    list_remove(&timer->link);
    timer->pending = false;
}

void timer_set(struct timer *timer, u64 deadline) {
    u64 flags = spin_lock(&timers_lock);

    if (timer->pending)
        unlink_timer(timer);
    timer->deadline = deadline;
    timer->pending = true;
    struct list *before = timers.previous; // most timers are later than those already set
    while (before != &timers && CONTAINER_OF(before, struct timer, link)->deadline > deadline)
        before = before->previous;
    list_insert(before->next, &timer->link);
    apic_timer_set(MIN(timers_next(), cpu()->slice_end));
    spin_unlock(&timers_lock, flags);
}

bool timer_cancel(struct timer *timer) {
    u64 flags = spin_lock(&timers_lock);
    bool pending = timer->pending;

    if (pending)
        unlink_timer(timer);
    spin_unlock(&timers_lock, flags);
    while (running == timer) // on another processor
        __asm__ volatile("pause");
    return pending;
}

void timers_run(void) {
    u64 now = clock_monotonic();
    u64 flags = spin_lock(&timers_lock);

    for (struct timer *t = LIST_FIRST(&timers, struct timer, link); t && t->deadline <= now;
         t = LIST_FIRST(&timers, struct timer, link)) {
        unlink_timer(t);
        running = t;
        spin_unlock(&timers_lock, flags);
        t->function(t);
        flags = spin_lock(&timers_lock);
        running = NULL;
    }
    spin_unlock(&timers_lock, flags);
}
