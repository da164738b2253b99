// The network's lock and its thread: the invariant is in network.h.
//
// The thread sleeps until an interrupt handler wakes it or the earliest timer is due. A timer that
// somebody else sets to an earlier time is seen when that somebody gives the lock back.

#include "network.h"

#include "clock.h"
#include "interface.h"
#include "layers.h"
#include "lock.h"
#include "print.h"
#include "thread.h"

static struct mutex lock = MUTEX(lock, "network");
static struct wait_queue work = WAIT_QUEUE(work, "network thread");
static volatile bool awake; // there is work
static u64 now;             // 0: not read in this turn
static u64 sleeps_until;    // the thread's deadline, while it does not hold the lock

void network_lock(void) {
    mutex_lock(&lock);
    now = 0;
}

void network_unlock(void) {
    interfaces_flush();
    bool early = network_timers_next() < sleeps_until;
    mutex_unlock(&lock);
    if (early)
        network_wake();
}

bool network_is_locked(void) {
    return lock.owner == current_thread();
}

u64 network_now(void) {
    if (!now)
        now = clock_monotonic();
    return now;
}

void network_wake(void) {
    if (!__atomic_exchange_n(&awake, true, __ATOMIC_SEQ_CST))
        wait_wake_all(&work);
}

static void run(void *unused) {
    (void)unused;
    for (;;) {
        network_lock();
        __atomic_store_n(&awake, false, __ATOMIC_SEQ_CST);
        interfaces_poll();
        sleeps_until = 0; // whatever a timer sets, this turn looks after it
        u64 until = network_timers_run(network_now());
        sleeps_until = until;
        network_unlock();
        if (awake)
            thread_yield(); // so that whoever waits for the lock gets it
        else
            WAIT_FOR(&work, awake, until, false);
    }
}

int network_start(void) {
    static enum { NOT_YET, RUNS } state;
    int status = 0;

    network_lock();
    if (state == NOT_YET) {
        status = loopback_start();
        if (status == 0 && !thread_start("network", run, NULL))
            status = -ENOMEM;
        state = status == 0 ? RUNS : NOT_YET;
    }
    network_unlock();
    return status;
}
