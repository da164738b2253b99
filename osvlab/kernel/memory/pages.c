// The page allocator: a buddy system (Knowlton 1965; Knuth, TAOCP 2.5).
//
// Invariant: the frames of RAM are cut into blocks of 2^order frames, each aligned to its own
// size. A free block hangs on the list of its order, and no two free buddies exist side by
// side: freeing merges them at once. Every frame has a `struct page`; a free block is described
// by that of its first frame. The others are not even initialised: they become so when their
// block is split, and the boot does not have to touch as many pages as describe all of RAM.

#include <string.h>

#include "arch.h"
#include "boot_memory.h"
#include "file.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "scheduler.h"

#define ORDERS 12
#define PAGE_FREE 1 // flags: first frame of a free block

static struct page *frames; // indexed by frame number
static u64 frame_count;
static struct list free_blocks[ORDERS];
static struct spinlock pages_lock = SPINLOCK("pages");
static u64 total_pages, free_pages;

static u64 frame_of(struct page *page) {
    return page - frames;
}

static void add_free(struct page *page, unsigned order) {
    page->order = order;
    page->flags = PAGE_FREE;
    page->references = 0;
    list_prepend(&free_blocks[order], &page->link);
}

static void take_free(struct page *page) {
    page->flags = 0;
    list_remove(&page->link);
}

static void free_block(struct page *page, unsigned order) {
    free_pages += 1UL << order;
    while (order < ORDERS - 1) {
        u64 buddy_frame = frame_of(page) ^ (1UL << order);
        struct page *buddy = &frames[buddy_frame];

        if (buddy_frame >= frame_count || buddy->flags != PAGE_FREE || buddy->order != order)
            break;
        take_free(buddy);
        page = MIN(page, buddy);
        order++;
    }
    add_free(page, order);
}

static struct page *take_block(unsigned order) {
    unsigned found = order;

    while (found < ORDERS && list_empty(&free_blocks[found]))
        found++;
    if (found == ORDERS)
        return NULL;
    struct page *page = LIST_FIRST(&free_blocks[found], struct page, link);
    take_free(page);
    while (found > order) { // give the upper halves back
        found--;
        add_free(page + (1UL << found), found);
    }
    page->order = order;
    page->references = 1;
    free_pages -= 1UL << order;
    return page;
}

static struct page *allocate(unsigned order) {
    u64 flags = spin_lock(&pages_lock);
    struct page *page = take_block(order);
    spin_unlock(&pages_lock, flags);

    // Clean file pages and cached stacks are as good as free; let them be given back, but not
    // to somebody who holds locks (interrupts off) and could not wait for the cache's.
    for (int tries = 0; !page && tries < 8 && (read_flags() & RFLAGS_INTERRUPT); tries++) {
        if (!cache_reclaim(MAX(64UL, 1UL << order)) && !stacks_reclaim())
            break;
        flags = spin_lock(&pages_lock);
        page = take_block(order);
        spin_unlock(&pages_lock, flags);
    }
    if (page)
        memset(page_address(page), 0, PAGE_SIZE << order);
    return page;
}

struct page *page_allocate(void) {
    return allocate(0);
}

void page_get(struct page *page) {
    __atomic_add_fetch(&page->references, 1, __ATOMIC_RELAXED);
}

void page_put(struct page *page) {
    ASSERT(page->references > 0);
    if (__atomic_sub_fetch(&page->references, 1, __ATOMIC_ACQ_REL))
        return;
    u64 flags = spin_lock(&pages_lock);
    free_block(page, page->order);
    spin_unlock(&pages_lock, flags);
}

static unsigned order_of(size_t count) {
    unsigned order = 0;

    while ((1UL << order) < count)
        order++;
    return order;
}

void *pages_allocate(size_t count) {
    unsigned order = order_of(count);

    if (order >= ORDERS)
        return NULL;
    struct page *page = allocate(order);
    return page ? page_address(page) : NULL;
}

