// How much space datasets use: counted block by block, kept in each dataset and in the directories
// above it.
//
// Specified in: OpenZFS, dsl_dir.c (dsl_dir_diduse_space).

#include "dataset.h"

enum { USED_BY_HEAD, USED_BY_SNAPSHOTS, USED_BY_CHILDREN, RESERVED_BY_CHILDREN };

void pool_charge(struct zfs_pool *pool, int64_t used, int64_t compressed, int64_t uncompressed) {
    int64_t *delta = pool->charged != NULL ? pool->charged->delta : pool->mos_delta;
    delta[0] += used;
    delta[1] += compressed;
    delta[2] += uncompressed;
}

// What the directory above sees of a change: what is reserved is used up already.
static int64_t seen_above(const struct dsl_dir *directory, int64_t used) {
    int64_t before = (int64_t)directory->used_bytes, after = before + used;
    int64_t reserved = (int64_t)directory->reserved;
    return (after > reserved ? after : reserved) - (before > reserved ? before : reserved);
}

// The directory and all above it, held.
static int hold_up(struct zfs_pool *pool, uint64_t number, struct object *chain[DSL_DEPTH_MAX]) {
    unsigned depth = 0;
    while (number != 0) {
        int error =
            depth == DSL_DEPTH_MAX ? -EIO : dsl_hold(pool, number, TYPE_DSL_DIR, &chain[depth]);
        if (error < 0) {
            while (depth > 0)
                object_put(chain[--depth]);
            return error;
        }
        number = dsl_dir(chain[depth++])->parent;
    }
    return (int)depth;
}

int dsl_charge(struct zfs_pool *pool, uint64_t directory, const int64_t delta[3]) {
    struct object *chain[DSL_DEPTH_MAX];
    int64_t used = delta[0], reserved = 0;
    int depth = hold_up(pool, directory, chain);
    for (int i = 0; i < depth; i++) {
        struct dsl_dir *dir = object_change_bonus(chain[i]);
        int64_t seen = seen_above(dir, used);
        dir->used_bytes += (uint64_t)used;
        dir->compressed_bytes += (uint64_t)delta[1];
        dir->uncompressed_bytes += (uint64_t)delta[2];
        if (dir->flags & 1) {
            dir->used_by[i == 0 ? USED_BY_HEAD : USED_BY_CHILDREN] += (uint64_t)(used - reserved);
            dir->used_by[RESERVED_BY_CHILDREN] += (uint64_t)reserved;
        }
        reserved = seen - used;
        used = seen;
        object_put(chain[i]);
    }
    return depth < 0 ? depth : 0;
}

// Changes a block of the MOS that was written in this group already, and so comes to an end.
int dsl_charge_mos(struct zfs_pool *pool) {
    uint64_t number;
    if (pool->mos_delta[0] == 0 && pool->mos_delta[1] == 0 && pool->mos_delta[2] == 0)
        return 0;
    int error = dsl_find_mos(pool, &number);
    if (error == 0)
        error = dsl_charge(pool, number, pool->mos_delta);
    if (error == 0)
        memset(pool->mos_delta, 0, sizeof(pool->mos_delta));
    return error;
}

// After its set was written.
int dsl_update(struct zfs_dataset *dataset) {
    const int64_t *delta = dataset->delta;
    int error = dsl_charge(dataset->pool, dsl_dataset(dataset->object)->directory, delta);
    if (error < 0)
        return error;
    struct dsl_dataset *phys = object_change_bonus(dataset->object);
    phys->pointer = dataset->pointer;
    phys->referenced_bytes += (uint64_t)delta[0];
    phys->compressed_bytes += (uint64_t)delta[1];
    phys->uncompressed_bytes += (uint64_t)delta[2];
    phys->unique_bytes += (uint64_t)delta[0]; // nothing is shared: it has no snapshots
    memset(dataset->delta, 0, sizeof(dataset->delta));
    return 0;
}

// When an earlier try to sync wrote the set, but could not go on.
bool dsl_outdated(const struct zfs_dataset *dataset) {
    return memcmp(&dsl_dataset(dataset->object)->pointer, &dataset->pointer,
                  sizeof(dataset->pointer)) != 0;
}
