// Waiting for files: how poll, select and epoll learn that something has happened.
//
// A thing that can become ready has a poll_source, or one for readers and one for writers. Whoever
// changes its state calls poll_notify afterwards, with what may be true now; a poll operation names
// its sources with poll_on *before* it looks at the state.
//
// A poll operation only looks: it takes no mutex and touches no application memory. It may take a
// spinlock of its own, but then poll_notify is not called with that lock held.
#pragma once

#include <poll.h>

#include "vnode.h"

struct poll_source {
    struct wait_queue queue;
    struct list watches; // of epolls; epoll's lock guards them
};
#define POLL_SOURCE(self, label) \
    {.queue = WAIT_QUEUE((self).queue, label), .watches = LIST((self).watches)}

// One place in one queue. The file it belongs to is held by whoever polls.
struct poll_entry {
    struct waiter waiter;
    struct wait_queue *queue;
};

// Where one thread waits for several files. Entries are linked into wait queues, so they must
// not move: they come in blocks, the first of which is in the table itself.
struct poll_block {
    struct poll_block *next;
    struct poll_entry entries[8];
};

struct poll_table {
    struct poll_block first, *block;
    size_t used;    // entries of `block` that this round has taken
    bool no_memory; // a source could not be waited for: look again soon
    void (*found)(struct poll_table *table, struct poll_source *source); // instead of waiting
};

void poll_source_init(struct poll_source *source, const char *name);
void poll_notify(struct poll_source *source, unsigned events); // POLLIN...: what may be true now
void poll_on(struct poll_table *table, struct poll_source *source); // nothing if table is NULL

// Used as: init; loop {again; poll all with the table; poll all with NULL;
// sleep}; finish.
void poll_table_init(struct poll_table *table);
void poll_table_again(struct poll_table *table);
bool poll_table_reserve(struct poll_table *table,
                        size_t entries); // so that poll_on allocates nothing
int poll_table_sleep(struct poll_table *table, u64 deadline);
void poll_table_finish(struct poll_table *table);   // leaves all queues
int poll_signal_mask(const u64 *user, size_t size); // NULL: none
u64 poll_deadline(const struct timespec *timeout);  // relative -> when; NULL = NEVER
int poll_timeout_in(const struct timespec *user,
                    u64 *deadline); // the same from a system call; 0 = at once

void epoll_tell(struct poll_source *source, unsigned events);
void epoll_forget(struct file *file);
