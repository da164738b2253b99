// The page allocator, the heap and the tree of areas, as a host program under the sanitizers.
//
// "RAM" is a mapping at LINEAR_BASE, so that the kernel's address arithmetic holds unchanged.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "area_tree.h"
#include "arch.h"
#include "boot_memory.h"
#include "file.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "scheduler.h"

#define RAM_SIZE (64UL << 20)

// With a hole, so that some blocks have buddies that are no RAM; and with an archive.
#define ARCHIVE 0x3003456UL
#define ARCHIVE_END 0x3455123UL
struct boot_range boot_memory[BOOT_RANGES] = {
    {0x1000, 0x1ffd000, true},
    {0x2005000, ALIGN_DOWN(ARCHIVE, PAGE_SIZE), true},
    {ALIGN_UP(ARCHIVE_END, PAGE_SIZE), RAM_SIZE, true},
};
size_t boot_memory_count = 3;
struct boot_range boot_archive = {ARCHIVE, ARCHIVE_END, true};
static u64 taken = 0x400000;

u64 boot_memory_take(size_t size) {
    u64 start = taken;
    taken += ALIGN_UP(size, PAGE_SIZE);
    return start;
}
u64 boot_memory_free_start(const struct boot_range *range) {
    return range == boot_memory ? taken : range->start;
}
void paging_use_allocator(void) {}
size_t cache_reclaim(size_t pages) {
    (void)pages;
    return 0;
}
size_t cache_pages(void) {
    return 0;
}
u64 stacks_cached_bytes(void) {
    return 0;
}
bool stacks_reclaim(void) {
    return false;
}
u64 spin_lock(struct spinlock *lock) {
    assert(!lock->held);
    lock->held = 1;
    return 0;
}
void spin_unlock(struct spinlock *lock, u64 flags) {
    (void)flags;
    assert(lock->held);
    lock->held = 0;
}
void panic(const char *format, ...) {
    fprintf(stderr, "panic: %s\n", format);
    abort();
}

static unsigned random_below(unsigned limit) {
    return (unsigned)rand() % limit;
}

// Blocks never overlap, come zeroed, and when all are back so is every page.
static void test_pages(void) {
    enum { SLOTS = 200 };
    struct {
        u8 *start;
        size_t pages;
    } slot[SLOTS] = {0};
    u64 before = pages_free_count();

    for (int round = 0; round < 20000; round++) {
        unsigned i = random_below(SLOTS);
        if (slot[i].start) {
            size_t size = slot[i].pages * PAGE_SIZE;
            assert(slot[i].start[0] == (u8)i && slot[i].start[size - 1] == (u8)i);
            pages_free(slot[i].start, slot[i].pages);
            slot[i].start = NULL;
            continue;
        }
        slot[i].pages = 1 + random_below(40);
        slot[i].start = pages_allocate(slot[i].pages);
        if (!slot[i].start)
            continue;
        size_t size = slot[i].pages * PAGE_SIZE;
        assert(((u64)slot[i].start & (PAGE_SIZE - 1)) == 0);
        for (size_t k = 0; k < size; k += 61)
            assert(slot[i].start[k] == 0);
        memset(slot[i].start, (int)i, size);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slot[i].start)
            pages_free(slot[i].start, slot[i].pages);
    }
    assert(pages_free_count() == before);
    assert(pages_allocate(1UL << 20) == NULL);
}

static void test_out_of_memory(void) {
    u64 before = pages_free_count();
    struct page *first = NULL, *page;

    while ((page = page_allocate()))
        page->link.next = (struct list *)first, first = page;
    assert(pages_free_count() == 0);
    for (page = first; page; page = first) {
        first = (struct page *)page->link.next;
        page_put(page);
    }
    assert(pages_free_count() == before);
}

