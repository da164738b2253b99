// Small objects for the kernel: slabs (Bonwick 1994), one size class per page.
//
// Invariant: a slab is one page: a header, then equal objects. The header counts the objects in
// use and links the free ones through their first word. A slab with free objects is on its
// class's list; one whose last object is freed goes back to the page allocator. Objects larger
// than the largest class are whole pages with a header in front.

#include <string.h>

#include "boot_memory.h"
#include "file.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "scheduler.h"

#define SLAB_MAGIC 0x51ab
#define LARGE_MAGIC 0x1a46e

struct slab {
    u32 magic;
    u16 class, used;
    void *free;
    struct list link;
    size_t pages; // of a large object
    u64 padding[3];
};
_Static_assert(sizeof(struct slab) == 64, "objects stay 16-byte aligned");

static const u16 class_sizes[] = {16,  32,  48,  64,  96,   128,  192,
                                  256, 336, 496, 672, 1008, 1344, 2016};
static struct list partial[ARRAY_SIZE(class_sizes)];
static struct spinlock heap_lock = SPINLOCK("heap");
static u64 heap_bytes;

void heap_init(void) {
    for (size_t i = 0; i < ARRAY_SIZE(class_sizes); i++)
        list_init(&partial[i]);
}

static struct slab *new_slab(unsigned class) {
    struct page *page = page_allocate();
    if (!page)
        return NULL;
    struct slab *slab = page_address(page);
    size_t size = class_sizes[class];

    *slab = (struct slab){.magic = SLAB_MAGIC, .class = class};
    list_init(&slab->link);
    for (char *object = (char *)(slab + 1); object + size <= (char *)slab + PAGE_SIZE;
         object += size) {
        *(void **)object = slab->free;
        slab->free = object;
    }
    return slab;
}

static void *large_object(size_t size) {
    size_t pages = (size + sizeof(struct slab) + PAGE_SIZE - 1) >> PAGE_SHIFT;
    struct slab *header = pages_allocate(pages);

    if (!header)
        return NULL;
    *header = (struct slab){.magic = LARGE_MAGIC, .pages = pages};
    __atomic_add_fetch(&heap_bytes, pages * PAGE_SIZE, __ATOMIC_RELAXED);
    return header + 1;
}

void *kzalloc(size_t size) {
    unsigned class = 0;

    while (class < ARRAY_SIZE(class_sizes) && class_sizes[class] < size)
        class++;
    if (class == ARRAY_SIZE(class_sizes))
        return large_object(size);

    u64 flags = spin_lock(&heap_lock);
    struct slab *slab = LIST_FIRST(&partial[class], struct slab, link);
    if (!slab) {
        spin_unlock(&heap_lock, flags);
        slab = new_slab(class);
        if (!slab)
            return NULL;
        flags = spin_lock(&heap_lock);
        list_append(&partial[class], &slab->link);
    }
    void *object = slab->free;
    slab->free = *(void **)object;
    slab->used++;
    if (!slab->free)
        list_remove(&slab->link);
    heap_bytes += class_sizes[class];
    spin_unlock(&heap_lock, flags);
    memset(object, 0, class_sizes[class]);
    return object;
}

// Large objects start right behind a header at a page boundary, and so do the first objects of
// slabs: in both cases the header is at the start of the object's page.
static struct slab *header_of(void *object) {
    struct slab *slab = (struct slab *)ALIGN_DOWN((u64)object, PAGE_SIZE);

    ASSERT(slab->magic == SLAB_MAGIC || slab->magic == LARGE_MAGIC);
    return slab;
}

void kfree(void *object) {
    if (!object)
        return;
    struct slab *slab = header_of(object);
    if (slab->magic == LARGE_MAGIC) {
        __atomic_sub_fetch(&heap_bytes, slab->pages * PAGE_SIZE, __ATOMIC_RELAXED);
        slab->magic = 0;
        pages_free(slab, slab->pages);
        return;
    }
    u64 flags = spin_lock(&heap_lock);
    if (!slab->free)
        list_append(&partial[slab->class], &slab->link);
    *(void **)object = slab->free;
    slab->free = object;
    heap_bytes -= class_sizes[slab->class];
    bool empty = --slab->used == 0;
    if (empty) {
        list_remove(&slab->link);
        slab->magic = 0;
    }
    spin_unlock(&heap_lock, flags);
    if (empty)
        page_put(page_of(slab));
}

static size_t object_size(void *object) {
    struct slab *slab = header_of(object);

    return slab->magic == SLAB_MAGIC ? class_sizes[slab->class]
                                     : slab->pages * PAGE_SIZE - sizeof(*slab);
}

void *krealloc(void *object, size_t size) {
    if (!object)
        return kzalloc(size);
    size_t old = object_size(object);
    if (size <= old)
        return object;
    void *larger = kzalloc(size);
    if (!larger)
        return NULL;
    memcpy(larger, object, old);
    kfree(object);
    return larger;
}

char *kstrdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = kzalloc(size);

    return copy ? memcpy(copy, text, size) : NULL;
}

void memory_statistics(struct memory_statistics *out) {
    *out = (struct memory_statistics){
        .total = pages_total() * PAGE_SIZE,
        .free = pages_free_count() * PAGE_SIZE + stacks_cached_bytes(),
        .heap = heap_bytes,
        .cache = cache_pages() * PAGE_SIZE,
    };
}
