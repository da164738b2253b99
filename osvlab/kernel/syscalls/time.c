// System calls about time.

#include <sys/times.h>

#include "clock.h"
#include "scheduler.h"
#include "syscalls.h"
#include "user.h"

#define CPU_CLOCK_PROCESS 2
#define CPU_CLOCK_THREAD 6

static u64 thread_time(struct thread *t) {
    u64 running = t == this_thread() ? clock_monotonic() - t->run_since : 0;
    return t->cpu_time + running;
}

static void add_time(struct thread *t, void *sum) {
    if (t->process == current_process())
        *(u64 *)sum += thread_time(t);
}

u64 process_time(void) {
    u64 sum = 0;
    threads_each(add_time, &sum);
    return sum;
}

// The processor time of a process or thread, as clock_getcpuclockid(3) names it: the complement of
// its number, times eight, plus what is meant. Only one's own process can be asked for.
static bool read_cpu_clock(int clock, u64 *ns) {
    int id = ~(clock >> 3), kind = clock & 7;
    bool known = false;

    if (kind == CPU_CLOCK_PROCESS && (id == 0 || id == current_process()->pid)) {
        *ns = process_time();
        known = true;
    } else if (kind == CPU_CLOCK_THREAD) {
        u64 flags = spin_lock(threads_list_lock());
        struct thread *t = id ? thread_find_locked(id) : this_thread();
        known = t && t->process == current_process();
        *ns = known ? thread_time(t) : 0;
        spin_unlock(threads_list_lock(), flags);
    }
    return known;
}

static bool read_clock(int clock, u64 *ns) {
    if (clock < 0)
        return read_cpu_clock(clock, ns);
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        *ns = clock_realtime();
        return true;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ns = clock_monotonic();
        return true;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = process_time();
        return true;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = thread_time(this_thread());
        return true;
    default:
        return false;
    }
}

long sys_clock_gettime(int clock, struct timespec *out) {
    u64 ns;

    if (!read_clock(clock, &ns))
        return -EINVAL;
    struct timespec t = ns_to_timespec(ns);
    return user_write(out, &t, sizeof(t));
}

long sys_clock_settime(int clock, const struct timespec *to) {
    struct timespec t;

    if (clock != CLOCK_REALTIME)
        return -EINVAL;
    if (user_read(&t, to, sizeof(t)) < 0)
        return -EFAULT;
    if (!timespec_valid(&t))
        return -EINVAL;
    clock_set_realtime(timespec_to_ns(&t));
    return 0;
}

long sys_clock_getres(int clock, struct timespec *out) {
    struct timespec t = {0, 1};
    u64 ns;

    if (!read_clock(clock, &ns))
        return -EINVAL;
    return out ? user_write(out, &t, sizeof(t)) : 0;
}

long sys_gettimeofday(i64 *out, void *zone) {
    u64 now = clock_realtime();
    i64 t[2] = {(i64)(now / SECOND), (i64)(now % SECOND / MICROSECOND)};
    u64 utc = 0;

    if (zone && user_write(zone, &utc, sizeof(utc)) < 0)
        return -EFAULT;
    return out ? user_write(out, t, sizeof(t)) : 0;
}

long sys_time(i64 *out) {
    i64 now = (i64)(clock_realtime() / SECOND);

    if (out && user_write(out, &now, sizeof(now)) < 0)
        return -EFAULT;
    return now;
}

#define TICKS_PER_SECOND 100

long sys_times(struct tms *out) {
    struct tms t = {.tms_utime = (clock_t)(process_time() / (SECOND / TICKS_PER_SECOND))};

    if (out && user_write(out, &t, sizeof(t)) < 0)
        return -EFAULT;
    return (long)(clock_monotonic() / (SECOND / TICKS_PER_SECOND));
}

// Sleeps to a point in time since boot; says what was left when a signal came.
static long sleep_until(u64 deadline, struct timespec *rest) {
    static struct wait_queue nobody_wakes = WAIT_QUEUE(nobody_wakes, "sleep");
    int status = WAIT_FOR(&nobody_wakes, false, deadline, true);

    if (status == -EINTR && rest) {
        u64 now = clock_monotonic();
        struct timespec left = ns_to_timespec(deadline > now ? deadline - now : 0);
        if (user_write(rest, &left, sizeof(left)) < 0)
            return -EFAULT;
    }
    return status == -ETIMEDOUT ? 0 : status;
}

long sys_clock_nanosleep(int clock, int flags, const struct timespec *length,
                         struct timespec *rest) {
    struct timespec t;
    u64 clock_now, now = clock_monotonic();

    if (user_read(&t, length, sizeof(t)) < 0)
        return -EFAULT;
    if (!timespec_valid(&t) || !read_clock(clock, &clock_now))
        return -EINVAL;
    u64 wanted = timespec_to_ns(&t);
    if (!(flags & TIMER_ABSTIME))
        return sleep_until(now + wanted, rest);
    return wanted > clock_now ? sleep_until(now + (wanted - clock_now), NULL) : 0;
}

long sys_nanosleep(const struct timespec *length, struct timespec *rest) {
    return sys_clock_nanosleep(CLOCK_MONOTONIC, 0, length, rest);
}
