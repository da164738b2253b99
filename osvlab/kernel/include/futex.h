// Waiting for a word of memory to change (futex(2)).
#pragma once

#include "base.h"

struct thread;

int futex_wait(u32 *address, u32 expected, u64 deadline, u32 mask);
int futex_wake(u32 *address, int count, u32 mask);
int futex_requeue(u32 *from, u32 *to, int wake, int requeue, const u32 *expected);

// What a dying thread owes: CLONE_CHILD_CLEARTID and its robust mutexes.
void futex_thread_exit(struct thread *t);
