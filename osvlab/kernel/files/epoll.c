// epoll(7): a set of files one waits for again and again.
//
// Invariant: an interest belongs to one epoll and to one file, and is on the list of each; it
// holds no reference to the file, whose last close takes it out. It watches the file's sources
// (poll.h): whatever notifies puts it on its epoll's list of ready ones. Being on that list only
// means that it is worth a look, and whatever is ready and not yet told is on it. So waiting costs
// what has happened, not what is being watched.
// Edge-triggered ones leave the list when they are told, others when a look finds them not ready.
// All of this changes under one spinlock. Looking at a file is allowed under it (poll.h).

#include "poll.h"

#include <sys/epoll.h>

#include "syscalls_files.h"

#define NESTING_MAX 5
#define WATCHES_MOST 4 // sources of one file

struct epoll {
    struct file *file;
    struct list interests, ready;
    struct poll_source source; // one has become ready
};

struct watch {
    struct list link; // in the source's list
    struct interest *interest;
};

struct interest {
    struct list in_epoll, in_file, in_ready;
    struct epoll *epoll;
    struct file *file;
    int descriptor;
    struct epoll_event event;
    bool disabled; // EPOLLONESHOT: told once
    size_t watch_count;
    struct watch watches[WATCHES_MOST];
};

static struct spinlock lock = SPINLOCK("epoll");
static const struct file_operations operations;

static unsigned epoll_look(struct file *file, struct poll_table *table);

// --- Looking; the lock is held ---

static unsigned file_look(struct file *file, struct poll_table *table) {
    return file->operations == &operations ? epoll_look(file, table) : file_poll(file, table);
}

static unsigned wanted(const struct interest *interest) {
    return interest->disabled ? 0 : interest->event.events | EPOLLERR | EPOLLHUP;
}

static bool any_ready(struct epoll *epoll) {
    LIST_EACH_SAFE(&epoll->ready, interest, struct interest, in_ready) {
        if (file_look(interest->file, NULL) & wanted(interest))
            return true;
        list_remove(&interest->in_ready);
    }
    return false;
}

static unsigned epoll_look(struct file *file, struct poll_table *table) {
    struct epoll *epoll = file->data;
    poll_on(table, &epoll->source);
    return any_ready(epoll) ? EPOLLIN | EPOLLRDNORM : 0;
}

static unsigned epoll_poll(struct file *file, struct poll_table *table) {
    u64 flags = spin_lock(&lock);
    unsigned ready = epoll_look(file, table);
    spin_unlock(&lock, flags);
    return ready;
}

// --- Being told; the lock is held ---

static void make_ready(struct interest *interest);

static void tell(struct poll_source *source, unsigned events) {
    wait_wake_all(&source->queue);
    LIST_EACH(&source->watches, watch, struct watch, link)
    if (events & wanted(watch->interest))
        make_ready(watch->interest);
}

// An epoll may be watched by another one, so this goes on upwards, as far as they are nested.
static void make_ready(struct interest *interest) {
    if (list_empty(&interest->in_ready))
        list_append(&interest->epoll->ready, &interest->in_ready);
    tell(&interest->epoll->source, EPOLLIN | EPOLLRDNORM);
}

// From poll_notify, if somebody watches the source.
void epoll_tell(struct poll_source *source, unsigned events) {
    u64 flags = spin_lock(&lock);
    tell(source, events);
    spin_unlock(&lock, flags);
}

struct watching {
    struct poll_table table;
    struct interest *interest;
};

static void watch_source(struct poll_table *table, struct poll_source *source) {
    struct interest *interest = CONTAINER_OF(table, struct watching, table)->interest;
    ASSERT(interest->watch_count < WATCHES_MOST);
    struct watch *watch = &interest->watches[interest->watch_count++];
    watch->interest = interest;
    list_append(&source->watches, &watch->link);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // the watch before the look at the state
}

// --- epoll_wait ---

// Gathers up to `size` events. What stays ready goes to the end, so that all get their turn.
static int gather(struct epoll *epoll, struct epoll_event *out, int size) {
    int found = 0;
    struct list again = LIST(again);
    u64 flags = spin_lock(&lock);
    while (found < size && !list_empty(&epoll->ready)) {
        struct interest *interest = LIST_FIRST(&epoll->ready, struct interest, in_ready);
        unsigned ready = file_look(interest->file, NULL) & wanted(interest);
        list_remove(&interest->in_ready);
        if (ready == 0)
            continue;
        out[found] = interest->event;
        out[found++].events = ready;
        if (interest->event.events & EPOLLONESHOT)
            interest->disabled = true;
        else if (!(interest->event.events & EPOLLET))
            list_append(&again, &interest->in_ready);
    }
    while (!list_empty(&again)) {
        struct list *item = again.next;
        list_remove(item);
        list_append(&epoll->ready, item);
    }
    spin_unlock(&lock, flags);
    return found;
}

