// Regions of memory from mmap, and where they lie: see heap.h.

#include <errno.h>
#include <sys/mman.h>

#include "heap.h"

#define KEPT_SIZE (256UL << 10)

static u64 next_place;         // probably free, and a multiple of REGION_SIZE
static struct region *kept[4]; // released, but no larger than KEPT_SIZE: for the next who asks
static unsigned oldest_kept;

static void *map(u64 place, size_t size) {
    void *address =
        mmap((void *)place, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

// Maps too much, and gives back what lies before and behind.
static u64 map_aligned(size_t size, size_t lead, size_t alignment) {
    size_t whole = size + alignment;
    u64 start = whole < size ? 0 : (u64)map(0, whole);
    if (!start)
        return 0;
    u64 place = ALIGN_UP(start + lead, alignment) - lead;
    if (place != start)
        munmap((void *)start, place - start);
    munmap((void *)(place + size), start + whole - (place + size));
    return place;
}

static struct region *take_kept(size_t size) {
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
        if (kept[i] && kept[i]->mapped >= size && kept[i]->mapped <= 2 * size) {
            struct region *region = kept[i];
            kept[i] = NULL;
            return region;
        }
    return NULL;
}

static struct region *set_header(struct region *region, size_t mapped, bool zero) {
    *region = (struct region){.tag = TAG + LARGE, .mapped = mapped, .zero = zero};
    return region;
}

static u64 map_next(size_t size) {
    u64 place = next_place ? (u64)map(next_place, size) : 0;
    if (place & (REGION_SIZE - 1)) { // somebody else is there
        munmap((void *)place, size);
        place = 0;
    }
    return place ? place : map_aligned(size, 0, REGION_SIZE);
}

// The address `lead` bytes into it is a multiple of `alignment`, as is `lead` up to REGION_SIZE.
struct region *region_create(size_t size, size_t lead, size_t alignment) {
    if (size > PTRDIFF_MAX - PAGE_SIZE)
        return NULL;
    size = ALIGN_UP(size, PAGE_SIZE);
    bool ordinary = alignment <= REGION_SIZE;
    struct region *again = ordinary ? take_kept(size) : NULL;
    if (again)
        return set_header(again, again->mapped, false);
    u64 place = ordinary ? map_next(size) : map_aligned(size, lead, alignment);
    if (!place)
        return NULL;
    next_place = ALIGN_UP(place + size, REGION_SIZE);
    return set_header((struct region *)place, size, true);
}

void region_release(struct region *region) {
    int saved = errno; // free() leaves it alone
    region->tag = 0;
    if (region->mapped <= KEPT_SIZE) {
        struct region *old = kept[oldest_kept];
        kept[oldest_kept] = region;
        oldest_kept = (oldest_kept + 1) % ARRAY_SIZE(kept);
        region = old;
    }
    if (region)
        munmap(region, region->mapped);
    errno = saved;
}

bool region_resize(struct region *region, size_t size) {
    int saved = errno;
    size = ALIGN_UP(size, PAGE_SIZE);
    if (size != region->mapped && mremap(region, region->mapped, size, 0) == MAP_FAILED) {
        errno = saved;
        return false;
    }
    region->mapped = size;
    return true;
}
