// Futexes (Franke, Russell & Kirkwood 2002; futex(2)): sleeping on a word of memory.
//
// Invariant: a waiter is on the bucket of its address from before the word is compared until it
// is woken or gives up; the comparison and the enqueueing happen under the bucket's lock, which
// every waker takes, so a change of the word followed by a wake-up cannot be missed.

#include "futex.h"

#include <string.h>

#include "print.h"
#include "scheduler.h"
#include "user.h"

#define BUCKETS 64
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK 0x3fffffffu

struct futex_waiter {
    struct list link;
    u32 *address;
    u32 mask;
    struct thread *thread;
    bool woken;
};

struct bucket {
    struct spinlock lock;
    struct list waiters;
};

static struct bucket buckets[BUCKETS];

static struct bucket *bucket_of(u32 *address) {
    struct bucket *b = &buckets[((u64)address >> 2) * 0x9e3779b97f4a7c15UL >> 58];

    if (!b->waiters.next) {
        list_init(&b->waiters);
        b->lock.name = "futex bucket";
    }
    return b;
}
_Static_assert(BUCKETS == 1 << (64 - 58), "the hash yields a bucket");

// Puts the waiter on its bucket if the word is as expected: 0, -EAGAIN, or -EFAULT.
static int enqueue(struct futex_waiter *w, u32 expected) {
    struct bucket *b = bucket_of(w->address);
    u32 value;

    for (;;) {
        if (user_read(&value, w->address, sizeof(value)) < 0) // brings the page in
            return -EFAULT;
        u64 flags = spin_lock(&b->lock);
        // With interrupts off this fails instead of sleeping, should the page be gone again.
        int status = user_read(&value, w->address, sizeof(value));
        if (!status && value == expected) {
            list_append(&b->waiters, &w->link);
            w->thread->woken = false;
        }
        spin_unlock(&b->lock, flags);
        if (!status)
            return value == expected ? 0 : -EAGAIN;
    }
}

int futex_wait(u32 *address, u32 expected, u64 deadline, u32 mask) {
    struct futex_waiter w = {.address = address, .mask = mask, .thread = this_thread()};

    if (!mask || ((u64)address & 3))
        return -EINVAL;
    int status = enqueue(&w, expected);
    if (status)
        return status;
    while (!w.woken && !status)
        status = wait_sleep(deadline, true);

    struct bucket *b = bucket_of(w.address); // requeueing may have moved it
    u64 flags = spin_lock(&b->lock);
    if (!w.woken)
        list_remove(&w.link);
    spin_unlock(&b->lock, flags);
    return w.woken ? 0 : status;
}

static void wake(struct futex_waiter *w) {
    struct thread *t = w->thread;

    list_remove(&w->link);
    w->woken = true; // w may be gone from here on
    scheduler_wake(t, false);
}

int futex_wake(u32 *address, int count, u32 mask) {
    struct bucket *b = bucket_of(address);
    u64 flags = spin_lock(&b->lock);
    int woken = 0;

    LIST_EACH_SAFE(&b->waiters, w, struct futex_waiter, link) {
        if (woken >= count)
            break;
        if (w->address != address || !(w->mask & mask))
            continue;
        wake(w);
        woken++;
    }
    spin_unlock(&b->lock, flags);
    return woken;
}

static struct list *lock_both(struct bucket *a, struct bucket *b, u64 *flags) {
    *flags = spin_lock(&MIN(a, b)->lock);
    if (a != b)
        spin_lock(&MAX(a, b)->lock);
    return &a->waiters;
}

static void unlock_both(struct bucket *a, struct bucket *b, u64 flags) {
    if (a != b)
        spin_unlock(&MAX(a, b)->lock, 0);
    spin_unlock(&MIN(a, b)->lock, flags);
}

int futex_requeue(u32 *from, u32 *to, int wake_count, int requeue_count, const u32 *expected) {
    struct bucket *source = bucket_of(from), *target = bucket_of(to);
    u32 value;
    u64 flags;
    int done = 0, moved = 0;

    if (expected && user_read(&value, from, sizeof(value)) < 0)
        return -EFAULT;
    struct list *waiters = lock_both(source, target, &flags);
    bool changed = expected && (user_read(&value, from, sizeof(value)) < 0 || value != *expected);
    LIST_EACH_SAFE(waiters, w, struct futex_waiter, link) {
        if (changed || moved >= requeue_count || w->address != from)
            continue;
        if (done < wake_count) {
            wake(w);
            done++;
        } else {
            list_remove(&w->link);
            w->address = to;
            list_append(&target->waiters, &w->link);
            moved++;
        }
    }
    unlock_both(source, target, flags);
    return changed ? -EAGAIN : done + moved;
}

// The robust list (get_robust_list(2)): mutexes the thread holds are marked as orphaned.
static void release_robust(struct thread *t) {
    struct {
        u64 next, offset, pending;
    } head;
    u64 entry;

    if (!t->robust_list || user_read(&head, (void *)t->robust_list, sizeof(head)) < 0)
        return;
    entry = head.next;
    for (int i = 0; i < 2048 && entry != t->robust_list; i++) {
        u32 *word = (u32 *)(entry + head.offset), value;
        u64 next;
        if (user_read(&next, (void *)entry, sizeof(next)) < 0 ||
            user_read(&value, word, sizeof(value)) < 0)
            return;
        if ((value & FUTEX_TID_MASK) == (u32)t->id) {
            value = (value & ~FUTEX_TID_MASK) | FUTEX_OWNER_DIED;
            user_write(word, &value, sizeof(value));
            futex_wake(word, 1, UINT32_MAX);
        }
        entry = next;
    }
}

void futex_thread_exit(struct thread *t) {
    u32 zero = 0;

    release_robust(t);
    if (!t->clear_tid)
        return;
    user_write(t->clear_tid, &zero, sizeof(zero));
    futex_wake(t->clear_tid, INT32_MAX, UINT32_MAX);
    t->clear_tid = NULL;
}
