// Time: nanoseconds since boot (monotonic), wall-clock time, and timers.
#pragma once

#include <time.h>

#include "base.h"
#include "list.h"

u64 clock_monotonic(void); // nanoseconds since the kernel was entered
u64 clock_realtime(void);  // nanoseconds since 1970-01-01 UTC
void clock_set_realtime(u64 nanoseconds);

// A function to be called, with interrupts off, at a time. It must not sleep.
struct timer {
    struct list link;
    u64 deadline;
    void (*function)(struct timer *);
    bool pending;
};
void timer_set(struct timer *timer, u64 deadline); // (re)arms it
bool timer_cancel(struct timer *timer);            // true if it was still pending

static inline bool timespec_valid(const struct timespec *t) {
    return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < (long)SECOND;
}
// A valid time; one of more than 292 years is as good as for ever, and sums of two do not overflow.
static inline u64 timespec_to_ns(const struct timespec *t) {
    bool far = t->tv_sec > (time_t)(INT64_MAX / SECOND - 1);

    return far ? INT64_MAX : (u64)t->tv_sec * SECOND + (u64)t->tv_nsec;
}
static inline struct timespec ns_to_timespec(u64 ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
}
