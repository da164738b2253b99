// The page cache: clean pages may be dropped, dirty ones are kept until their owner takes them.

#include "files_shim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char one, two; // owners

static void insert(const void *owner, u64 inode, u64 index) {
    struct page *page = page_allocate();
    assert(page != NULL);
    *(u64 *)page_address(page) = inode << 32 | index;
    page_put(cache_insert(owner, inode, index, page));
}

static bool has(const void *owner, u64 inode, u64 index) {
    struct page *page = cache_find(owner, inode, index);
    if (page == NULL)
        return false;
    assert(*(u64 *)page_address(page) == (inode << 32 | index));
    page_put(page);
    return true;
}

static void test_dirty_pages_stay(void) {
    for (u64 i = 0; i < 100; i++)
        insert(&one, 7, i);
    for (u64 i = 0; i < 100; i += 3) {
        assert(cache_dirty(&one, 7, i) == CACHE_IS_DIRTY);
        assert(cache_dirty(&one, 7, i) == CACHE_WAS_DIRTY);
    }
    assert(cache_dirty(&one, 7, 100) == CACHE_ABSENT && cache_dirty(&two, 7, 0) == CACHE_ABSENT);
    assert(cache_dirty_pages() == 34 && cache_pages() == 66);
    assert(cache_reclaim(1000) == 66 && cache_pages() == 0);
    for (u64 i = 0; i < 100; i++)
        assert(has(&one, 7, i) == (i % 3 == 0));
    cache_forget(&one);
    assert(cache_dirty_pages() == 0 && !has(&one, 7, 0));
}

// Runs never cross a group, nor a page that is clean or not there.
static void test_runs(void) {
    struct page *pages[8];
    u64 first;
    for (u64 i = 0; i < 30; i++)
        insert(&one, 1, i);
    insert(&one, 2, 5);
    for (u64 i = 3; i < 19; i++)
        if (i != 13)
            cache_dirty(&one, 1, i);
    cache_dirty(&one, 2, 5);
    static const u64 expected[][2] = {{3, 5}, {8, 5}, {14, 2}, {16, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        size_t count = cache_take_dirty(&one, 1, 8, &first, pages);
        assert(first == expected[i][0] && count == expected[i][1]);
        for (size_t k = 0; k < count; k++) {
            assert(*(u64 *)page_address(pages[k]) == (1UL << 32 | (first + k)));
            page_put(pages[k]);
        }
    }
    assert(cache_take_dirty(&one, 1, 8, &first, pages) == 0 && cache_dirty_pages() == 1);
    assert(cache_dirty(&one, 1, 4) == CACHE_IS_DIRTY); // again, after it was written
    assert(cache_cut(&one, 1, 4, 20) == 1 && !has(&one, 1, 4) && has(&one, 1, 20));
    assert(cache_cut(&one, 1, 0, UINT64_MAX) == 0 && !has(&one, 1, 20) && has(&one, 2, 5));
    assert(cache_cut(&one, 2, 0, 6) == 1 && cache_dirty_pages() == 0);
}

// By chance, against a table of what should be there.
static void test_by_chance(void) {
    enum { INODES = 3, PAGES = 40 };
    enum { ABSENT, CLEAN, DIRTY } state[INODES][PAGES] = {0};
    struct page *pages[16];
    u64 first;
    srand(3);
    for (int round = 0; round < 200000; round++) {
        unsigned inode = (unsigned)rand() % INODES, index = (unsigned)rand() % PAGES;
        switch (rand() % 12) {
        case 0: {
            size_t count = cache_take_dirty(&two, inode, 16, &first, pages);
            for (size_t i = 0; i < count; i++) {
                assert(state[inode][first + i] == DIRTY && first / 16 == (first + i) / 16);
                state[inode][first + i] = CLEAN;
                page_put(pages[i]);
            }
            for (unsigned i = 0; i < PAGES && count == 0; i++)
                assert(state[inode][i] != DIRTY);
            break;
        }
        case 1: {
            size_t lost = 0;
            for (unsigned i = index; i < PAGES; i++) {
                lost += state[inode][i] == DIRTY;
                state[inode][i] = ABSENT;
            }
            assert(cache_cut(&two, inode, index, rand() % 2 ? PAGES : UINT64_MAX) == lost);
            break;
        }
        case 2:
            if (rand() % 20 == 0) {
                cache_reclaim(1000);
                for (unsigned i = 0; i < INODES * PAGES; i++)
                    if (state[i / PAGES][i % PAGES] == CLEAN)
                        state[i / PAGES][i % PAGES] = ABSENT;
            }
            break;
        case 3:
        case 4:
        case 5:
            if (cache_dirty(&two, inode, index) != CACHE_ABSENT)
                state[inode][index] = DIRTY;
            else
                assert(state[inode][index] == ABSENT);
            break;
        default:
            assert(has(&two, inode, index) == (state[inode][index] != ABSENT));
            if (state[inode][index] == ABSENT) {
                insert(&two, inode, index);
                state[inode][index] = CLEAN;
            }
        }
    }
    cache_forget(&two);
    assert(cache_dirty_pages() == 0 && cache_pages() == 0);
}

int main(void) {
    shim_start(4096);
    test_dirty_pages_stay();
    test_runs();
    size_t before = shim_pages_used();
    test_by_chance();
    assert(shim_pages_used() == before);
    puts("ok");
    return 0;
}
