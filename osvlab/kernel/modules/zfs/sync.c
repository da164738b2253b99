// Completing a transaction group: what changed is written from the leaves of the tree to its root,
// and then the root takes effect.
//
// The first pass writes the datasets, then the pool's own objects (the MOS). That takes and frees
// space, and the space maps that log it are objects of the MOS, too. So passes follow until nothing
// changes: from the second on a block that this group wrote is written again in its own place.
//
// Whatever fails, what is in memory stays whole and the durable group is untouched: it can be tried
// again.

#include "dataset.h"

bool zfs_needs_sync(const struct zfs_pool *pool) {
    if (pool->mos->dirty || space_changed(pool) ||
        memcmp(&pool->root, &pool->uberblock.rootbp, sizeof(pool->root)) != 0)
        return true;
    for (const struct zfs_dataset *dataset = pool->datasets; dataset; dataset = dataset->next)
        if (dataset->set->dirty)
            return true;
    return false;
}

uint64_t zfs_dirty_bytes(const struct zfs_pool *pool) {
    return pool->dirty_bytes;
}

static int sync_datasets(struct zfs_pool *pool) {
    int error = 0;
    for (struct zfs_dataset *d = pool->datasets; error == 0 && d != NULL; d = d->next) {
        if (!d->set->dirty && !dsl_outdated(d))
            continue;
        error = d->set->dirty ? objset_sync(d->set) : 0;
        if (error == 0)
            error = dsl_update(d);
    }
    return error;
}

static int sync_mos(struct zfs_pool *pool) {
    int error = 0;
    for (; error == 0 && pool->pass <= PASSES_MAX; pool->pass++) {
        error = space_write(pool);
        if (error == 0)
            error = dsl_charge_mos(pool);
        if (error < 0 || !pool->mos->dirty)
            return error;
        error = objset_sync(pool->mos);
    }
    if (error == 0)
        zfs_report("pool %s: transaction group %lu does not come to an end", pool->name, pool->txg);
    return error < 0 ? error : -EIO;
}

static void forget_closed(struct zfs_pool *pool) {
    for (struct zfs_dataset *dataset = pool->datasets, *next; dataset != NULL; dataset = next) {
        next = dataset->next;
        if (dataset->opened == 0 && !dataset->set->dirty)
            dataset_forget(dataset);
    }
}

int zfs_sync(struct zfs_pool *pool) {
    if (pool->failed < 0)
        return pool->failed;
    if (pool->read_only != NULL || !zfs_needs_sync(pool))
        return 0;
    pool->pass = 1;
    int error = sync_datasets(pool);
    if (error == 0)
        error = sync_mos(pool);
    pool->pass = 0;
    if (error == 0)
        error = uberblock_write(pool);
    if (error < 0)
        return error;
    space_done(pool);
    pool->txg++;
    forget_closed(pool);
    return 0;
}
