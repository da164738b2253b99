// eventfd(2): a counter that one waits for. Writes add to it; a read takes it all, or with
// EFD_SEMAPHORE one.
//
// Invariant: the counter is below UINT64_MAX; it changes under the lock and is looked at without.

#include "poll.h"

#include <sys/eventfd.h>

#include "syscalls_files.h"

struct event {
    struct spinlock lock;
    volatile u64 count;
    bool semaphore;
    struct poll_source source;
};

// Takes what a read gives, or 0 if there is nothing.
static u64 take(struct event *event) {
    u64 flags = spin_lock(&event->lock);
    u64 value = event->semaphore ? event->count > 0 : event->count;
    event->count -= value;
    spin_unlock(&event->lock, flags);
    return value;
}

static bool add(struct event *event, u64 value) {
    u64 flags = spin_lock(&event->lock);
    bool fits = value < UINT64_MAX - event->count;
    if (fits)
        event->count += value;
    spin_unlock(&event->lock, flags);
    return fits;
}

static long event_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct event *event = file->data;
    (void)position;
    if (size < sizeof(u64))
        return -EINVAL;
    u64 value;
    while ((value = take(event)) == 0) {
        if (file->flags & O_NONBLOCK)
            return -EAGAIN;
        int status = WAIT_FOR(&event->source.queue, event->count > 0, NEVER, true);
        if (status < 0)
            return status;
    }
    poll_notify(&event->source, POLLOUT | POLLWRNORM);
    return user_write(buffer, &value, sizeof(value)) < 0 ? -EFAULT : (long)sizeof(value);
}

static long event_write(struct file *file, const void *buffer, size_t size, u64 *position) {
    struct event *event = file->data;
    u64 value;
    (void)position;
    if (size < sizeof(value))
        return -EINVAL;
    if (user_read(&value, buffer, sizeof(value)) < 0)
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    while (!add(event, value)) {
        if (file->flags & O_NONBLOCK)
            return -EAGAIN;
        int status = WAIT_FOR(&event->source.queue, value < UINT64_MAX - event->count, NEVER, true);
        if (status < 0)
            return status;
    }
    poll_notify(&event->source, POLLIN | POLLRDNORM);
    return sizeof(value);
}

static unsigned event_poll(struct file *file, struct poll_table *table) {
    struct event *event = file->data;
    poll_on(table, &event->source);
    u64 count = event->count;
    return (count > 0 ? POLLIN | POLLRDNORM : 0) |
           (count < UINT64_MAX - 1 ? POLLOUT | POLLWRNORM : 0);
}

static void event_close(struct file *file) {
    kfree(file->data);
}

static const struct file_operations operations = {
    .stream = true,
    .close = event_close,
    .read = event_read,
    .write = event_write,
    .poll = event_poll,
};

long sys_eventfd2(unsigned value, int flags) {
    if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    struct event *event = kzalloc(sizeof(*event));
    if (event == NULL)
        return -ENOMEM;
    event->lock = (struct spinlock)SPINLOCK("eventfd");
    event->count = value;
    event->semaphore = flags & EFD_SEMAPHORE;
    poll_source_init(&event->source, "eventfd");
    struct file *file;
    int status = file_anonymous("[eventfd]", &operations, event,
                                O_RDWR | (unsigned)(flags & O_NONBLOCK), &file);
    if (status < 0) {
        kfree(event);
        return status;
    }
    return descriptor_install(file, (unsigned)flags, 0);
}

long sys_eventfd(unsigned value) {
    return sys_eventfd2(value, 0);
}
