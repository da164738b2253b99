// A ring of bytes in pages that are taken when they are first needed.
//
// Invariant: head - tail bytes are in the ring, at most `count` pages of them; both only grow
// until ring_rewind, so a byte's position names it.
#pragma once

#include "base.h"

struct ring {
    u8 **pages;
    size_t count;
    volatile u64 head, tail;
};

int ring_init(struct ring *ring, size_t pages); // 0 or -ENOMEM
void ring_free(struct ring *ring);
static inline size_t ring_used(const struct ring *ring) {
    return ring->head - ring->tail;
}
static inline size_t ring_room(const struct ring *ring) {
    return ring->count * PAGE_SIZE - ring_used(ring);
}
// The bytes in one piece from a position on, at most *size of them, and how many that are.
// To write (`make`), a missing page is taken: NULL if there is none.
u8 *ring_piece(struct ring *ring, u64 at, size_t *size, bool make);
// An empty ring begins at its first page again, so that little traffic uses few pages.
static inline void ring_rewind(struct ring *ring) {
    if (ring->head == ring->tail)
        ring->head = ring->tail = 0;
}
