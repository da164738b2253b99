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
    bool used, is_itimer, realtime;
    int pid, tid; // tid 0: any thread of the process
    siginfo_t info;
    u64 interval;
    int overruns; // how often it would have gone off since it last did
};
#define SIGNAL_TIMERS 64
static struct signal_timer signal_timers[SIGNAL_TIMERS];
static struct spinlock signal_timers_lock = SPINLOCK("signal timers");

// However short an interval is, the application gets most of the time.
#define SHORTEST (100 * MICROSECOND)

// Sets the timer for its next time that is not past. Those missed are counted.
static void arm_again(struct signal_timer *s, u64 now) {
    u64 late = now - s->timer.deadline, missed = late / s->interval;
    u64 next = s->timer.deadline + (missed + 1) * s->interval;

    while (next < now + SHORTEST) {
        u64 more = (now + SHORTEST - next) / s->interval + 1;
        missed += more;
        next += more * s->interval;
    }
    s->overruns = (int)MIN(missed, (u64)INT32_MAX);
    timer_set(&s->timer, next);
}

static void timer_expired(struct timer *timer) {
    struct signal_timer *s = CONTAINER_OF(timer, struct signal_timer, timer);
    siginfo_t info = s->info;

    if (s->interval)
        arm_again(s, clock_monotonic());
    if (!s->is_itimer)
        info.si_overrun = s->overruns;
    if (info.si_signo)
        signal_send(s->pid, s->tid, &info);
}

static struct signal_timer *find_timer(int pid, int id, bool is_itimer) {
    for (int i = 0; i < SIGNAL_TIMERS; i++) {
        struct signal_timer *s = &signal_timers[i];
        if (s->used && s->pid == pid && s->is_itimer == is_itimer && (is_itimer || i == id))
            return s;
    }
    return NULL;
}

// The current process's timer of that number, or NULL.
static struct signal_timer *timer_of(int id) {
    return find_timer(current_process()->pid, id, false);
}

static struct signal_timer *take_timer(const struct signal_timer *like) {
    struct signal_timer *free = NULL;
    u64 flags = spin_lock(&signal_timers_lock);

    if (like->is_itimer) // two threads may have asked at once
        free = find_timer(like->pid, 0, true);
    for (int i = 0; i < SIGNAL_TIMERS && !free; i++) {
        struct signal_timer *s = &signal_timers[i];
        if (s->used && process_lives(s->pid))
            continue;
        timer_cancel(&s->timer);
        free = s;
        *s = *like;
        s->used = true;
        s->timer.function = timer_expired;
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
    s->overruns = 0;
    if (deadline)
        timer_set(&s->timer, deadline);
}

// The one interval timer of a process: only ITIMER_REAL exists.
static struct signal_timer *itimer(bool create) {
    struct signal_timer like = {.is_itimer = true, .pid = current_process()->pid};
    struct signal_timer *s = find_timer(like.pid, 0, true);

    like.info = (siginfo_t){.si_signo = SIGALRM, .si_code = SI_KERNEL};
    return s || !create ? s : take_timer(&like);
}

static bool timeval_valid(const struct timeval *t) {
    return t->tv_sec >= 0 && t->tv_usec >= 0 && t->tv_usec < 1000000;
}

static u64 from_timeval(const struct timeval *t) {
    return timespec_to_ns(&(struct timespec){t->tv_sec, t->tv_usec * (long)MICROSECOND});
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
    if (!timeval_valid(&value.it_value) || !timeval_valid(&value.it_interval))
        return -EINVAL;
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

// struct sigevent as the kernel has it: a thread's number behind the notification.
static int thread_of(const struct sigevent *e) {
    int tid;

    memcpy(&tid, (const u8 *)e + 16, sizeof(tid));
    return tid;
}

#define SIGEV_TO_THREAD 4 // SIGEV_THREAD_ID

long sys_timer_create(int clock, const struct sigevent *event, int *id) {
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct signal_timer like = {.realtime = clock == CLOCK_REALTIME || clock == CLOCK_TAI,
                                .pid = current_process()->pid};

    if (sys_clock_getres(clock, NULL) < 0)
        return -EINVAL;
    if (event && user_read(&e, event, sizeof(e)) < 0)
        return -EFAULT;
    bool silent = e.sigev_notify == SIGEV_NONE;
    if (!silent && e.sigev_notify != SIGEV_SIGNAL && e.sigev_notify != SIGEV_TO_THREAD)
        return -EINVAL; // SIGEV_THREAD is libc's to make
    if (!silent && (e.sigev_signo < 1 || e.sigev_signo > SIGNALS))
        return -EINVAL;
    if (e.sigev_notify == SIGEV_TO_THREAD)
        like.tid = thread_of(&e);
    like.info = (siginfo_t){.si_signo = silent ? 0 : e.sigev_signo, .si_code = SI_TIMER};
    struct signal_timer *s = take_timer(&like);
    if (!s)
        return -EAGAIN;
    int number = (int)(s - signal_timers);
    s->info.si_timerid = number;
    s->info.si_value = event ? e.sigev_value : (union sigval){.sival_int = number};
    if (user_write(id, &number, sizeof(number)) < 0) {
        sys_timer_delete(number);
        return -EFAULT;
    }
    return 0;
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
    if (user_read(&value, new, sizeof(value)) < 0)
        return -EFAULT;
    if (!timespec_valid(&value.it_value) || !timespec_valid(&value.it_interval))
        return -EINVAL;
    if (old && sys_timer_gettime(id, old) < 0)
        return -EFAULT;
    u64 now = clock_monotonic(), length = timespec_to_ns(&value.it_value);
    u64 deadline = length ? now + length : 0;
    if (length && (flags & TIMER_ABSTIME)) {
        u64 offset = s->realtime ? clock_realtime() - now : 0;
        deadline = length > offset ? length - offset : 1;
    }
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
