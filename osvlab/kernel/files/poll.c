// poll, ppoll, select and pselect6.
//
// Every wait goes in three steps, again and again: (1) line up in the queues of all files,
// (2) look at all files, (3) sleep. A change after step 1 wakes the thread, a change before it
// is seen in step 2, so none is missed. That is why a poll operation must not sleep itself: see
// poll.h and lock.h.

#include "poll.h"

#include <sys/time.h>

#include "syscalls.h"
#include "syscalls_files.h"

void poll_source_init(struct poll_source *source, const char *name) {
    wait_queue_init(&source->queue, name);
    list_init(&source->watches);
}

void poll_notify(struct poll_source *source, unsigned events) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // the change before the look at who watches
    if (list_empty(&source->watches))
        wait_wake_all(&source->queue);
    else
        epoll_tell(source, events);
}

void poll_table_init(struct poll_table *table) {
    memset(table, 0, sizeof(*table));
    table->block = &table->first;
}

static void leave_all(struct poll_table *table) {
    for (struct poll_block *block = &table->first; block != NULL; block = block->next) {
        for (size_t i = 0; i < ARRAY_SIZE(block->entries); i++) {
            struct poll_entry *entry = &block->entries[i];
            if (entry->queue != NULL)
                wait_finish(entry->queue, &entry->waiter);
            memset(entry, 0, sizeof(*entry));
        }
    }
}

void poll_table_again(struct poll_table *table) {
    leave_all(table);
    table->block = &table->first;
    table->used = 0;
    table->no_memory = false;
}

void poll_table_finish(struct poll_table *table) {
    leave_all(table);
    for (struct poll_block *block = table->first.next, *next; block != NULL; block = next) {
        next = block->next;
        kfree(block);
    }
}

bool poll_table_reserve(struct poll_table *table, size_t entries) {
    struct poll_block *block = table->block;
    for (size_t room = ARRAY_SIZE(block->entries) - table->used; room < entries;) {
        if (block->next == NULL)
            block->next = kzalloc(sizeof(*block));
        if (block->next == NULL)
            return false;
        block = block->next;
        room += ARRAY_SIZE(block->entries);
    }
    return true;
}

void poll_on(struct poll_table *table, struct poll_source *source) {
    if (table == NULL)
        return;
    if (table->found != NULL) {
        table->found(table, source);
        return;
    }
    if (table->used == ARRAY_SIZE(table->block->entries)) {
        if (table->block->next == NULL) {
            table->no_memory = true;
            return;
        }
        table->block = table->block->next;
        table->used = 0;
    }
    struct poll_entry *entry = &table->block->entries[table->used++];
    entry->queue = &source->queue;
    wait_prepare(entry->queue, &entry->waiter);
}

// 0: look again; -ETIMEDOUT; -EINTR.
int poll_table_sleep(struct poll_table *table, u64 deadline) {
    u64 soon = table->no_memory ? clock_monotonic() + 10 * MILLISECOND : NEVER;
    int status = wait_sleep(MIN(deadline, soon), true);
    return status == -ETIMEDOUT && soon < deadline ? 0 : status;
}

