// The virtqueue against a device written from the other side of the specification, which keeps
// requests for a while, returns them in any order, and sometimes breaks the rules.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtqueue.h"

enum { NEXT = 1, WRITES = 2, INDIRECT = 4 };

struct device {
    u16 size;
    bool event_index;
    struct virtqueue_descriptor *descriptors;
    u16 *available, *used;
    u16 seen, returned;
    u32 held[32768]; // heads taken from the available ring and not returned yet
    unsigned held_count;
};

static unsigned long random_state = 1;

static unsigned pick(unsigned limit) {
    random_state = random_state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(random_state >> 33) % limit;
}

// Follows a chain and gives the sum of what its descriptors say, as a fingerprint.
static u64 fingerprint(const struct device *d, u16 head) {
    const struct virtqueue_descriptor *table = d->descriptors;
    u64 sum = 0;
    u16 at = head;

    if (table[head].flags & INDIRECT) {
        table = (void *)table[head].physical;
        at = 0;
    }
    for (;; at = table[at].next) {
        sum = sum * 31 + table[at].physical + table[at].size + (table[at].flags & WRITES);
        if (!(table[at].flags & NEXT))
            return sum;
    }
}

static u64 fingerprint_of(const struct virtqueue_buffer *b, u16 count) {
    u64 sum = 0;
    for (u16 i = 0; i < count; i++)
        sum = sum * 31 + b[i].physical + b[i].size + (b[i].device_writes ? WRITES : 0);
    return sum;
}

static void device_look(struct device *d) {
    while (d->seen != d->available[1])
        d->held[d->held_count++] = d->available[2 + d->seen++ % d->size];
    if (d->event_index)
        d->used[2 + 4 * d->size] = d->seen; // avail_event: tell me of the next
}

static void device_return(struct device *d, u32 id) {
    memcpy(&d->used[2 + 4 * (d->returned % d->size)], &id, 4);
    d->used[1] = ++d->returned;
}

struct token {
    u64 fingerprint;
    struct virtqueue_descriptor table[8];
    bool outstanding;
};

static void setup(struct virtqueue *q, struct device *d, u16 size, bool event_index,
                  bool indirect) {
    void *memory = aligned_alloc(VIRTQUEUE_ALIGN, ALIGN_UP(virtqueue_bytes(size), VIRTQUEUE_ALIGN));
    memset(memory, 0, virtqueue_bytes(size));
    (void)indirect;
    virtqueue_init(q, size, memory, calloc(size, sizeof(struct virtqueue_chain)), event_index);
    memset(d, 0, sizeof(*d));
    d->size = size;
    d->event_index = event_index;
    d->descriptors = memory;
    d->available = (u16 *)((char *)memory + virtqueue_available_offset(size));
    d->used = (u16 *)((char *)memory + virtqueue_used_offset(size));
}

static void teardown(struct virtqueue *q) {
    free(q->chains);
    free(q->descriptors);
}

// More rounds than an index has values, so that every index wraps.
static void test_exchange(u16 size, bool event_index, bool indirect) {
    static struct virtqueue q;
    static struct device d;
    static struct token tokens[64];
    unsigned outstanding = 0;

    memset(tokens, 0, sizeof(tokens));
    setup(&q, &d, size, event_index, indirect);
    for (unsigned round = 0; round < 150000; round++) {
        struct token *t = &tokens[pick(64)];
        if (!t->outstanding) {
            struct virtqueue_buffer buffers[8];
            u16 count = (u16)(1 + pick(8));
            for (u16 i = 0; i < count; i++)
                buffers[i] = (struct virtqueue_buffer){pick(1 << 30), pick(1 << 20), pick(2)};
            u16 needed = indirect ? 1 : count;
            bool room = needed <= q.free_count;
            int status =
                virtqueue_add(&q, buffers, count, indirect ? t->table : NULL, (u64)t->table, t);
            assert(status == (room ? 0 : -ENOSPC));
            if (room) {
                t->fingerprint = fingerprint_of(buffers, count);
                t->outstanding = true;
                outstanding++;
            }
        }
        if (pick(3) == 0 && virtqueue_must_notify(&q))
            device_look(&d);
        if (d.held_count && pick(2)) {
            unsigned i = pick(d.held_count);
            u32 head = d.held[i];
            struct token *owner = q.chains[head].token;
            assert(fingerprint(&d, (u16)head) == owner->fingerprint);
            d.held[i] = d.held[--d.held_count];
            device_return(&d, head);
        }
        for (struct token *done; pick(3) && (done = virtqueue_take(&q, NULL)) != NULL;
             outstanding--) {
            assert(done->outstanding);
            done->outstanding = false;
        }
        assert(!q.broken);
    }
    // A notification that is due is never forgotten, so now everything can be finished.
    if (virtqueue_must_notify(&q))
        device_look(&d);
    while (d.held_count)
        device_return(&d, d.held[--d.held_count]);
    while (virtqueue_take(&q, NULL))
        outstanding--;
    assert(outstanding == 0 && q.free_count == size);
    assert(virtqueue_wait_for_next(&q));
    teardown(&q);
}

