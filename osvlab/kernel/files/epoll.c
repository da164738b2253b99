// epoll(7): a set of files one waits for again and again.
//
// Invariant: an interest belongs to one epoll and to one file, and is on the list of each; it
// holds no reference to the file, whose last close takes it out. All lists change under one
// spinlock, and looking at a file (file_poll without a table) is allowed under it, because poll
// operations neither sleep nor take mutexes.
// Waiting is like poll's: line up everywhere, look everywhere, sleep. While a thread stands in a
// file's queue it does hold the file; closing a descriptor wakes it up to let go (poll.h).
// Edge-triggered: a file is told again only when its sources have notified since it was last told.

#include "poll.h"

#include <sys/epoll.h>

#include "syscalls_files.h"

#define NESTING_MAX 5

struct epoll {
    struct list interests;
    size_t count;
    struct poll_source source; // interests were added or changed, or a file among them is closing
};

struct interest {
    struct list in_epoll, in_file;
    struct epoll *epoll;
    struct file *file;
    int descriptor;
    struct epoll_event event;
    u32 told; // edge-triggered: generation of the sources when it was last told
    bool was_told, disabled;
};

static struct spinlock lock = SPINLOCK("epoll");
static const struct file_operations operations;
static struct poll_table counter = {.counting = true}; // used under the lock

static unsigned epoll_look(struct file *file, struct poll_table *table);

// --- Looking; the lock is held ---

static unsigned file_look(struct file *file, struct poll_table *table) {
    return file->operations == &operations ? epoll_look(file, table) : file_poll(file, table);
}

// What an interest has to tell now. `generation` changes whenever the file notifies.
static unsigned news(struct interest *interest, u32 *generation) {
    if (interest->disabled)
        return 0;
    u32 outer = counter.generation;
    counter.generation = 0;
    unsigned ready =
        file_look(interest->file, &counter) & (interest->event.events | EPOLLERR | EPOLLHUP);
    *generation = counter.generation;
    counter.generation = outer;
    bool edge = interest->event.events & EPOLLET;
    return edge && interest->was_told && interest->told == *generation ? 0 : ready;
}

static bool is_ready(struct epoll *epoll) {
    u32 generation;
    LIST_EACH(&epoll->interests, interest, struct interest, in_epoll)
    if (news(interest, &generation) != 0)
        return true;
    return false;
}

// Names the sources of all files to the table: to stand in their queues, or to count.
static void line_up(struct epoll *epoll, struct poll_table *table) {
    struct file *outer = table->file;
    poll_on(table, &epoll->source);
    LIST_EACH(&epoll->interests, interest, struct interest, in_epoll) {
        table->file = interest->file;
        if (!interest->disabled)
            file_look(interest->file, table);
    }
    table->file = outer;
}

static unsigned epoll_look(struct file *file, struct poll_table *table) {
    struct epoll *epoll = file->data;
    if (table != NULL)
        line_up(epoll, table);
    return is_ready(epoll) ? EPOLLIN | EPOLLRDNORM : 0;
}

// How many places line_up may need; generously, since it must not allocate.
static size_t places(const struct epoll *epoll) {
    return 2 * epoll->count + 16;
}

static unsigned epoll_poll(struct file *file, struct poll_table *table) {
    if (table != NULL)
        poll_table_reserve(table, places(file->data)); // without memory the table looks again soon
    u64 flags = spin_lock(&lock);
    unsigned ready = epoll_look(file, table);
    spin_unlock(&lock, flags);
    return ready;
}

// --- epoll_wait ---

static void note_told(struct interest *interest, u32 generation) {
    interest->told = generation;
    interest->was_told = true;
    if (interest->event.events & EPOLLONESHOT)
        interest->disabled = true;
}

// Gathers up to `size` events. What told something goes to the end, so that all get their turn.
static int gather(struct epoll *epoll, struct epoll_event *out, int size) {
    int found = 0;
    struct list told = LIST(told);
    u64 flags = spin_lock(&lock);
    LIST_EACH_SAFE(&epoll->interests, interest, struct interest, in_epoll) {
        if (found == size)
            break;
        u32 generation = 0;
        unsigned ready = news(interest, &generation);
        if (ready == 0)
            continue;
        out[found] = interest->event;
        out[found++].events = ready;
        note_told(interest, generation);
        list_remove(&interest->in_epoll);
        list_append(&told, &interest->in_epoll);
    }
    while (!list_empty(&told)) {
        struct list *item = told.next;
        list_remove(item);
        list_append(&epoll->interests, item);
    }
    spin_unlock(&lock, flags);
    return found;
}