static int wait_for_events(struct epoll *epoll, struct epoll_event *out, int size, u64 deadline) {
    int found = gather(epoll, out, size);
    if (found > 0 || deadline == 0)
        return found;
    int status =
        WAIT_FOR(&epoll->source.queue, (found = gather(epoll, out, size)) > 0, deadline, true);
    return found > 0 || status == -ETIMEDOUT ? found : status;
}

static struct file *epoll_file(int descriptor, int *error) {
    struct file *file = file_of(descriptor);
    *error = file == NULL ? -EBADF : file->operations != &operations ? -EINVAL : 0;
    if (*error < 0 && file != NULL) {
        file_put(file);
        file = NULL;
    }
    return file;
}

#define EVENTS_AT_ONCE 256 // the rest comes with the next call

static long wait_on(int descriptor, struct epoll_event *user, int size, u64 deadline) {
    struct epoll_event small[16], *events = small;
    if (size <= 0)
        return -EINVAL;
    int error;
    struct file *file = epoll_file(descriptor, &error);
    if (file == NULL)
        return error;
    size = MIN(size, EVENTS_AT_ONCE);
    if (size > (int)ARRAY_SIZE(small) &&
        (events = kzalloc((size_t)size * sizeof(*events))) == NULL) {
        events = small; // fewer will do
        size = ARRAY_SIZE(small);
    }
    long found = wait_for_events(file->data, events, size, deadline);
    if (found > 0 && user_write(user, events, (size_t)found * sizeof(*events)) < 0)
        found = -EFAULT;
    if (events != small)
        kfree(events);
    file_put(file);
    return found;
}

static u64 milliseconds(int timeout) {
    return timeout < 0 ? NEVER : timeout == 0 ? 0 : clock_monotonic() + (u64)timeout * MILLISECOND;
}

long sys_epoll_wait(int descriptor, struct epoll_event *events, int size, int timeout) {
    return wait_on(descriptor, events, size, milliseconds(timeout));
}

long sys_epoll_pwait(int descriptor, struct epoll_event *events, int size, int timeout,
                     const u64 *mask, size_t mask_size) {
    int status = poll_signal_mask(mask, mask_size);
    return status < 0 ? status : wait_on(descriptor, events, size, milliseconds(timeout));
}

long sys_epoll_pwait2(int descriptor, struct epoll_event *events, int size,
                      const struct timespec *timeout, const u64 *mask, size_t mask_size) {
    u64 deadline;
    int status = poll_timeout_in(timeout, &deadline);
    if (status == 0)
        status = poll_signal_mask(mask, mask_size);
    return status < 0 ? status : wait_on(descriptor, events, size, deadline);
}

// --- epoll_ctl ---

static struct interest *find(struct epoll *epoll, struct file *file, int descriptor) {
    LIST_EACH(&file->watchers, interest, struct interest, in_file)
    if (interest->epoll == epoll && interest->descriptor == descriptor)
        return interest;
    return NULL;
}

// How many epolls watch this one, one above the other; and how deep the ones it watches go.
static int height(const struct epoll *epoll) {
    int most = 0;
    LIST_EACH(&epoll->file->watchers, interest, struct interest, in_file)
    most = MAX(most, 1 + height(interest->epoll));
    return most;
}

static int depth(const struct file *file) {
    int most = 0;
    if (file->operations != &operations)
        return 0;
    const struct epoll *epoll = file->data;
    LIST_EACH(&epoll->interests, interest, struct interest, in_epoll)
    most = MAX(most, depth(interest->file));
    return 1 + most;
}

static bool closes_circle(const struct epoll *epoll, const struct file *file) {
    if (file == epoll->file)
        return true;
    LIST_EACH(&epoll->file->watchers, interest, struct interest, in_file)
    if (closes_circle(interest->epoll, file))
        return true;
    return false;
}

static int add_locked(struct epoll *epoll, struct file *file, struct interest *interest) {
    if (find(epoll, file, interest->descriptor) != NULL)
        return -EEXIST;
    if (closes_circle(epoll, file) || height(epoll) + depth(file) > NESTING_MAX)
        return -ELOOP;
    struct watching watching = {.table.found = watch_source, .interest = interest};
    interest->epoll = epoll;
    interest->file = file;
    list_append(&epoll->interests, &interest->in_epoll);
    list_append(&file->watchers, &interest->in_file);
    if (file_look(file, &watching.table) & wanted(interest))
        make_ready(interest);
    return 0;
}

