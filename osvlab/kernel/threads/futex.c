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
#define ROBUST_MOST 2048 // a list that the application damaged may have no end

struct futex_waiter {
    struct list link;
    u32 *volatile address;
    u32 mask;
    struct thread *thread;
    volatile bool woken;
};

struct bucket {
    struct spinlock lock;
    struct list waiters;
};

static struct bucket buckets[BUCKETS];

static struct bucket *bucket_of(u32 *address) {
    return &buckets[((u64)address >> 2) * 0x9e3779b97f4a7c15UL >> 58];
}
_Static_assert(BUCKETS == 1 << (64 - 58), "the hash yields a bucket");

// A bucket is made when it is first locked, so that none costs anything at boot.
static u64 bucket_lock(struct bucket *b) {
    u64 flags = spin_lock(&b->lock);

    if (!b->waiters.next) {
        list_init(&b->waiters);
        b->lock.name = "futex bucket";
    }
    return flags;
}

static bool misplaced(const u32 *address) {
    return (u64)address % sizeof(*address);
}

// Puts the waiter on its bucket if the word is as expected: 0, -EAGAIN, or -EFAULT.
static int enqueue(struct futex_waiter *w, u32 expected) {
    struct bucket *b = bucket_of(w->address);
    u32 value;

    for (;;) {
        if (user_read(&value, w->address, sizeof(value)) < 0) // brings the page in
            return -EFAULT;
        u64 flags = bucket_lock(b);
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

// Locks the bucket a waiter is on. Requeueing may move it until then.
static struct bucket *lock_waiter(struct futex_waiter *w, u64 *flags) {
    for (;;) {
        struct bucket *b = bucket_of(w->address);
        *flags = bucket_lock(b);
        if (b == bucket_of(w->address))
            return b;
        spin_unlock(&b->lock, *flags);
    }
}

int futex_wait(u32 *address, u32 expected, u64 deadline, u32 mask) {
    struct futex_waiter w = {.address = address, .mask = mask, .thread = this_thread()};

    if (!mask || misplaced(address))
        return -EINVAL;
    int status = enqueue(&w, expected);
    if (status)
        return status;
    while (!w.woken && !status)
        status = wait_sleep(deadline, true);

    u64 flags;
    struct bucket *b = lock_waiter(&w, &flags);
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
    int woken = 0;

    if (!mask || misplaced(address))
        return -EINVAL;
    u64 flags = bucket_lock(b);

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
    *flags = bucket_lock(MIN(a, b));
    if (a != b)
        bucket_lock(MAX(a, b));
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

    if (wake_count < 0 || requeue_count < 0 || misplaced(from) || misplaced(to))
        return -EINVAL;
    if (expected && user_read(&value, from, sizeof(value)) < 0)
        return -EFAULT;
    struct list *waiters = lock_both(source, target, &flags);
    bool changed = expected && (user_read(&value, from, sizeof(value)) < 0 || value != *expected);
    LIST_EACH_SAFE(waiters, w, struct futex_waiter, link) {
        if (changed || w->address != from)
            continue;
        if (done < wake_count) {
            wake(w);
            done++;
        } else if (moved < requeue_count) {
            moved++;
            if (from == to) // counted, but the list must not grow while it is walked
                continue;
            list_remove(&w->link);
            w->address = to;
            list_append(&target->waiters, &w->link);
        }
    }
    unlock_both(source, target, flags);
    return changed ? -EAGAIN : done + moved;
}

// Marks a mutex as orphaned, if the thread holds it, and wakes one who waits for it.
static int release_mutex(struct thread *t, u32 *word) {
    u32 value;

    if (misplaced(word) || user_read(&value, word, sizeof(value)) < 0)
        return -EFAULT;
    // Others may set the bit that says that they wait. With interrupts off nobody comes between
    // looking and writing; more processors would need a compare-and-exchange that may fault.
    u64 flags = read_flags();
    interrupts_off();
    int status = user_read(&value, word, sizeof(value));
    bool held = !status && (value & FUTEX_TID_MASK) == (u32)t->id;
    value = (value & ~FUTEX_TID_MASK) | FUTEX_OWNER_DIED;
    if (held)
        status = user_write(word, &value, sizeof(value));
    if (flags & RFLAGS_INTERRUPT)
        interrupts_on();
    if (held && !status)
        futex_wake(word, 1, UINT32_MAX);
    return status;
}

// The robust list (get_robust_list(2)): mutexes the thread holds, and one it is about to take or
// to give back.
static void release_robust(struct thread *t) {
    struct {
        u64 next, offset, pending;
    } head;

    if (!t->robust_list || user_read(&head, (void *)t->robust_list, sizeof(head)) < 0)
        return;
    for (int i = 0; i < ROBUST_MOST && head.next != t->robust_list; i++) {
        u64 entry = head.next;
        // The next one is read first: a woken thread may free this one.
        if (user_read(&head.next, (void *)entry, sizeof(head.next)) < 0)
            return;
        if (entry != head.pending && release_mutex(t, (u32 *)(entry + head.offset)) < 0)
            return;
    }
    if (head.pending)
        release_mutex(t, (u32 *)(head.pending + head.offset));
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
