// Rings of bytes, for pipes and for streams of AF_UNIX sockets: see ring.h.

#include "ring.h"

#include "memory.h"

int ring_init(struct ring *ring, size_t pages) {
    *ring = (struct ring){.pages = kzalloc(pages * sizeof(u8 *)), .count = pages};
    return ring->pages == NULL ? -ENOMEM : 0;
}

void ring_free(struct ring *ring) {
    for (size_t i = 0; i < ring->count && ring->pages != NULL; i++)
        if (ring->pages[i] != NULL)
            pages_free(ring->pages[i], 1);
    kfree(ring->pages);
    ring->pages = NULL;
}

u8 *ring_piece(struct ring *ring, u64 at, size_t *size, bool make) {
    u8 **page = &ring->pages[at / PAGE_SIZE % ring->count];
    if (*page == NULL && make)
        *page = pages_allocate(1);
    *size = MIN(*size, PAGE_SIZE - at % PAGE_SIZE);
    return *page == NULL ? NULL : *page + at % PAGE_SIZE;
}