// The archive's bytes stay until it is taken; then all of its pages are there.
static void test_archive(void) {
    u8 *archive = PHYSICAL_TO_VIRTUAL(ARCHIVE);
    u64 before = pages_free_count(), total = pages_total();

    memset(archive, 0xa5, ARCHIVE_END - ARCHIVE);
    test_pages();
    test_out_of_memory();
    for (size_t i = 0; i < ARCHIVE_END - ARCHIVE; i++)
        assert(archive[i] == 0xa5);
    pages_take_archive();
    u64 pages = (ALIGN_UP(ARCHIVE_END, PAGE_SIZE) - ALIGN_DOWN(ARCHIVE, PAGE_SIZE)) >> PAGE_SHIFT;
    assert(pages_free_count() == before + pages && pages_total() == total + pages);
    pages_take_archive();
    assert(pages_total() == total + pages);
}

static void test_heap(void) {
    enum { SLOTS = 500 };
    struct {
        u8 *object;
        size_t size;
    } slot[SLOTS] = {0};
    u64 before = pages_free_count();

    for (int round = 0; round < 100000; round++) {
        unsigned i = random_below(SLOTS);
        if (slot[i].object && random_below(4) == 0) {
            size_t size = slot[i].size + random_below(3000);
            slot[i].object = krealloc(slot[i].object, size);
            assert(slot[i].object[0] == (u8)i && slot[i].object[slot[i].size - 1] == (u8)i);
            memset(slot[i].object, (int)i, size);
            slot[i].size = size;
        } else if (slot[i].object) {
            for (size_t k = 0; k < slot[i].size; k++)
                assert(slot[i].object[k] == (u8)i);
            kfree(slot[i].object);
            slot[i].object = NULL;
        } else {
            slot[i].size = 1 + random_below(random_below(20) ? 600 : 20000);
            slot[i].object = kzalloc(slot[i].size);
            assert(slot[i].object && ((u64)slot[i].object & 15) == 0);
            for (size_t k = 0; k < slot[i].size; k++)
                assert(slot[i].object[k] == 0);
            memset(slot[i].object, (int)i, slot[i].size);
        }
    }
    for (unsigned i = 0; i < SLOTS; i++)
        kfree(slot[i].object);
    assert(pages_free_count() == before);
    char *copy = kstrdup("text");
    assert(!strcmp(copy, "text"));
    kfree(copy);
}

// The tree against a plain array of which addresses are taken.
static void test_areas(void) {
    enum { PLACES = 300 };
    struct area areas[PLACES] = {0};
    bool present[PLACES] = {0};

    for (int round = 0; round < 50000; round++) {
        unsigned i = random_below(PLACES);
        if (present[i]) {
            area_tree_remove(&areas[i]);
        } else {
            areas[i].start = (i + 1) * 0x10000UL;
            areas[i].end = areas[i].start + 0x1000 * (1 + random_below(16));
            area_tree_insert(&areas[i]);
        }
        present[i] = !present[i];

        u64 address = random_below((PLACES + 2) * 0x10000U);
        struct area *expected = NULL;
        for (unsigned k = 0; k < PLACES && !expected; k++) {
            if (present[k] && areas[k].end > address)
                expected = &areas[k];
        }
        assert(area_tree_after(address) == expected);
    }
}

int main(void) {
    void *ram = mmap((void *)LINEAR_BASE, RAM_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (ram != (void *)LINEAR_BASE) {
        perror("no room at LINEAR_BASE");
        return 1;
    }
    // Where the frames will be described, RAM holds descriptions of free blocks of all orders.
    struct page *old = PHYSICAL_TO_VIRTUAL(taken);
    for (size_t i = 0; i < RAM_SIZE / PAGE_SIZE; i++)
        old[i] = (struct page){.references = 7, .order = __builtin_ctzl(i | 1 << 11), .flags = 1};
    pages_init();
    heap_init();
    test_archive();
    test_pages();
    test_out_of_memory();
    test_heap();
    test_areas();
    puts("ok");
    return 0;
}
