// malloc and its family: see heap.h for what lies below.
//
// Invariant: a free block, wherever it waits, carries the key, and one in use does not (but for
// chance, 1 in 2^64): so a block that is freed twice is found out, at the cost of a comparison.

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap.h"

enum { FRESH, READY, GONE }; // a thread's cache: not needed yet, in use, given back

#define MOVE_STEP (1UL << 20)

static volatile int lock[1];
static pthread_key_t ends; // its destructor gives a thread's cache back
static pthread_once_t ends_once = PTHREAD_ONCE_INIT;
static bool ends_works;

void heap_lock(void) {
    __lock(lock);
}

void heap_unlock(void) {
    __unlock(lock);
}

void heap_broken(const char *what) {
    (void)!write(2, what, strlen(what));
    abort();
}

static inline u64 free_key(void) {
    return musl_self()->canary ^ 0x9e3779b97f4a7c15; // the canary is 0 at first
}

static u8 most_kept(unsigned index) {
    return index < 8 ? 32 : index < 16 ? 16 : 8; // 83 KiB for all sizes together
}

static void give_back(void *argument) {
    struct thread_cache *cache = argument;
    heap_lock();
    for (unsigned i = 0; i < CACHED_SIZES; i++)
        slab_give(cache->first[i]);
    heap_unlock();
    memset(cache, 0, sizeof(*cache));
    cache->state = GONE;
}

static void make_key(void) {
    ends_works = pthread_key_create(&ends, give_back) == 0;
}

// The first thread ends with the process, so nothing need be given back then.
static bool will_be_given_back(struct thread_cache *cache) {
    if (!__libc.threaded)
        return true;
    pthread_once(&ends_once, make_key);
    return ends_works && pthread_setspecific(ends, cache) == 0;
}

static bool ready(struct thread_cache *cache) {
    if (cache->state == FRESH) {
        cache->state = will_be_given_back(cache) ? READY : GONE;
        for (unsigned i = 0; i < CACHED_SIZES && cache->state == READY; i++)
            cache->room[i] = most_kept(i);
    }
    return cache->state == READY;
}

static void *take_large(size_t size, size_t alignment) {
    size_t lead = MIN(MAX(sizeof(struct region), alignment), REGION_SIZE);
    struct region *region = NULL;
    heap_lock();
    if (size <= PTRDIFF_MAX - lead)
        region = region_create(lead + size, lead, alignment);
    heap_unlock();
    if (!region) {
        errno = ENOMEM;
        return NULL;
    }
    region->fresh = (u32)lead;
    return (char *)region + lead;
}

// A block that the thread keeps, or NULL.
static inline void *pop(unsigned index) {
    struct thread_cache *cache = thread_cache();
    struct block *block = cache->first[index];
    if (block) {
        cache->first[index] = block->next;
        cache->room[index]++;
        block->key = 0;
    }
    return block;
}

static inline void push(struct thread_cache *cache, unsigned index, struct block *block) {
    block->next = cache->first[index];
    cache->first[index] = block;
    cache->room[index]--;
}

// A block from a slab, and while the lock is held a few more for the thread, which has none.
static void *take_small(unsigned index) {
    struct thread_cache *cache = thread_cache();
    unsigned taken, count = index < CACHED_SIZES && ready(cache) ? most_kept(index) / 2 : 1;
    heap_lock();
    struct block *block = slab_take(index, count, &taken);
    heap_unlock();
    if (!block) {
        errno = ENOMEM;
        return NULL;
    }
    if (taken > 1) {
        cache->first[index] = block->next;
        cache->room[index] -= taken - 1;
    }
    block->key = 0;
    return block;
}

static __attribute__((noinline)) void *malloc_slowly(size_t size) {
    return size <= SMALL_MAX ? take_small(size_index(size)) : take_large(size, 1);
}

EXPORT void *malloc(size_t size) {
    void *block = size <= CACHED_MAX ? pop(size_index(size)) : NULL;
    return block ? block : malloc_slowly(size);
}

// The region of a block in use; a program that names another address ends here.
static struct region *region_checked(void *address, const char *invalid) {
    struct region *region = region_of(address);
    unsigned index = region->tag - TAG;
    u64 place = (u64)address - (u64)region;
    if (index > LARGE || (index == LARGE ? place != region->fresh : place % region->size))
        heap_broken(invalid);
    if (index != LARGE && ((struct block *)address)->key == free_key())
        heap_broken("free(): double free detected\n");
    return region;
}

