// Space: allocated and freed by chance over many transaction groups on a real pool. Nothing may be
// given out that the last durable group has, nor the two before it unless space ran out. At the end
// everything is freed again, so that another implementation must find the pool as full as it was.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "check.h"
#include "label.h"
#include "metaslab.h"
#include "object.h"
#include "zfs_shim.h"

static struct zfs_pool *pool;
static struct file_disk disk;
static uint8_t
    *durable[3]; // a byte for each unit: taken when the last group ended, the one before, ...
static uint64_t units;

void pool_charge(struct zfs_pool *p, int64_t used, int64_t compressed, int64_t uncompressed) {
    (void)p, (void)used, (void)compressed, (void)uncompressed;
}

static struct taken {
    uint64_t offset, size, birth;
} taken[20000];
static size_t taken_count;

static int protected = 3; // so many of the last groups have all their blocks

// Space ran out, so only the last durable group is protected.
static void note_early_release(uint64_t waited) {
    if (waited > 0 && pool->space->ripe == 0)
        protected = 1;
}

static void take_one(uint64_t size) {
    uint64_t offset, waited = pool->space->ripe;
    if (size > space_available(pool))
        return;
    int status = space_allocate(pool, (unsigned)rand() % 3, size, &offset);
    note_early_release(waited);
    if (status == -ENOSPC)
        return;
    CHECK(status, 0);
    CHECK(offset % (1ul << pool->ashift), 0);
    for (uint64_t i = 0; i < size >> pool->ashift; i++)
        for (int age = 0; age < protected; age++)
            CHECK(durable[age][(offset >> pool->ashift) + i], 0);
    taken[taken_count++] = (struct taken){offset, size, pool->txg};
}

static void free_one(size_t index) {
    struct taken one = taken[index];
    taken[index] = taken[--taken_count];
    space_free(pool, one.offset, one.size, one.birth);
    CHECK(pool->failed, 0);
}

static void remember(void) {
    const struct space *space = pool->space;
    uint8_t *oldest = durable[2];
    durable[2] = durable[1];
    durable[1] = durable[0];
    durable[0] = oldest;
    for (uint64_t i = 0; i < units; i++) {
        const uint64_t *taken = space->metaslabs[i / space->units].taken;
        oldest[i] = taken[i % space->units / 64] >> i % 64 & 1;
    }
}

static void sync_group(void) {
    uint64_t waited = pool->space->ripe;
    pool->pass = 0;
    do {
        CHECK(++pool->pass <= PASSES_MAX, 1);
        CHECK(space_write(pool), 0);
        CHECK(objset_sync(pool->mos), 0);
    } while (space_changed(pool));
    CHECK(uberblock_write(pool), 0);
    note_early_release(waited); // the group's own metadata takes space, too
    protected += protected < 3;
    space_done(pool);
    pool->txg++;
    pool->pass = 0;
    remember();
}

static void load_all(void) {
    struct space *space = pool->space;
    uint64_t used = 0;
    units = space->count * space->units;
    for (int age = 0; age < 3; age++)
        durable[age] = calloc(1, units);
    for (unsigned i = 0; i < space->count; i++) {
        CHECK(metaslab_load(pool, &space->metaslabs[i]), 0);
        used += space->metaslabs[i].used;
        printf("%u %lu\n", i, space->metaslabs[i].used << pool->ashift);
    }
    CHECK(used << pool->ashift, space_used(pool));
    remember();
}

static void open_pool(const char *path) {
    file_disk_open(&disk, path);
    pool = pool_make(&disk.disk);
    CHECK(label_read(pool), 0);
    CHECK(label_candidate(pool, &pool->uberblock), 0);
    pool->root = pool->uberblock.rootbp;
    pool->txg = pool->labels->newest + 1;
    CHECK(objset_open(pool, &pool->root, &pool->mos), 0);
    CHECK(space_open(pool), 0);
    load_all();
}

static void close_pool(void) {
    space_close(pool);
    objset_close(pool->mos);
    cache_close(pool);
    pool_unmake(pool);
    file_disk_close(&disk);
    for (int age = 0; age < 3; age++)
        free(durable[age]);
    CHECK(shim_memory, 0);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    shim_start(1);
    open_pool(argv[1]);
    int groups = argc > 2 ? atoi(argv[2]) : 0;
    srand(argc > 3 ? (unsigned)atoi(argv[3]) : 1);
    for (int group = 0; group < groups; group++) {
        bool grow = rand() % 2;
        for (int i = rand() % 800; i > 0; i--) {
            uint64_t size = (uint64_t)(1 + rand() % (rand() % 4 ? 16 : 256)) << 9;
            size = (size + (1ul << pool->ashift) - 1) >> pool->ashift << pool->ashift;
            if (taken_count < 19999 && rand() % 4 < (grow ? 3 : 1))
                take_one(size);
            else if (taken_count > 0)
                free_one((size_t)rand() % taken_count);
        }
        sync_group();
        if (rand() % 10 == 0) { // and everything is found again
            close_pool();
            open_pool(argv[1]);
            for (size_t i = 0; i < taken_count; i++)
                CHECK(durable[0][taken[i].offset >> pool->ashift], 1);
        }
    }
    while (taken_count > 0)
        free_one(taken_count - 1);
    if (groups > 0)
        sync_group();
    close_pool();
    return 0;
}
