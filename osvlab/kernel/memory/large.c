// Large buffers: contiguous for the processor, scattered in RAM, so that they are to be had when no
// long run of free frames is left.
//
// Invariant: ranges lie in a window of their own, in order on one list, each with a page behind it
// that is never mapped. No lock of the address space's areas is taken: a page fault may be what
// needs the buffer. Page tables that the window once had stay.

#include <sys/mman.h>

#include "arch.h"
#include "file.h"
#include "lock.h"
#include "memory.h"
#include "print.h"

#define TABLES 3 // that one page may need
#define WINDOW_BASE (LINEAR_BASE + LINEAR_SIZE)

struct range {
    struct list link;
    u64 start, end; // with the page behind it
};

static struct list ranges = LIST(ranges);
static struct spinlock ranges_lock = SPINLOCK("large memory");

// Gives the range the first gap that is large enough.
static void place(struct range *range, u64 size) {
    u64 flags = spin_lock(&ranges_lock);
    u64 start = WINDOW_BASE;

    struct list *before = &ranges;
    LIST_EACH(&ranges, other, struct range, link) {
        if (other->start - start >= size)
            break;
        start = other->end;
        before = &other->link;
    }
    range->start = start;
    range->end = start + size;
    list_prepend(before, &range->link); // right behind it
    spin_unlock(&ranges_lock, flags);
}

static void give_back(struct range *range) {
    for (u64 a = page_next_mapped(range->start, range->end); a < range->end;
         a = page_next_mapped(a + PAGE_SIZE, range->end))
        page_put(page_of(PHYSICAL_TO_VIRTUAL(page_unmap(a))));
    u64 flags = spin_lock(&ranges_lock);
    list_remove(&range->link);
    spin_unlock(&ranges_lock, flags);
    kfree(range);
}

// A page table may be needed, for which page_map, with interrupts off, cannot wait.
static bool map_page(u64 address) {
    struct page *page = page_allocate();

    if (!page)
        return false;
    if (page_map(address, page_physical(page), PROT_READ | PROT_WRITE) == 0 ||
        (cache_reclaim(TABLES) &&
         page_map(address, page_physical(page), PROT_READ | PROT_WRITE) == 0))
        return true;
    page_put(page);
    return false;
}

void *memory_map(size_t size) {
    struct range *range = size > 1UL << 40 ? NULL : kzalloc(sizeof(*range));

    if (!range)
        return NULL;
    size = ALIGN_UP(MAX(size, 1UL), PAGE_SIZE);
    place(range, size + PAGE_SIZE);
    for (u64 a = range->start; a < range->end - PAGE_SIZE; a += PAGE_SIZE) {
        if (!map_page(a)) {
            give_back(range);
            return NULL;
        }
    }
    return (void *)range->start;
}

void memory_unmap(void *memory) {
    u64 flags = spin_lock(&ranges_lock);
    struct range *found = NULL;

    LIST_EACH(&ranges, range, struct range, link)
    if (range->start == (u64)memory)
        found = range;
    spin_unlock(&ranges_lock, flags);
    if (memory) {
        ASSERT(found);
        give_back(found);
    }
}
