// The rings of bytes of TCP connections: offsets are sequence numbers, memory comes when needed.
//
// Invariant: a ring's pages hold at most TCP_RING_MOST bytes that follow each other, one page less
// than it has places for, so that its first and its last byte are never in the same page. All
// rings together have at most a share of the memory. A few pages that have been given back wait in
// a pool, since a page from the page allocator is cleared first: 256 KiB at most, and when no ring has
// had any for a second, the pool goes.

#include "tcp.h"

#define MEMORY_SHARE 4 // rings may have a quarter
#define POOL_MOST 64U

static void *pool; // free pages, linked through their first word
static size_t pool_count, ring_pages, pages_most;
static struct network_timer rest;

static u32 place_of(u32 at) {
    return at / PAGE_SIZE % TCP_RING_PAGES;
}

static u8 *page_take(void) {
    if (!pages_most) {
        struct memory_statistics memory;
        memory_statistics(&memory);
        pages_most = MAX(memory.total / MEMORY_SHARE / PAGE_SIZE, 1UL);
    }
    if (ring_pages >= pages_most)
        return NULL;
    void *page = pool;
    if (page) {
        pool = *(void **)page;
        pool_count--;
    } else {
        page = pages_allocate(1);
    }
    ring_pages += page != NULL;
    return page;
}

static void rested(struct network_timer *timer) {
    (void)timer;
    if (ring_pages != 0)
        return;
    while (pool) {
        void *page = pool;
        pool = *(void **)page;
        pages_free(page, 1);
    }
    pool_count = 0;
}

static void page_give(void *page) {
    if (!rest.function)
        network_timer_init(&rest, rested);
    if (--ring_pages == 0)
        network_timer_set(&rest, network_now() + SECOND);
    if (pool_count >= POOL_MOST) {
        pages_free(page, 1);
        return;
    }
    *(void **)page = pool;
    pool = page;
    pool_count++;
}

bool tcp_rings_are_tight(void) {
    return pages_most && ring_pages > pages_most / 2;
}

size_t tcp_rings_pages(void) {
    return ring_pages;
}

u32 tcp_ring_reserve(struct tcp_ring *ring, u32 at, u32 size) {
    u32 done = 0;

    if (!ring->pages)
        ring->pages = kzalloc(TCP_RING_PAGES * sizeof(*ring->pages));
    if (!ring->pages)
        return 0;
    while (done < size) {
        u8 **page = &ring->pages[place_of(at + done)];
        if (!*page)
            *page = page_take();
        if (!*page)
            break;
        done += (u32)PAGE_SIZE - (at + done) % PAGE_SIZE;
    }
    return MIN(done, size);
}

u8 *tcp_ring_piece(const struct tcp_ring *ring, u32 at, u32 *size) {
    u32 offset = at % PAGE_SIZE;

    *size = MIN(*size, (u32)PAGE_SIZE - offset);
    return ring->pages[place_of(at)] + offset;
}

// The sums of pieces that follow each other: what begins at an odd offset has its bytes swapped.
static u64 add_sum(u64 total, u32 offset, u64 sum) {
    return total + (offset % 2 ? checksum_swap(sum) : sum);
}

void tcp_ring_put(struct tcp_ring *ring, u32 at, const u8 *data, u32 size) {
    for (u32 done = 0; done < size;) {
        u32 piece = size - done;
        u8 *to = tcp_ring_piece(ring, at + done, &piece);
        memcpy(to, data + done, piece);
        done += piece;
    }
}

u64 tcp_ring_put_sum(struct tcp_ring *ring, u32 at, const u8 *data, u32 size) {
    u64 total = 0;

    for (u32 done = 0; done < size;) {
        u32 piece = size - done;
        u8 *to = tcp_ring_piece(ring, at + done, &piece);
        total = add_sum(total, done, checksum_copy(0, to, data + done, piece));
        done += piece;
    }
    return total;
}

// Copies out, and adds up the checksum if `sum`.
u64 tcp_ring_take(const struct tcp_ring *ring, u32 at, u8 *to, u32 size, bool sum) {
    u64 total = 0;

    for (u32 done = 0; done < size;) {
        u32 piece = size - done;
        const u8 *from = tcp_ring_piece(ring, at + done, &piece);
        if (sum)
            total = add_sum(total, done, checksum_copy(0, to + done, from, piece));
        else
            memcpy(to + done, from, piece);
        done += piece;
    }
    return total;
}

void tcp_ring_release(struct tcp_ring *ring, u32 from, u32 to) {
    if (!ring->pages)
        return;
    for (u32 at = ALIGN_DOWN(from, (u32)PAGE_SIZE); at != ALIGN_DOWN(to, (u32)PAGE_SIZE);
         at += PAGE_SIZE) {
        u8 **page = &ring->pages[place_of(at)];
        if (*page)
            page_give(*page);
        *page = NULL;
    }
}

void tcp_ring_clear(struct tcp_ring *ring) {
    if (!ring->pages)
        return;
    for (u32 i = 0; i < TCP_RING_PAGES; i++)
        if (ring->pages[i])
            page_give(ring->pages[i]);
    kfree(ring->pages);
    ring->pages = NULL;
}
