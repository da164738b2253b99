// The split virtqueue's logic. It touches only memory, so the tests run it on the host.

#include "virtqueue.h"

enum { FLAG_NEXT = 1, FLAG_DEVICE_WRITES = 2, FLAG_INDIRECT = 4 };
enum { USED_NO_NOTIFY = 1, AVAILABLE_NO_INTERRUPT = 1 };
enum { RING_FLAGS, RING_INDEX, RING_ENTRIES }; // in 16-bit words

// Orders our writes and reads as the device sees them, including a write before a read.
static void barrier(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

size_t virtqueue_available_offset(u16 size) {
    return size * sizeof(struct virtqueue_descriptor);
}

size_t virtqueue_used_offset(u16 size) {
    size_t available_end = virtqueue_available_offset(size) + 2 * (RING_ENTRIES + size + 1UL);

    return ALIGN_UP(available_end, VIRTQUEUE_ALIGN);
}

size_t virtqueue_bytes(u16 size) {
    return virtqueue_used_offset(size) + 2 * RING_ENTRIES + size * sizeof(struct virtqueue_used) +
           2;
}

void virtqueue_init(struct virtqueue *q, u16 size, void *memory, struct virtqueue_chain *chains,
                    bool event_index) {
    *q = (struct virtqueue){
        .size = size,
        .event_index = event_index,
        .descriptors = memory,
        .available = (u16 *)((u8 *)memory + virtqueue_available_offset(size)),
        .used = (u16 *)((u8 *)memory + virtqueue_used_offset(size)),
        .chains = chains,
        .free_count = size,
    };
    for (u16 i = 0; i < size; i++)
        chains[i] = (struct virtqueue_chain){.next = i + 1};
}

static u16 flags_of(const struct virtqueue_buffer *b, bool last) {
    return (b->device_writes ? FLAG_DEVICE_WRITES : 0) | (last ? 0 : FLAG_NEXT);
}

static void fill_table(struct virtqueue_descriptor *table, const struct virtqueue_buffer *buffers,
                       u16 count) {
    for (u16 i = 0; i < count; i++)
        table[i] = (struct virtqueue_descriptor){buffers[i].physical, buffers[i].size,
                                                 flags_of(&buffers[i], i + 1 == count), i + 1};
}

// The same in the queue's own table, along the free list. Returns what is left of that.
static u16 fill_chain(struct virtqueue *q, const struct virtqueue_buffer *buffers, u16 count) {
    u16 at = q->free_first;

    for (u16 i = 0; i < count; i++) {
        u16 next = q->chains[at].next;
        q->descriptors[at] = (struct virtqueue_descriptor){
            buffers[i].physical, buffers[i].size, flags_of(&buffers[i], i + 1 == count), next};
        at = next;
    }
    return at;
}

int virtqueue_add(struct virtqueue *q, const struct virtqueue_buffer *buffers, u16 count,
                  struct virtqueue_descriptor *table, u64 table_physical, void *token) {
    u16 needed = table ? 1 : count;
    u16 head = q->free_first;

    if (q->broken || count == 0 || needed > q->free_count)
        return -ENOSPC;
    if (table) {
        fill_table(table, buffers, count);
        q->descriptors[head] =
            (struct virtqueue_descriptor){table_physical, count * sizeof(*table), FLAG_INDIRECT, 0};
        q->free_first = q->chains[head].next;
    } else {
        q->free_first = fill_chain(q, buffers, count);
    }
    q->free_count -= needed;
    q->chains[head].token = token;
    q->chains[head].length = needed;

    q->available[RING_ENTRIES + (q->added & (q->size - 1))] = head;
    q->added++;
    barrier(); // the entry before the index that covers it
    q->available[RING_INDEX] = q->added;
    return 0;
}

static u16 notification_wanted_at(const struct virtqueue *q) { // avail_event: behind the used ring
    return q->used[RING_ENTRIES + q->size * sizeof(struct virtqueue_used) / 2];
}

bool virtqueue_must_notify(struct virtqueue *q) {
    u16 before = q->announced;

    barrier(); // the index before the look at what the device wants
    if (q->added == before)
        return false;
    q->announced = q->added;
    if (!q->event_index)
        return !(q->used[RING_FLAGS] & USED_NO_NOTIFY);
    // Has the index moved past the one the device named? (vring_need_event in section 2.7.10)
    return (u16)(q->added - notification_wanted_at(q) - 1) < (u16)(q->added - before);
}

static void *release(struct virtqueue *q, u16 head) {
    struct virtqueue_chain *first = &q->chains[head];
    void *token = first->token;
    u16 last = head;

    for (u16 i = 1; i < first->length; i++)
        last = q->chains[last].next;
    q->chains[last].next = q->free_first;
    q->free_first = head;
    q->free_count += first->length;
    first->token = NULL;
    return token;
}

void *virtqueue_take(struct virtqueue *q, u32 *length) {
    if (q->broken || q->taken == q->used[RING_INDEX])
        return NULL;
    barrier(); // the index before the entry
    const volatile struct virtqueue_used *ring = (const volatile void *)(q->used + RING_ENTRIES);
    u32 id = ring[q->taken & (q->size - 1)].id;

    if (id >= q->size || !q->chains[id].token) {
        q->broken = true;
        return NULL;
    }
    if (length)
        *length = ring[q->taken & (q->size - 1)].length;
    q->taken++;
    return release(q, (u16)id);
}

bool virtqueue_wait_for_next(struct virtqueue *q) {
    if (q->event_index)
        q->available[RING_ENTRIES + q->size] = q->taken; // used_event
    else
        q->available[RING_FLAGS] = 0;
    barrier();
    return q->broken || q->taken == q->used[RING_INDEX];
}

void virtqueue_rest(struct virtqueue *q) {
    if (q->event_index)
        q->available[RING_ENTRIES + q->size] = q->taken - 1; // the index that comes last of all
    else
        q->available[RING_FLAGS] = AVAILABLE_NO_INTERRUPT;
}

void *virtqueue_reclaim(struct virtqueue *q) {
    for (u16 i = 0; i < q->size; i++) {
        if (q->chains[i].token)
            return release(q, i);
    }
    return NULL;
}
