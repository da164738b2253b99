// timerfd_create(2): a timer that one reads. A read gives how often it has gone off.
//
// Invariant: `next` is when it goes off next (0: not armed). The kernel's timer only wakes
// readers; how often it has gone off is computed from the clock when somebody looks, so a short
// interval costs nothing while nobody reads.

#include "poll.h"

#include <sys/timerfd.h>

#include "syscalls_files.h"

struct timer_file {
    struct spinlock lock;
    struct timer timer;
    u64 next, interval; // nanoseconds since boot
    u64 expired;        // not yet read
    bool realtime;
    struct poll_source source;
};

static void timer_fires(struct timer *timer) {
    poll_notify(&CONTAINER_OF(timer, struct timer_file, timer)->source, POLLIN | POLLRDNORM);
}

// Brings `expired` and `next` up to now, and arms the timer for what comes. The lock is held.
static void advance(struct timer_file *t, u64 now) {
    if (t->next == 0 || now < t->next)
        return;
    if (t->interval == 0) {
        t->expired++;
        t->next = 0;
        return;
    }
    u64 times = (now - t->next) / t->interval + 1;
    t->expired += times;
    t->next += times * t->interval;
    timer_set(&t->timer, t->next);
}

static u64 take(struct timer_file *t) {
    u64 flags = spin_lock(&t->lock);
    advance(t, clock_monotonic());
    u64 count = t->expired;
    t->expired = 0;
    spin_unlock(&t->lock, flags);
    return count;
}

static bool is_due(struct timer_file *t) {
    u64 flags = spin_lock(&t->lock);
    bool due = t->expired > 0 || (t->next != 0 && clock_monotonic() >= t->next);
    spin_unlock(&t->lock, flags);
    return due;
}

static long timer_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct timer_file *t = file->data;
    (void)position;
    if (size < sizeof(u64))
        return -EINVAL;
    u64 count;
    while ((count = take(t)) == 0) {
        if (file->flags & O_NONBLOCK)
            return -EAGAIN;
        int status = WAIT_FOR(&t->source.queue, is_due(t), NEVER, true);
        if (status < 0)
            return status;
    }
    return user_write(buffer, &count, sizeof(count)) < 0 ? -EFAULT : (long)sizeof(count);
}

static unsigned timer_poll(struct file *file, struct poll_table *table) {
    struct timer_file *t = file->data;
    poll_on(table, &t->source);
    return is_due(t) ? POLLIN | POLLRDNORM : 0;
}

static void timer_close(struct file *file) {
    struct timer_file *t = file->data;
    timer_cancel(&t->timer);
    kfree(t);
}

static const struct file_operations operations = {
    .stream = true,
    .close = timer_close,
    .read = timer_read,
    .poll = timer_poll,
};

long sys_timerfd_create(int clock, int flags) {
    if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK))
        return -EINVAL;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return -EINVAL;
    struct timer_file *t = kzalloc(sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    t->lock = (struct spinlock)SPINLOCK("timerfd");
    t->timer.function = timer_fires;
    list_init(&t->timer.link);
    t->realtime = clock == CLOCK_REALTIME;
    poll_source_init(&t->source, "timerfd");
    struct file *file;
    int status = file_anonymous("[timerfd]", &operations, t,
                                O_RDONLY | (unsigned)(flags & O_NONBLOCK), &file);
    if (status < 0) {
        kfree(t);
        return status;
    }
    return descriptor_install(file, (unsigned)flags, 0);
}

static struct itimerspec settings(struct timer_file *t) {
    u64 now = clock_monotonic();
    advance(t, now);
    return (struct itimerspec){ns_to_timespec(t->interval),
                               ns_to_timespec(t->next == 0 ? 0 : t->next - now)};
}

// When a setting means, since boot; 0 for "never".
static u64 first_time(const struct timer_file *t, const struct timespec *value, bool absolute) {
    u64 now = clock_monotonic(), time = timespec_to_ns(value);
    if (time == 0)
        return 0;
    if (!absolute)
        return now + time;
    if (t->realtime) {
        u64 offset = clock_realtime() - now;
        return time > offset ? time - offset : 1;
    }
    return time;
}

static struct file *timer_file_of(int descriptor, int *error) {
    struct file *file = file_of(descriptor);
    *error = file == NULL ? -EBADF : file->operations != &operations ? -EINVAL : 0;
    if (*error < 0 && file != NULL) {
        file_put(file);
        file = NULL;
    }
    return file;
}

long sys_timerfd_settime(int descriptor, int flags, const struct itimerspec *new,
                         struct itimerspec *old) {
    struct itimerspec value, before;
    if (user_read(&value, new, sizeof(value)) < 0)
        return -EFAULT;
    if (flags & ~(TFD_TIMER_ABSTIME | 2) || !timespec_valid(&value.it_value) ||
        !timespec_valid(&value.it_interval))
        return -EINVAL;
    int error;
    struct file *file = timer_file_of(descriptor, &error);
    if (file == NULL)
        return error;
    struct timer_file *t = file->data;
    u64 irq = spin_lock(&t->lock);
    before = settings(t);
    t->expired = 0;
    t->interval = timespec_to_ns(&value.it_interval);
    t->next = first_time(t, &value.it_value, flags & TFD_TIMER_ABSTIME);
    if (t->next != 0) // else the timer, if it is still set, wakes somebody for nothing
        timer_set(&t->timer, t->next);
    spin_unlock(&t->lock, irq);
    file_put(file);
    return old == NULL ? 0 : user_write(old, &before, sizeof(before));
}

long sys_timerfd_gettime(int descriptor, struct itimerspec *out) {
    int error;
    struct file *file = timer_file_of(descriptor, &error);
    if (file == NULL)
        return error;
    struct timer_file *t = file->data;
    u64 flags = spin_lock(&t->lock);
    struct itimerspec value = settings(t);
    spin_unlock(&t->lock, flags);
    file_put(file);
    return user_write(out, &value, sizeof(value));
}
