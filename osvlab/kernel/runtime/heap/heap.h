// The heap behind malloc: three layers, from the quickest to the one that asks the kernel.
//
// malloc.c  what programs call. Every thread keeps a few free blocks of each small size, so that
//           most calls touch nothing that is shared (the idea is tcmalloc's thread cache).
// slab.c    blocks up to SMALL_MAX: a slab is cut into blocks of one size (Bonwick, "The slab
//           allocator", 1994). A lock guards it.
// region.c  regions of memory from mmap: a slab, or one large block, each.
//
// Invariant: a region begins at a multiple of REGION_SIZE and its blocks begin in the REGION_SIZE
// bytes after that address, so a block's address says where its region's header is.
#pragma once

#include "base.h"

#include "../musl.h"

#define REGION_SIZE (64UL << 10)
#define SMALL_MAX (REGION_SIZE / 4)
#define CACHED_MAX 1024UL

// Sizes of blocks: 16, 32 ... 128, then four to each doubling.
#define SIZES 36
#define CACHED_SIZES 20
#define LARGE SIZES
#define TAG 0x7a3c5e00U // in a header, so that free() believes no other address

struct region {
    u32 tag;     // TAG + index of the blocks' size, or + LARGE
    u32 inverse; // of that size: slab_holds
    u32 size;
    u32 used;                    // blocks that are not free, or in a thread's cache
    u32 fresh;                   // where the blocks begin that were never used; the large one
    struct block *free;          // others that are free
    struct region *next, **link; // among the slabs of its size that have room; link NULL: not there
    size_t mapped;               // bytes, from the header on
    bool zero;                   // nobody has written to it yet
} __attribute__((aligned(64)));

// What a free block holds. The key is what free() knows it by.
struct block {
    struct block *next;
    u64 key;
};

// Blocks kept by a thread, first[size] and so on. `room` is how many more it may keep: 0 until the
// thread first needs it and again when it ends.
struct thread_cache {
    struct block *first[CACHED_SIZES];
    u8 room[CACHED_SIZES];
    u8 state;
};

static inline struct thread_cache *thread_cache(void) {
    return (struct thread_cache *)((char *)musl_self() + CONTROL_BLOCK_MAX);
}

// A block that is aligned to REGION_SIZE or more lies just behind the region's first part.
static inline struct region *region_of(const void *block) {
    return (struct region *)(((u64)block - 1) & ~(REGION_SIZE - 1));
}

static inline unsigned size_index(size_t size) {
    if (size <= 128)
        return (unsigned)(size + 15) / 16 - (size != 0);
    unsigned top = 63 - (unsigned)__builtin_clzl(size - 1);
    return 8 + (top - 7) * 4 + (unsigned)((size - 1) >> (top - 2) & 3);
}

static inline size_t size_at(unsigned index) {
    return index < 8 ? (index + 1) * 16UL : (5 + index % 4UL) << (3 + index / 4);
}

// Block k of a slab is k times its size into it; those that the header covers do not exist. Is it
// a multiple? Lemire, Kaser, Kurz, "Faster remainder by direct computation" (2019), section 3.2.
static inline bool slab_holds(const struct region *slab, const void *block) {
    return (u32)((u64)block - (u64)slab) * slab->inverse < slab->inverse;
}

void heap_lock(void);
void heap_unlock(void);
_Noreturn void heap_broken(const char *what);

// slab.c: blocks in and out, as lists. The lock must be held.
struct block *slab_take(unsigned index, unsigned count, unsigned *taken); // NULL: no memory
void slab_give(struct block *list);

// region.c. The lock must be held. NULL: no memory.
struct region *region_create(size_t size, size_t lead, size_t alignment);
void region_release(struct region *region);
bool region_resize(struct region *region, size_t size); // where it is
