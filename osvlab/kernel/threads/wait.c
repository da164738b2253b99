// Spinlocks, wait queues, mutexes: the rules are in lock.h.

#include "lock.h"

#include "print.h"
#include "scheduler.h"

u64 spin_lock(struct spinlock *lock) {
    u64 flags = read_flags();

    interrupts_off();
    while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
        __asm__ volatile("pause");
    return flags;
}

void spin_unlock(struct spinlock *lock, u64 flags) {
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
    if (flags & RFLAGS_INTERRUPT)
        interrupts_on();
}

void wait_queue_init(struct wait_queue *queue, const char *name) {
    queue->lock = (struct spinlock)SPINLOCK(name);
    list_init(&queue->waiters);
}

void wait_prepare(struct wait_queue *queue, struct waiter *waiter) {
    u64 flags = spin_lock(&queue->lock);

    if (!waiter->thread) {
        waiter->thread = this_thread();
        list_append(&queue->waiters, &waiter->link);
    } else if (list_empty(&waiter->link)) {
        list_append(&queue->waiters, &waiter->link);
    }
    waiter->thread->woken = false;
    spin_unlock(&queue->lock, flags);
}

void wait_finish(struct wait_queue *queue, struct waiter *waiter) {
    u64 flags = spin_lock(&queue->lock);

    if (waiter->thread)
        list_remove(&waiter->link);
    spin_unlock(&queue->lock, flags);
}

int wait_wake(struct wait_queue *queue, int count) {
    u64 flags = spin_lock(&queue->lock);
    int woken = 0;

    while (woken < count && !list_empty(&queue->waiters)) {
        struct waiter *w = LIST_FIRST(&queue->waiters, struct waiter, link);
        list_remove(&w->link);
        scheduler_wake(w->thread, false);
        woken++;
    }
    spin_unlock(&queue->lock, flags);
    return woken;
}

void mutex_init(struct mutex *mutex, const char *name) {
    mutex->owner = NULL;
    wait_queue_init(&mutex->waiters, name);
}

static bool mutex_try(struct mutex *mutex) {
    struct thread *nobody = NULL;

    return __atomic_compare_exchange_n(&mutex->owner, &nobody, this_thread(), false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void mutex_lock(struct mutex *mutex) {
    if (mutex_try(mutex))
        return;
    ASSERT(mutex->owner != this_thread());
    WAIT_FOR(&mutex->waiters, mutex_try(mutex), NEVER, false);
}

void mutex_unlock(struct mutex *mutex) {
    ASSERT(mutex->owner == this_thread());
    __atomic_store_n(&mutex->owner, NULL, __ATOMIC_RELEASE);
    wait_wake(&mutex->waiters, 1);
}
