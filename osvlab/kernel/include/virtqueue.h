// A split virtqueue: how a driver and a virtio device pass buffers to each other (virtio 1.2,
// section 2.7).
//
// Shared memory holds a table of descriptors and two rings of indices: `available`, which the
// driver fills, and `used`, which the device fills. Invariant: a descriptor is either on our free
// list or part of a chain that the device has and that `chains` remembers. Nothing the device
// writes is used as an index unchecked, and chains are followed in private memory only.
#pragma once

#include "base.h"

struct virtqueue_descriptor { // as in shared memory
    u64 physical;
    u32 size;
    u16 flags, next;
};

struct virtqueue_used {
    u32 id, length;
};

// A piece of memory for the device to read or to write.
struct virtqueue_buffer {
    u64 physical;
    u32 size;
    bool device_writes;
};

struct virtqueue_chain {
    void *token; // the driver's, of the chain that begins with this descriptor; NULL = none
    u16 next;    // descriptor after this one, in the chain or on the free list
    u16 length;  // descriptors in the chain
};

struct virtqueue {
    u16 size;         // entries, a power of two
    bool event_index; // VIRTIO_F_EVENT_IDX was negotiated
    bool broken;      // the device broke the rules
    struct virtqueue_descriptor *descriptors;
    volatile u16 *available; // flags, index, ring[size], used_event
    volatile u16 *used;      // flags, index, then struct virtqueue_used[size], avail_event
    struct virtqueue_chain *chains;
    u16 free_first, free_count;
    u16 added, announced; // available indices: ours, and at the last notification
    u16 taken;            // used index up to which we have looked
};

#define VIRTQUEUE_ALIGN 4096UL

// Bytes of shared memory for `size` entries, and where the parts lie in them. The layout is the
// fixed one of legacy devices, which suits all others too.
size_t virtqueue_bytes(u16 size);
size_t virtqueue_available_offset(u16 size);
size_t virtqueue_used_offset(u16 size);

// `memory` is zeroed shared memory; `chains` has `size` entries.
void virtqueue_init(struct virtqueue *q, u16 size, void *memory, struct virtqueue_chain *chains,
                    bool event_index);

// Hands a chain of buffers to the device. With `table` (count entries in memory at physical
// address table_physical) it takes one descriptor, else `count`. -ENOSPC if they are not there.
int virtqueue_add(struct virtqueue *q, const struct virtqueue_buffer *buffers, u16 count,
                  struct virtqueue_descriptor *table, u64 table_physical, void *token);

// Must the device be told about what was added since this was last true?
bool virtqueue_must_notify(struct virtqueue *q);

// The next chain that the device is done with, or NULL; check `broken` then. *length (may be
// NULL) is how many bytes it says it has written, which may be a lie.
void *virtqueue_take(struct virtqueue *q, u32 *length);

// Asks for an interrupt at the next used chain. False if there is one already: take it first.
bool virtqueue_wait_for_next(struct virtqueue *q);

// Asks for no interrupts: somebody will look by himself. Only a hint to the device.
void virtqueue_rest(struct virtqueue *q);

// Takes back any chain the device still has (after a reset), or NULL.
void *virtqueue_reclaim(struct virtqueue *q);