static int wait_for_events(struct epoll *epoll, struct epoll_event *out, int size, u64 deadline) {
    int found = gather(epoll, out, size);
    if (found > 0 || deadline == 0)
        return found;
    struct poll_table *table = kzalloc(sizeof(*table));
    if (table == NULL)
        return -ENOMEM;
    poll_table_init(table);
    for (int status = 0;;) {
        poll_table_again(table);
        poll_table_reserve(table, places(epoll));
        u64 flags = spin_lock(&lock);
        line_up(epoll, table);
        spin_unlock(&lock, flags);
        found = gather(epoll, out, size);
        if (found > 0 || status < 0) {
            found = found > 0 || status == -ETIMEDOUT ? found : status;
            break;
        }
        status = poll_table_sleep(table, deadline);
    }
    poll_table_finish(table);
    kfree(table);
    return found;
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

#define EVENTS_AT_ONCE 256

static long wait_on(int descriptor, struct epoll_event *user, int size, u64 deadline) {
    if (size <= 0)
        return -EINVAL;
    int error;
    struct file *file = epoll_file(descriptor, &error);
    if (file == NULL)
        return error;
    size = MIN(size, EVENTS_AT_ONCE);
    struct epoll_event *events = kzalloc((size_t)size * sizeof(*events));
    long found = events == NULL ? -ENOMEM : wait_for_events(file->data, events, size, deadline);
    if (found > 0 && user_write(user, events, (size_t)found * sizeof(*events)) < 0)
        found = -EFAULT;
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

// Would watching `file` close a circle, or nest too deep?
static bool nests_too_deep(struct epoll *epoll, struct file *file, int depth) {
    if (file->operations != &operations)
        return false;
    struct epoll *inner = file->data;
    if (inner == epoll || depth == NESTING_MAX)
        return true;
    LIST_EACH(&inner->interests, interest, struct interest, in_epoll)
    if (nests_too_deep(epoll, interest->file, depth + 1))
        return true;
    return false;
}

static int add_locked(struct epoll *epoll, struct file *file, struct interest *interest) {
    if (find(epoll, file, interest->descriptor) != NULL)
        return -EEXIST;
    if (nests_too_deep(epoll, file, 0))
        return -ELOOP;
    interest->epoll = epoll;
    interest->file = file;
    list_append(&epoll->interests, &interest->in_epoll);
    list_append(&file->watchers, &interest->in_file);
    epoll->count++;
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
    interest->epoll->count--;
}

static int change(struct epoll *epoll, struct file *file, int descriptor,
                  const struct epoll_event *event) {
    u64 flags = spin_lock(&lock);
    struct interest *interest = find(epoll, file, descriptor);
    if (interest != NULL && event != NULL) {
        interest->event = *event;
        interest->was_told = interest->disabled = false;
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
        poll_notify(&((struct epoll *)epoll->data)->source);
        file_put(epoll);
    }
    file_put(file);
    return error;
}

// --- Closing ---

// A descriptor of the file is being closed: who waits for it has to let go of it.
void file_notify_watchers(struct file *file) {
    if (list_empty(&file->watchers))
        return;
    u64 flags = spin_lock(&lock);
    LIST_EACH(&file->watchers, interest, struct interest, in_file)
    poll_notify(&interest->epoll->source);
    spin_unlock(&lock, flags);
}

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

// The file is gone.
void epoll_forget(struct file *file) {
    struct interest *interest;
    while ((interest = take_first(&file->watchers, true)) != NULL)
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
    poll_source_init(&epoll->source, "epoll");
    struct file *file;
    int status = file_anonymous("[eventpoll]", &operations, epoll, O_RDWR, &file);
    if (status < 0) {
        kfree(epoll);
        return status;
    }
    return descriptor_install(file, (unsigned)flags, 0);
}

long sys_epoll_create(int size) {
    return size <= 0 ? -EINVAL : sys_epoll_create1(0);
}
