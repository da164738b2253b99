// Signals that wait to be delivered, with what is known about them (sigqueue(3), siginfo_t).
//
// Invariant: bit n-1 of `pending` is set exactly while signal n waits. A real-time signal waits as
// often as it was sent, each time with its own information; any other waits once, and if there was
// no memory for its information it waits without.

#include "signal_queue.h"

#include "memory.h"

#define BIT(signal) (1UL << ((signal) - 1))
#define FIRST_REAL_TIME 32
#define QUEUED_MOST 512 // as RLIMIT_SIGPENDING: nobody fills memory with signals

struct queued {
    struct list link;
    siginfo_t info;
};

static struct spinlock queues_lock = SPINLOCK("signal queues");

bool signal_queue_add(struct signal_queue *q, const siginfo_t *info) {
    int signal = info->si_signo;
    bool real_time = signal >= FIRST_REAL_TIME, added = false;
    struct queued *new = kzalloc(sizeof(*new));

    u64 flags = spin_lock(&queues_lock);
    bool waits_already = !real_time && (q->pending & BIT(signal));
    if (new && !waits_already && q->length < QUEUED_MOST) {
        new->info = *info;
        list_append(&q->infos, &new->link);
        q->length++;
        added = true;
    }
    bool accepted = added || !real_time;
    if (accepted)
        q->pending |= BIT(signal);
    spin_unlock(&queues_lock, flags);
    if (!added)
        kfree(new);
    return accepted;
}

// The first information about the signal, or NULL. *more: there is another one.
static struct queued *find(struct signal_queue *q, int signal, bool *more) {
    struct queued *first = NULL;

    *more = false;
    LIST_EACH(&q->infos, queued, struct queued, link) {
        if (queued->info.si_signo != signal)
            continue;
        *more = first != NULL;
        if (*more)
            break;
        first = queued;
    }
    return first;
}

bool signal_queue_take(struct signal_queue *q, u64 set, siginfo_t *info) {
    struct queued *found = NULL;
    bool more;

    u64 flags = spin_lock(&queues_lock);
    u64 ready = q->pending & set;
    if (ready) {
        int signal = __builtin_ctzl(ready) + 1;
        found = find(q, signal, &more);
        *info = found ? found->info : (siginfo_t){.si_signo = signal, .si_code = SI_USER};
        if (found) {
            list_remove(&found->link);
            q->length--;
        }
        if (!more)
            q->pending &= ~BIT(signal);
    }
    spin_unlock(&queues_lock, flags);
    kfree(found);
    return ready;
}

void signal_queue_empty(struct signal_queue *q) {
    siginfo_t info;

    while (signal_queue_take(q, ~0UL, &info))
        ;
}
