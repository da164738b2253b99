// Intent logs: what programs were told is durable before its transaction group was completed. They
// are not played here, and not written; this finds out whether one would have to be played first.
//
// A block of a log has the pointer to the next one and a checksum in which its place in the log
// counts. The next block is allocated before it is written, so a log ends with a block whose
// checksum is wrong, and an empty one begins with it.
//
// Specified in: "ZFS On-Disk Specification", chapter 7; OpenZFS, sys/zil.h and zio_checksum.c.

#include "blocks.h"
#include "dataset.h"

#define UNIT 4096 // in which blocks are summed that begin with their checksum

static bool block_right(uint8_t *data, const struct blkptr *pointer) {
    size_t size = pointer_stored(pointer);
    bool at_start = pointer_bits(pointer, 40, 8) == CHECKSUM_ZILOG2;
    struct zil_chain *chain = (void *)(at_start ? data : data + size - sizeof(*chain));
    uint64_t stored[4], sum[4];
    if (chain->eck.magic != ECK_MAGIC || chain->used > size)
        return false;
    uint64_t used = (chain->used + UNIT - 1) & ~(uint64_t)(UNIT - 1);
    memcpy(stored, chain->eck.checksum, sizeof(stored));
    memcpy(chain->eck.checksum, pointer->checksum, sizeof(stored));
    if (at_start)
        checksum_fletcher4(data, used < size ? used : size, sum);
    else
        checksum_fletcher2(data, size, sum);
    return checksum_equal(stored, sum);
}

// What cannot be read may be anything.
static bool has_block(struct zfs_pool *pool, const struct blkptr *pointer) {
    uint8_t *data = pool->memory->in;
    size_t size = pointer_stored(pointer);
    if (size > sizeof(pool->memory->in) || !pointer_bits(pointer, 63, 1))
        return true;
    for (int i = 0; i < 3; i++) {
        const struct dva *dva = &pointer->dva[i];
        if (dva_empty(dva))
            continue;
        if (dva_is_gang(dva) || dva_check(pool, dva, size) < 0 ||
            gather_read(pool, dva_offset(dva), data, size) < 0 || block_right(data, pointer))
            return true;
    }
    return false;
}

// Whoever exports a pool has played its logs, unless they only claimed the blocks of one.
bool zil_needs_play(struct zfs_pool *pool, const struct zil_header *log) {
    return !block_is_hole(&log->log) && (!pool->was_exported || log->claim_txg != 0) &&
           has_block(pool, &log->log);
}

void zil_drop(struct zfs_pool *pool, struct zil_header *log) {
    if (pointer_birth(&log->log) > pool->opened)
        memset(&log->log, 0, sizeof(log->log));
}

// --- All logs of a pool

static bool dataset_needs_play(struct zfs_pool *pool, const struct dsl_dataset *dataset) {
    uint64_t size = block_size(&dataset->pointer);
    const struct objset *header = (void *)pool->memory->out;       // nothing is on its way out yet
    if (dataset->children > 0 || block_is_hole(&dataset->pointer)) // a snapshot, or empty
        return false;
    if (size < OBJSET_SIZE_OLD || size > sizeof(pool->memory->out) ||
        block_read(pool, &dataset->pointer, pool->memory->out, size) < 0)
        return true;
    return zil_needs_play(pool, &header->zil);
}

static bool block_needs_play(struct zfs_pool *pool, uint64_t block) {
    uint64_t many = object_block_size(&pool->mos->meta) >> DNODE_SHIFT;
    bool needed = false;
    for (uint64_t number = block * many; number < (block + 1) * many && !needed; number++) {
        struct object *object;
        if (object_hold(pool->mos, number, &object) < 0)
            continue; // nobody else can read it either
        if (object->dnode.bonus_type == TYPE_DSL_DATASET &&
            object->dnode.bonus_length >= sizeof(struct dsl_dataset))
            needed = dataset_needs_play(pool, dsl_dataset(object));
        object_put(object);
    }
    return needed;
}

// Some blocks of a log may not be in the space maps yet: writing to any dataset could take them.
bool zil_any_needs_play(struct zfs_pool *pool) {
    uint64_t block = 0;
    int error;
    while ((error = tree_next(&pool->mos->meta, &block, false)) == 0)
        if (block_needs_play(pool, block++))
            return true;
    return error != -ENXIO; // what cannot be read may be anything
}