unsigned file_poll(struct file *file, struct poll_table *table) {
    if (file->operations->poll != NULL)
        return file->operations->poll(file, table);
    return file->flags & O_PATH ? POLLNVAL : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

u64 poll_deadline(const struct timespec *timeout) {
    if (timeout == NULL)
        return NEVER;
    if (timeout->tv_sec > 1000000000) // thirty years are as good as never
        return NEVER;
    return clock_monotonic() + timespec_to_ns(timeout);
}

// --- The common part: a list of files and what is asked of them ---

struct poll_item {
    struct file *file; // NULL: ignored, or not open
    bool invalid;
    unsigned events, ready;
};

static int look(struct poll_item *items, size_t count) {
    int ready = 0;
    for (size_t i = 0; i < count; i++) {
        struct poll_item *item = &items[i];
        item->ready = 0;
        if (item->invalid)
            item->ready = POLLNVAL;
        else if (item->file != NULL)
            item->ready =
                file_poll(item->file, NULL) & (item->events | POLLERR | POLLHUP | POLLNVAL);
        ready += item->ready != 0;
    }
    return ready;
}

static int wait_for_items(struct poll_item *items, size_t count, u64 deadline) {
    int ready = look(items, count);
    if (ready > 0 || deadline == 0)
        return ready;
    struct poll_table *table = kzalloc(sizeof(*table));
    if (table == NULL)
        return -ENOMEM;
    poll_table_init(table);
    for (int status = 0;;) {
        poll_table_again(table);
        for (size_t i = 0; i < count; i++) {
            if (items[i].file == NULL)
                continue;
            poll_table_reserve(table, 4); // without memory the table looks again soon
            file_poll(items[i].file, table);
        }
        ready = look(items, count);
        if (ready > 0 || status < 0) {
            ready = ready > 0 ? ready : status == -ETIMEDOUT ? 0 : status;
            break;
        }
        status = poll_table_sleep(table, deadline);
    }
    poll_table_finish(table);
    kfree(table);
    return ready;
}

static void items_put(struct poll_item *items, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (items[i].file != NULL)
            file_put(items[i].file);
    kfree(items);
}

// --- poll ---

static long do_poll(struct pollfd *user, unsigned long count, u64 deadline) {
    if (count > DESCRIPTORS_HARD)
        return -EINVAL;
    struct pollfd *asked = kzalloc((count + 1) * sizeof(*asked));
    struct poll_item *items = kzalloc((count + 1) * sizeof(*items));
    long status =
        asked == NULL || items == NULL ? -ENOMEM : user_read(asked, user, count * sizeof(*asked));
    if (status == 0) {
        for (size_t i = 0; i < count; i++) {
            items[i].events = (unsigned short)asked[i].events;
            if (asked[i].fd >= 0) {
                items[i].file = file_of(asked[i].fd);
                items[i].invalid = items[i].file == NULL;
            }
        }
        status = wait_for_items(items, count, deadline);
    }
    for (size_t i = 0; i < count && status >= 0; i++) {
        asked[i].revents = (short)items[i].ready;
        int fault = user_write(&user[i].revents, &asked[i].revents, sizeof(asked[i].revents));
        status = fault < 0 ? fault : status;
    }
    if (items != NULL)
        items_put(items, count);
    kfree(asked);
    return status;
}

long sys_poll(struct pollfd *user, unsigned long count, int timeout) {
    u64 deadline = timeout < 0    ? NEVER
                   : timeout == 0 ? 0
                                  : clock_monotonic() + (u64)timeout * MILLISECOND;
    return do_poll(user, count, deadline);
}

int poll_timeout_in(const struct timespec *user, u64 *deadline) {
    struct timespec timeout;
    *deadline = NEVER;
    if (user == NULL)
        return 0;
    int status = user_read(&timeout, user, sizeof(timeout));
    if (status < 0)
        return status;
    if (!timespec_valid(&timeout))
        return -EINVAL;
    *deadline = timeout.tv_sec == 0 && timeout.tv_nsec == 0 ? 0 : poll_deadline(&timeout);
    return 0;
}

// Several calls wait with another signal mask; it is put back when the system call returns.
int poll_signal_mask(const u64 *user, size_t size) {
    u64 mask;
    if (user == NULL)
        return 0;
    if (size != sizeof(mask))
        return -EINVAL;
    int status = user_read(&mask, user, sizeof(mask));
    if (status == 0)
        signal_mask_for_sleep(mask);
    return status;
}

long sys_ppoll(struct pollfd *user, unsigned long count, const struct timespec *timeout,
               const u64 *mask, size_t mask_size) {
    u64 deadline;
    int status = poll_timeout_in(timeout, &deadline);
    if (status == 0)
        status = poll_signal_mask(mask, mask_size);
    return status < 0 ? status : do_poll(user, count, deadline);
}

// --- select ---

#define SETS 3 // to read, to write, exceptional
#define SELECT_MAX 1024

static const unsigned set_events[SETS] = {
    POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
    POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
    POLLPRI,
};

static bool bit(const u64 *set, int i) {
    return set[i / 64] >> i % 64 & 1;
}

// What the three sets ask of every descriptor, as for poll.
static int select_items(struct poll_item *items, int count, u64 sets[SETS][SELECT_MAX / 64]) {
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < SETS; k++)
            items[i].events |= bit(sets[k], i) ? set_events[k] : 0;
        if (items[i].events == 0)
            continue;
        items[i].file = file_of(i);
        if (items[i].file == NULL)
            return -EBADF;
    }
    return 0;
}

