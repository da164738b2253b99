// Locks. A spinlock is held for a few instructions with interrupts off; a mutex
// may be held across sleeping, by threads only.
//
// Invariant: no thread sleeps, faults or calls application code while it holds a
// spinlock. Every lock has a name and is taken as if there were more CPUs.
#pragma once

#include "list.h"

struct spinlock {
    volatile int held;
    const char *name;
};

#define SPINLOCK(label) {.name = (label)}

// Returns the interrupt flag as it was, to be given back to spin_unlock.
u64 spin_lock(struct spinlock *lock);
void spin_unlock(struct spinlock *lock, u64 flags);

// Threads that wait for something to become true.
struct wait_queue {
    struct spinlock lock;
    struct list waiters; // of struct waiter.link
};

#define WAIT_QUEUE(self, label) {.lock = SPINLOCK(label), .waiters = LIST((self).waiters)}

struct thread;

struct waiter {
    struct list link;
    struct thread *thread;
};

void wait_queue_init(struct wait_queue *queue, const char *name);

// The three steps of every sleep. After wait_prepare the thread counts as asleep, so
// a wake-up between the test of the condition and wait_sleep is not lost:
//     for (;;) { wait_prepare(q, &w); if (condition) break; status = wait_sleep(...); if (status) break; }
//     wait_finish(q, &w);
// Several queues may be prepared before one wait_sleep (that is what poll does).
void wait_prepare(struct wait_queue *queue, struct waiter *waiter);
void wait_finish(struct wait_queue *queue, struct waiter *waiter);

// Sleeps until woken. 0, -ETIMEDOUT at the deadline (nanoseconds since boot),
// -EINTR when a signal is pending and `interruptible`.
int wait_sleep(u64 deadline, bool interruptible);

// Wakes up to `count` waiting threads, first come first served; returns how many. May be
// called from an interrupt handler.
int wait_wake(struct wait_queue *queue, int count);
#define wait_wake_all(queue) wait_wake(queue, INT32_MAX)

// Sleeps until `condition` holds. The value is 0, -EINTR or -ETIMEDOUT.
#define WAIT_FOR(queue, condition, deadline, interruptible) \
    ({                                                      \
        struct waiter waiter_ = {0};                        \
        int status_ = 0;                                    \
        for (;;) {                                          \
            wait_prepare(queue, &waiter_);                  \
            if (condition)                                  \
                break;                                      \
            status_ = wait_sleep(deadline, interruptible);  \
            if (status_ < 0) {                              \
                status_ = (condition) ? 0 : status_;        \
                break;                                      \
            }                                               \
        }                                                   \
        wait_finish(queue, &waiter_);                       \
        status_;                                            \
    })

struct mutex {
    struct thread *volatile owner;
    struct wait_queue waiters;
};

#define MUTEX(self, label) {.waiters = WAIT_QUEUE((self).waiters, label)}

void mutex_init(struct mutex *mutex, const char *name);
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);
