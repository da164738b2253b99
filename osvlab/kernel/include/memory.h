// Memory as the kernel itself uses it: page frames, the linear map, small objects.
//
// Invariant: all of RAM is mapped, writable and not executable, at LINEAR_BASE + physical
// address. Kernel pointers to dynamic memory are linear-map pointers, so the physical address of
// any of them is a subtraction, unless memory_map says otherwise. (Same base as OSv: mmu-defs.hh.)
#pragma once

#include "base.h"
#include "list.h"

#define LINEAR_BASE 0x400000000000UL
#define LINEAR_SIZE 0x100000000000UL

#define PHYSICAL_TO_VIRTUAL(p) ((void *)((u64)(p) + LINEAR_BASE))
#define VIRTUAL_TO_PHYSICAL(v) ((u64)(v) - LINEAR_BASE)

// One page frame. Free frames are on the allocator's lists; others count their users.
struct page {
    struct list link;        // for whoever owns the page (allocator, page cache)
    volatile u32 references; // 0 = free
    u16 order;               // of a free block: it has 2^order frames
    u16 flags;
};

// One zeroed page with one reference, or NULL when there is none left even after reclaiming.
struct page *page_allocate(void);
void page_get(struct page *page);
void page_put(struct page *page); // frees it with the last reference

void *page_address(struct page *page);
u64 page_physical(struct page *page);
struct page *page_of(const void *linear_address);

// Physically contiguous zeroed pages (count is rounded up to a power of two), or NULL.
void *pages_allocate(size_t count);
void pages_free(void *address, size_t count);

// Small objects, any size up to a few hundred KiB; zeroed. NULL when memory is out.
void *kzalloc(size_t size);
void kfree(void *object);
void *krealloc(void *object, size_t size);
char *kstrdup(const char *text);

// Zeroed memory of any size, page aligned: contiguous for the processor, but not in RAM, and not in
// the linear map. NULL when memory is out. May not be called with a spinlock held.
void *memory_map(size_t size);
void memory_unmap(void *memory); // also NULL

struct memory_statistics {
    u64 total; // bytes of RAM the kernel manages
    u64 free;  // bytes in free frames
    u64 heap;  // bytes held by kzalloc
    u64 cache; // bytes of clean file pages that can be dropped at once
};
void memory_statistics(struct memory_statistics *out);

// Memory-mapped device registers, uncached. Never fails for a sane range; lives forever.
void *map_device(u64 physical, size_t size);
