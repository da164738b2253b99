// The signals that wait for a thread, or for any thread of a process. See signal_queue.c.
#pragma once

#include <signal.h>

#include "list.h"
#include "lock.h"

struct signal_queue {
    volatile u64 pending; // bit n-1 = signal n
    struct list infos;
    u32 length;
};

// False: a real-time signal for which there is no room. May be called from an interrupt handler.
bool signal_queue_add(struct signal_queue *q, const siginfo_t *info);
// Takes the lowest signal of `set` out, if one waits.
bool signal_queue_take(struct signal_queue *q, u64 set, siginfo_t *info);
void signal_queue_empty(struct signal_queue *q);