static int select_results(const struct poll_item *items, int count,
                          u64 sets[SETS][SELECT_MAX / 64]) {
    int ready = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < SETS; k++) {
            bool yes = bit(sets[k], i) && items[i].ready & set_events[k];
            ready += yes;
            if (!yes)
                sets[k][i / 64] &= ~(1UL << i % 64);
        }
    }
    return ready;
}

static long do_select(int count, u64 *user[SETS], u64 deadline) {
    u64 sets[SETS][SELECT_MAX / 64] = {0};
    if (count < 0)
        return -EINVAL;
    count = MIN(count, SELECT_MAX);
    size_t bytes = ALIGN_UP((size_t)count, 64) / 8;
    for (int k = 0; k < SETS; k++)
        if (user[k] != NULL && user_read(sets[k], user[k], bytes) < 0)
            return -EFAULT;
    struct poll_item *items = kzalloc((size_t)(count + 1) * sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    long status = select_items(items, count, sets);
    if (status == 0)
        status = wait_for_items(items, (size_t)count, deadline);
    if (status >= 0)
        status = select_results(items, count, sets);
    for (int k = 0; k < SETS && status >= 0; k++)
        if (user[k] != NULL && user_write(user[k], sets[k], bytes) < 0)
            status = -EFAULT;
    items_put(items, (size_t)count);
    return status;
}

// Linux writes the time that was left back; programs rely on it either way.
static void time_left(u64 deadline, struct timespec *out) {
    u64 now = clock_monotonic();
    *out = ns_to_timespec(deadline > now && deadline != NEVER ? deadline - now : 0);
}

long sys_select(int count, u64 *read, u64 *write, u64 *except, struct timeval *timeout) {
    u64 deadline = NEVER;
    struct timeval time;
    struct timespec left;
    if (timeout != NULL) {
        if (user_read(&time, timeout, sizeof(time)) < 0)
            return -EFAULT;
        if (time.tv_sec < 0 || time.tv_usec < 0)
            return -EINVAL;
        left = (struct timespec){.tv_sec = time.tv_sec + time.tv_usec / 1000000,
                                 .tv_nsec = time.tv_usec % 1000000 * 1000};
        deadline = left.tv_sec == 0 && left.tv_nsec == 0 ? 0 : poll_deadline(&left);
    }
    long status = do_select(count, (u64 *[]){read, write, except}, deadline);
    if (timeout != NULL && status >= 0) {
        time_left(deadline, &left);
        time = (struct timeval){.tv_sec = left.tv_sec, .tv_usec = left.tv_nsec / 1000};
        user_write(timeout, &time, sizeof(time));
    }
    return status;
}

long sys_pselect6(int count, u64 *read, u64 *write, u64 *except, struct timespec *timeout,
                  const void *mask) {
    struct {
        const u64 *mask;
        size_t size;
    } packed = {0};
    u64 deadline;
    int status = poll_timeout_in(timeout, &deadline);
    if (status == 0 && mask != NULL)
        status = user_read(&packed, mask, sizeof(packed));
    if (status == 0)
        status = poll_signal_mask(packed.mask, packed.size);
    if (status < 0)
        return status;
    long result = do_select(count, (u64 *[]){read, write, except}, deadline);
    struct timespec left;
    time_left(deadline, &left);
    if (timeout != NULL && result >= 0)
        user_write(timeout, &left, sizeof(left));
    return result;
}