void pages_free(void *address, size_t count) {
    struct page *page = page_of(address);

    ASSERT(page->order == order_of(count));
    page_put(page);
}

void *page_address(struct page *page) {
    return PHYSICAL_TO_VIRTUAL(frame_of(page) << PAGE_SHIFT);
}

u64 page_physical(struct page *page) {
    return frame_of(page) << PAGE_SHIFT;
}

struct page *page_of(const void *linear_address) {
    u64 frame = VIRTUAL_TO_PHYSICAL(linear_address) >> PAGE_SHIFT;

    ASSERT(frame < frame_count);
    return &frames[frame];
}

static void add_block(u64 first, unsigned order) {
    total_pages += 1UL << order;
    free_block(&frames[first], order);
}

// What a block could merge with later may be no RAM, and then nobody else says that it is not free.
static void describe_buddies(u64 first, unsigned order) {
    for (; order < ORDERS - 1; order++) {
        u64 buddy = ALIGN_DOWN(first, 1UL << order) ^ 1UL << order;
        if (buddy < frame_count)
            frames[buddy] = (struct page){0};
    }
}

// Cuts a run of frames into the largest aligned blocks that fit.
static void cut_range(u64 first, u64 end, void (*use)(u64 first, unsigned order)) {
    while (first < end) {
        unsigned order = 0;
        while (order < ORDERS - 1 && !(first & (1UL << order)) && first + (2UL << order) <= end)
            order++;
        use(first, order);
        first += 1UL << order;
    }
}

static void cut_ram(void (*use)(u64 first, unsigned order)) {
    for (size_t i = 0; i < boot_memory_count; i++) {
        const struct boot_range *r = &boot_memory[i];
        u64 start = boot_memory_free_start(r);
        // What lies below the kernel in its own range is free as well.
        if (r->usable && start > r->start && r->start < KERNEL_PHYSICAL)
            cut_range(r->start >> PAGE_SHIFT, KERNEL_PHYSICAL >> PAGE_SHIFT, use);
        if (r->usable && start < r->end)
            cut_range(start >> PAGE_SHIFT, r->end >> PAGE_SHIFT, use);
    }
}

static u64 archive_start(void) {
    return boot_archive.start >> PAGE_SHIFT;
}
static u64 archive_end(void) {
    return ALIGN_UP(boot_archive.end, PAGE_SIZE) >> PAGE_SHIFT;
}

void pages_take_archive(void) {
    u64 flags = spin_lock(&pages_lock);
    cut_range(archive_start(), archive_end(), add_block);
    boot_archive = (struct boot_range){0};
    spin_unlock(&pages_lock, flags);
}

// The kernel's own frames are counted when they are shown to applications (share.c).
static void describe_kernel(void) {
    for (size_t i = 0; i < boot_memory_count; i++) {
        u64 end = boot_memory_free_start(&boot_memory[i]);
        if (end > boot_memory[i].start)
            memset(&frames[KERNEL_PHYSICAL >> PAGE_SHIFT], 0,
                   ((end - KERNEL_PHYSICAL) >> PAGE_SHIFT) * sizeof(*frames));
    }
}

void pages_init(void) {
    for (size_t i = 0; i < ORDERS; i++)
        list_init(&free_blocks[i]);
    for (size_t i = 0; i < boot_memory_count; i++) {
        if (boot_memory[i].usable)
            frame_count = MAX(frame_count, boot_memory[i].end >> PAGE_SHIFT);
    }
    frame_count = MAX(frame_count, archive_end());
    frames = PHYSICAL_TO_VIRTUAL(boot_memory_take(frame_count * sizeof(struct page)));
    describe_kernel();
    cut_ram(describe_buddies);
    cut_range(archive_start(), archive_end(), describe_buddies);
    cut_ram(add_block);
    paging_use_allocator();
}

u64 pages_total(void) {
    return total_pages;
}

u64 pages_free_count(void) {
    return free_pages;
}
