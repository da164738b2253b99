// System calls that set timers which send signals.
//
// Invariant: a slot that is `used` belongs to the process `pid`; slots of processes that are gone
// are taken over by whoever needs one.

#include <string.h>
#include <sys/time.h>

#include "clock.h"
#include "scheduler.h"
#include "syscalls.h"
#include "user.h"

// Timers that send signals: timer_create's, and one for alarm and ITIMER_REAL per process.
struct signal_timer {
    struct timer timer;
    bool used;
    int pid, tid, signal; // tid 0: any thread of the process
    u64 interval;
    int overruns;
};
#define SIGNAL_TIMERS 64
static struct signal_timer signal_timers[SIGNAL_TIMERS];
static struct spinlock signal_timers_lock = SPINLOCK("signal timers");

static void timer_expired(struct timer *timer) {
    struct signal_timer *s = CONTAINER_OF(timer, struct signal_timer, timer);
    struct process *p = process_find(s->pid);

    if (!p)
        return;
    if (s->tid) {
        u64 flags = spin_lock(threads_list_lock());
        struct thread *t = thread_find_locked(s->tid);
        if (t && t->process == p && s->signal)
            signal_send_thread(t, s->signal);
        spin_unlock(threads_list_lock(), flags);
    } else if (s->signal) {
        process_signal(p, s->signal);
    }
    if (s->interval)
        timer_set(&s->timer, s->timer.deadline + s->interval);
}

// The current process's timer of that number, or NULL.
static struct signal_timer *timer_of(int id) {
    bool valid = id >= 0 && id < SIGNAL_TIMERS && signal_timers[id].used &&
                 signal_timers[id].pid == current_process()->pid;

    return valid ? &signal_timers[id] : NULL;
}

static struct signal_timer *take_timer(int pid, int tid, int signal) {
    struct signal_timer *free = NULL;
    u64 flags = spin_lock(&signal_timers_lock);

    for (int i = 0; i < SIGNAL_TIMERS && !free; i++) {
        struct signal_timer *s = &signal_timers[i];
        bool orphaned = s->used && !process_find(s->pid);
        if (s->used && !orphaned)
            continue;
        timer_cancel(&s->timer);
        free = s;
        *s = (struct signal_timer){.timer.function = timer_expired,
                                   .used = true,
                                   .pid = pid,
                                   .tid = tid,
                                   .signal = signal};
    }
    spin_unlock(&signal_timers_lock, flags);
    return free;
}

static u64 remaining(const struct signal_timer *s) {
    u64 now = clock_monotonic();

    if (!s || !s->timer.pending)
        return 0;
    return s->timer.deadline > now ? s->timer.deadline - now : 1;
}

static void start(struct signal_timer *s, u64 deadline, u64 interval) {
    timer_cancel(&s->timer);
    s->interval = interval;
    if (deadline)
        timer_set(&s->timer, deadline);
}

// One interval timer per process: kept by pid, since only ITIMER_REAL exists.
static struct signal_timer *itimers[SIGNAL_TIMERS];

static struct signal_timer *itimer(bool create) {
    int pid = current_process()->pid;

    for (int i = 0; i < SIGNAL_TIMERS; i++) {
        if (itimers[i] && itimers[i]->used && itimers[i]->pid == pid)
            return itimers[i];
    }
    for (int i = 0; create && i < SIGNAL_TIMERS; i++) {
        if (!itimers[i] || !process_find(itimers[i]->pid))
            return itimers[i] = take_timer(pid, 0, SIGALRM);
    }
    return NULL;
}

static u64 from_timeval(const struct timeval *t) {
    return (u64)t->tv_sec * SECOND + (u64)t->tv_usec * MICROSECOND;
}

static struct timeval to_timeval(u64 ns) {
    return (struct timeval){(time_t)(ns / SECOND), (suseconds_t)(ns % SECOND / MICROSECOND)};
}

long sys_getitimer(int which, struct itimerval *out) {
    struct signal_timer *s = which == ITIMER_REAL ? itimer(false) : NULL;
    struct itimerval value = {to_timeval(s ? s->interval : 0), to_timeval(remaining(s))};

    return which < 0 || which > ITIMER_PROF ? -EINVAL : user_write(out, &value, sizeof(value));
}

long sys_setitimer(int which, const struct itimerval *new, struct itimerval *old) {
    struct itimerval value = {0};

    if (which != ITIMER_REAL)
        return -EINVAL;
    if (new && user_read(&value, new, sizeof(value)) < 0)
        return -EFAULT;
    if (old && sys_getitimer(which, old) < 0)
        return -EFAULT;
    struct signal_timer *s = itimer(true);
    if (!s)
        return -EAGAIN;
    u64 length = from_timeval(&value.it_value);
    start(s, length ? clock_monotonic() + length : 0, from_timeval(&value.it_interval));
    return 0;
}

long sys_alarm(unsigned seconds) {
    struct signal_timer *s = itimer(true);
    u64 left = remaining(s);

    if (s)
        start(s, seconds ? clock_monotonic() + seconds * SECOND : 0, 0);
    return (long)((left + SECOND - 1) / SECOND);
}

long sys_timer_create(int clock, const struct sigevent *event, int *id) {
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

    if (sys_clock_getres(clock, NULL) < 0)
        return -EINVAL;
    if (event && user_read(&e, event, sizeof(e)) < 0)
        return -EFAULT;
    bool silent = e.sigev_notify == SIGEV_NONE;
    int tid = 0;
    if (e.sigev_notify == 4 /* SIGEV_THREAD_ID */)
        memcpy(&tid, (const u8 *)&e + 16, sizeof(tid));
    struct signal_timer *s = take_timer(current_process()->pid, tid, silent ? 0 : e.sigev_signo);
    if (!s)
        return -EAGAIN;
    int number = (int)(s - signal_timers);
    return user_write(id, &number, sizeof(number));
}

long sys_timer_gettime(int id, struct itimerspec *out) {
    struct signal_timer *s = timer_of(id);
    if (!s)
        return -EINVAL;
    struct itimerspec value = {ns_to_timespec(s->interval), ns_to_timespec(remaining(s))};
    return user_write(out, &value, sizeof(value));
}

long sys_timer_settime(int id, int flags, const struct itimerspec *new, struct itimerspec *old) {
    struct signal_timer *s = timer_of(id);
    struct itimerspec value;

    if (!s)
        return -EINVAL;
    if (user_read(&value, new, sizeof(value)) < 0 || (old && sys_timer_gettime(id, old) < 0))
        return -EFAULT;
    u64 length = timespec_to_ns(&value.it_value);
    u64 deadline = !length ? 0 : flags & TIMER_ABSTIME ? length : clock_monotonic() + length;
    start(s, deadline, timespec_to_ns(&value.it_interval));
    return 0;
}

long sys_timer_getoverrun(int id) {
    struct signal_timer *s = timer_of(id);
    return s ? s->overruns : -EINVAL;
}

long sys_timer_delete(int id) {
    struct signal_timer *s = timer_of(id);

    if (!s)
        return -EINVAL;
    timer_cancel(&s->timer);
    s->used = false;
    return 0;
}