static void test_wait_sees_what_came_meanwhile(void) {
    static struct virtqueue q;
    static struct device d;
    int token;
    const struct virtqueue_buffer buffer = {0x1000, 512, true};

    setup(&q, &d, 8, true, false);
    assert(virtqueue_wait_for_next(&q));
    assert(virtqueue_add(&q, &buffer, 1, NULL, 0, &token) == 0);
    assert(virtqueue_must_notify(&q) && !virtqueue_must_notify(&q));
    device_look(&d);
    device_return(&d, d.held[0]);
    assert(!virtqueue_wait_for_next(&q));
    assert(virtqueue_take(&q, NULL) == &token && !virtqueue_take(&q, NULL));
    assert(virtqueue_wait_for_next(&q));
    assert(d.available[2 + 8] == 1); // used_event: interrupt me at the second
    teardown(&q);
}

static void test_broken_devices(void) {
    const u32 wrong[] = {1, 7, 8, 0xffff, 0x10000, UINT32_MAX}; // only 0 is outstanding
    const struct virtqueue_buffer buffers[2] = {{0x1000, 512, true}, {0x2000, 1, true}};
    int token;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        static struct virtqueue q;
        static struct device d;
        setup(&q, &d, 8, false, false);
        assert(virtqueue_add(&q, buffers, 2, NULL, 0, &token) == 0);
        device_return(&d, wrong[i]);
        assert(!virtqueue_take(&q, NULL) && q.broken);
        assert(virtqueue_add(&q, buffers, 1, NULL, 0, &token) == -ENOSPC);
        assert(virtqueue_reclaim(&q) == &token && !virtqueue_reclaim(&q));
        assert(q.free_count == 8);
        teardown(&q);
    }
}

// Returning a request twice, scribbling over the descriptors, moving the index anywhere.
static void test_hostile_devices(void) {
    for (int round = 0; round < 20000; round++) {
        static struct virtqueue q;
        static struct device d;
        static int tokens[16];
        const struct virtqueue_buffer buffers[3] = {{1, 2, true}, {3, 4, false}, {5, 6, true}};

        setup(&q, &d, 16, pick(2), false);
        for (int i = 0; i < 40; i++) {
            virtqueue_add(&q, buffers, (u16)(1 + pick(3)), NULL, 0, &tokens[pick(16)]);
            virtqueue_must_notify(&q);
            ((u8 *)d.descriptors)[pick((unsigned)virtqueue_used_offset(1))] = (u8)pick(256);
            device_return(&d, pick(20));
            if (pick(8) == 0)
                d.used[1] = (u16)pick(65536);
            for (int n = 0; virtqueue_take(&q, NULL) && n < 100; n++)
                ;
            virtqueue_wait_for_next(&q);
        }
        while (virtqueue_reclaim(&q))
            ;
        assert(q.free_count == 16);
        teardown(&q);
    }
}

int main(void) {
    for (int i = 0; i < 4; i++) {
        test_exchange(4, i & 1, i & 2);
        test_exchange(256, i & 1, i & 2);
    }
    test_wait_sees_what_came_meanwhile();
    test_broken_devices();
    test_hostile_devices();
    puts("ok");
}
