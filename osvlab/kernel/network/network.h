// The network as a whole: its one lock, its thread and its timers.
//
// Invariant: everything below the socket layer (interfaces, ARP, IP, UDP, TCP, their tables and
// packets) is touched only by who holds the network lock. Interrupt handlers touch nothing of
// it: they wake the network thread, which takes the lock, lets every interface deliver what has
// arrived, and runs the timers that are due. What was queued for a device while the lock was
// held is announced to it once, when the lock is given back.
//
// Order of locks: a file's lock, then the network lock, then the areas of the address space
// (data is copied to and from the application with the network lock held), then spinlocks.
#pragma once

#include "base.h"
#include "list.h"

void network_lock(void);
void network_unlock(void);
bool network_is_locked(void); // by the current thread; for assertions

// Starts the thread and the loopback interface, once; called when the first device is found or
// the first socket is made, so that a guest without a network pays nothing. 0 or -ENOMEM.
int network_start(void);

// From an interrupt handler, or anybody: there is something to poll.
void network_wake(void);

// Before the machine ends: gives closed connections time to deliver what they have.
void network_finish(void);

// Time as the network sees it: nanoseconds since boot, read once per turn.
u64 network_now(void);

// A function to be called by the network thread, with the network lock held. Setting a pending
// timer to a later time (or to NEVER) costs nothing: it comes up once too early and is put back.
struct network_timer {
    void (*function)(struct network_timer *);
    u64 deadline; // NEVER: not set
    size_t slot;  // private to timer.c: its place in the heap, from 1; 0: not in it
};
void network_timer_init(struct network_timer *timer, void (*function)(struct network_timer *));
int network_timer_set(struct network_timer *timer, u64 deadline); // 0 or -ENOMEM
void network_timer_cancel(struct network_timer *timer);
u64 network_timers_run(u64 now); // calls what is due; when the next one is
u64 network_timers_next(void);   // not later than the earliest deadline
