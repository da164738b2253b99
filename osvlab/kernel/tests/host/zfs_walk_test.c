// Reads every block that a pool's newest uberblock leads to, with the lower half of the module only,
// and tells how many there are and how many bytes, to be compared with what others count.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "label.h"
#include "zfs_shim.h"

static struct zfs_pool *pool;
static struct seen {
    uint64_t offset, logical, physical, allocated;
} *seen;
static size_t seen_count, bad;

int space_allocate(struct zfs_pool *p, unsigned copy, uint64_t size, uint64_t *offset) {
    (void)p, (void)copy, (void)size, (void)offset;
    abort();
}
void space_free(struct zfs_pool *p, uint64_t offset, uint64_t size, uint64_t birth) {
    (void)p, (void)offset, (void)size, (void)birth;
    abort();
}
int space_prepare(struct zfs_pool *p, uint64_t offset) {
    (void)p, (void)offset;
    abort();
}
void pool_charge(struct zfs_pool *p, int64_t used, int64_t compressed, int64_t uncompressed) {
    (void)p, (void)used, (void)compressed, (void)uncompressed;
    abort();
}

static void visit_pointer(const struct blkptr *pointer);

static void visit_dnode(const struct dnode *dnode) {
    if (dnode->type == 0)
        return;
    for (int i = 0; i < dnode->pointers && i < 3; i++)
        visit_pointer((const struct blkptr *)((const char *)dnode + 64) + i);
    if (dnode->flags & DNODE_SPILL)
        visit_pointer((const struct blkptr *)((const char *)dnode + 384));
    if (dnode->bonus_type == 16) {
        const char *bonus = (const char *)dnode + 64 + 128 * dnode->pointers;
        visit_pointer((const struct blkptr *)(bonus + 128));
    }
}

static void visit_content(const struct blkptr *pointer, const void *data, size_t size) {
    unsigned type = (unsigned)pointer_bits(pointer, 48, 8);
    if (pointer_bits(pointer, 56, 5) > 0) {
        for (size_t i = 0; i < size / sizeof(*pointer); i++)
            visit_pointer((const struct blkptr *)data + i);
    } else if (type == 10) {
        for (size_t i = 0; i < size / sizeof(struct dnode); i++)
            visit_dnode((const struct dnode *)data + i);
    } else if (type == 11) {
        const struct objset *set = data;
        visit_dnode(&set->meta_dnode);
        if (size >= OBJSET_SIZE) {
            visit_dnode(&set->userused);
            visit_dnode(&set->groupused);
        }
    }
}

static void visit_pointer(const struct blkptr *pointer) {
    if (block_is_hole(pointer))
        return;
    size_t size = pointer_size(pointer);
    void *data = malloc(size);
    if (block_read(pool, pointer, data, size) < 0) {
        bad++;
    } else {
        seen = realloc(seen, (seen_count + 1) * sizeof(*seen));
        seen[seen_count++] = (struct seen){pointer->dva[0].word1, size, pointer_stored(pointer),
                                           block_stored(pointer)};
        visit_content(pointer, data, size);
    }
    free(data);
}

static int by_offset(const void *one, const void *other) {
    const struct seen *a = one, *b = other;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

int main(int argc, char **argv) {
    struct file_disk disk;
    if (argc != 2)
        return 2;
    shim_start(1);
    file_disk_open(&disk, argv[1]);
    pool = pool_make(&disk.disk);
    if (label_read(pool) < 0 || label_candidate(pool, &pool->uberblock) < 0)
        return 1;
    visit_pointer(&pool->uberblock.rootbp);
    qsort(seen, seen_count, sizeof(*seen), by_offset);
    struct seen sum = {0};
    for (size_t i = 0; i < seen_count; i++) {
        if (i > 0 && seen[i].offset == seen[i - 1].offset)
            continue; // a snapshot has it too
        sum.offset++;
        sum.logical += seen[i].logical;
        sum.physical += seen[i].physical;
        sum.allocated += seen[i].allocated;
    }
    printf("pool %s txg %lu blocks %lu logical %lu physical %lu allocated %lu bad %lu\n",
           pool->name, pool->uberblock.txg, sum.offset, sum.logical, sum.physical, sum.allocated,
           bad);
    free(seen);
    pool_unmake(pool);
    file_disk_close(&disk);
    return shim_memory != 0;
}