static int add(struct epoll *epoll, struct file *file, int descriptor,
               const struct epoll_event *event) {
    if (file->operations->poll == NULL)
        return -EPERM;
    struct interest *interest = kzalloc(sizeof(*interest));
    if (interest == NULL)
        return -ENOMEM;
    interest->descriptor = descriptor;
    interest->event = *event;
    list_init(&interest->in_ready);
    u64 flags = spin_lock(&lock);
    int status = add_locked(epoll, file, interest);
    spin_unlock(&lock, flags);
    if (status < 0)
        kfree(interest);
    return status;
}

static void take_out(struct interest *interest) {
    list_remove(&interest->in_epoll);
    list_remove(&interest->in_file);
    list_remove(&interest->in_ready);
    for (size_t i = 0; i < interest->watch_count; i++)
        list_remove(&interest->watches[i].link);
}

static int change(struct epoll *epoll, struct file *file, int descriptor,
                  const struct epoll_event *event) {
    u64 flags = spin_lock(&lock);
    struct interest *interest = find(epoll, file, descriptor);
    if (interest != NULL && event != NULL) {
        interest->event = *event;
        interest->disabled = false;
        if (file_look(file, NULL) & wanted(interest))
            make_ready(interest);
    } else if (interest != NULL) {
        take_out(interest);
    }
    spin_unlock(&lock, flags);
    if (event == NULL)
        kfree(interest);
    return interest == NULL ? -ENOENT : 0;
}

static int control(struct epoll *epoll, int operation, struct file *file, int descriptor,
                   const struct epoll_event *event) {
    switch (operation) {
    case EPOLL_CTL_ADD:
        return add(epoll, file, descriptor, event);
    case EPOLL_CTL_MOD:
        return change(epoll, file, descriptor, event);
    case EPOLL_CTL_DEL:
        return change(epoll, file, descriptor, NULL);
    default:
        return -EINVAL;
    }
}

long sys_epoll_ctl(int epoll_descriptor, int operation, int descriptor,
                   const struct epoll_event *user) {
    struct epoll_event event = {0};
    if (operation != EPOLL_CTL_DEL && user_read(&event, user, sizeof(event)) < 0)
        return -EFAULT;
    int error;
    struct file *file = file_of(descriptor), *epoll = NULL;
    if (file == NULL)
        return -EBADF;
    epoll = epoll_file(epoll_descriptor, &error);
    if (epoll != NULL) {
        error = file == epoll ? -EINVAL : control(epoll->data, operation, file, descriptor, &event);
        file_put(epoll);
    }
    file_put(file);
    return error;
}

// --- Closing ---

static struct interest *take_first(struct list *list, bool of_file) {
    struct interest *interest = NULL;
    u64 flags = spin_lock(&lock);
    if (!list_empty(list)) {
        interest = of_file ? LIST_FIRST(list, struct interest, in_file)
                           : LIST_FIRST(list, struct interest, in_epoll);
        take_out(interest);
    }
    spin_unlock(&lock, flags);
    return interest;
}

// The last reference to the file is gone, so nobody can add an interest any more.
void epoll_forget(struct file *file) {
    struct interest *interest;
    while (!list_empty(&file->watchers) && (interest = take_first(&file->watchers, true)) != NULL)
        kfree(interest);
}

static void epoll_close(struct file *file) {
    struct epoll *epoll = file->data;
    struct interest *interest;
    while ((interest = take_first(&epoll->interests, false)) != NULL)
        kfree(interest);
    kfree(epoll);
}

static const struct file_operations operations = {
    .stream = true, .close = epoll_close, .poll = epoll_poll};

long sys_epoll_create1(int flags) {
    if (flags & ~EPOLL_CLOEXEC)
        return -EINVAL;
    struct epoll *epoll = kzalloc(sizeof(*epoll));
    if (epoll == NULL)
        return -ENOMEM;
    list_init(&epoll->interests);
    list_init(&epoll->ready);
    poll_source_init(&epoll->source, "epoll");
    struct file *file;
    int status = file_anonymous("[eventpoll]", &operations, epoll, O_RDWR, &file);
    if (status < 0) {
        kfree(epoll);
        return status;
    }
    epoll->file = file;
    return descriptor_install(file, (unsigned)flags, 0);
}

long sys_epoll_create(int size) {
    return size <= 0 ? -EINVAL : sys_epoll_create1(0);
}