// Makes room for as much again as the thread goes on keeping. Returns the others.
static struct block *surplus(struct thread_cache *cache, unsigned index) {
    unsigned kept = most_kept(index) / 2;
    struct block *last = cache->first[index];
    for (unsigned i = 1; i < kept; i++)
        last = last->next;
    struct block *others = last->next;
    last->next = NULL;
    cache->room[index] = kept;
    return others;
}

static __attribute__((noinline)) void free_slowly(void *address) {
    struct region *region = region_checked(address, "free(): invalid pointer\n");
    struct thread_cache *cache = thread_cache();
    struct block *block = address, *back = block;
    unsigned index = region->tag - TAG;
    if (index != LARGE) {
        block->key = free_key();
        block->next = NULL;
    }
    if (index < CACHED_SIZES && ready(cache)) {
        back = cache->room[index] ? NULL : surplus(cache, index);
        push(cache, index, block);
    }
    heap_lock();
    if (index == LARGE)
        region_release(region);
    else
        slab_give(back);
    heap_unlock();
}

EXPORT void free(void *address) {
    if (!address)
        return;
    struct region *region = region_of(address);
    struct block *block = address;
    struct thread_cache *cache = thread_cache();
    unsigned index = region->tag - TAG;
    if (index < CACHED_SIZES && slab_holds(region, block) && cache->room[index] &&
        block->key != free_key()) {
        block->key = free_key();
        push(cache, index, block);
    } else {
        free_slowly(address);
    }
}

static size_t usable(const struct region *region, const void *address) {
    if (region->tag == TAG + LARGE)
        return region->mapped - ((u64)address - (u64)region);
    return region->size;
}

EXPORT size_t malloc_usable_size(void *address) {
    return address ? usable(region_of(address), address) : 0;
}

// Copies, and returns large parts to the kernel when they are copied: the old and the new block
// together may be more than there is.
static void move(char *to, char *from, size_t size, bool pages) {
    for (size_t at = 0, step; at < size; at += step) {
        step = MIN(size - at, MOVE_STEP - ((u64)(from + at) & (MOVE_STEP - 1)));
        memcpy(to + at, from + at, step);
        if (pages && step == MOVE_STEP)
            madvise(from + at, step, MADV_DONTNEED);
    }
}

// The names for those who must not get a program's own malloc (musl.h).
HIDDEN void *__libc_malloc(size_t size) __attribute__((alias("malloc")));
HIDDEN void *__libc_realloc(void *address, size_t size) __attribute__((alias("realloc")));
HIDDEN void __libc_free(void *address) __attribute__((alias("free")));

EXPORT void *realloc(void *address, size_t size) {
    if (!address)
        return __libc_malloc(size);
    struct region *region = region_checked(address, "realloc(): invalid pointer\n");
    bool is_large = region->tag == TAG + LARGE;
    size_t had = usable(region, address), lead = (u64)address - (u64)region;
    if (is_large && size > SMALL_MAX) {
        if (size <= PTRDIFF_MAX - lead && region_resize(region, lead + size))
            return address;
    } else if (size <= had && 2 * size + 32 > had) {
        return address;
    }
    void *other = __libc_malloc(size);
    if (!other)
        return size <= had ? address : NULL;
    move(other, address, MIN(had, size), is_large);
    __libc_free(address);
    return other;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    if (!alignment || (alignment & (alignment - 1))) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment > PTRDIFF_MAX / 2 || (__malloc_replaced && !__aligned_alloc_replaced)) {
        errno = ENOMEM;
        return NULL;
    }
    if (size > SMALL_MAX || alignment > SMALL_MAX)
        return take_large(size, alignment);
    // Blocks lie at multiples of their size.
    unsigned index = size_index(size);
    while (size_at(index) & (alignment - 1))
        index++;
    void *block = index < CACHED_SIZES ? pop(index) : NULL;
    return block ? block : take_small(index);
}

// musl's calloc asks whether the memory is zero anyway.
HIDDEN int __malloc_allzerop(void *address);
int __malloc_allzerop(void *address) {
    return region_of(address)->zero;
}
