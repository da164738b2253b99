// A pool as a whole: opened from its newest uberblock, closed, forgotten.
//
// Invariant: a pool is opened for writing only if everything that might be changed is understood.

#include "pool.h"

#include <errno.h>
#include <string.h>

#include "blocks.h"
#include "label.h"
#include "objects.h"

// --- Opening

#define FEATURE_REASON "it uses a feature that this kernel does not know: "

// After the reason.
static bool visit_feature(void *argument, uint64_t next, const char *name, unsigned integer_size,
                          unsigned count, const void *value) {
    struct zfs_pool *pool = argument;
    uint64_t uses = 0;
    size_t length = strlen(name), start = sizeof(FEATURE_REASON) - 1;
    (void)next;
    if (integer_size == 8 && count == 1)
        memcpy(&uses, value, sizeof(uses));
    if (uses == 0 || config_knows_feature(name, length))
        return true;
    length = length < sizeof(pool->unknown) - start ? length : sizeof(pool->unknown) - start - 1;
    memcpy(pool->unknown, FEATURE_REASON, start);
    memcpy(pool->unknown + start, name, length);
    pool->unknown[start + length] = 0;
    return false;
}

// Looks in one of the MOS's two lists for a feature that is in use and not known here.
static int unknown_feature(struct zfs_pool *pool, const char *list) {
    uint64_t zap;
    pool->unknown[0] = 0;
    int status = zap_lookup(pool->mos, 1, list, 8, 1, &zap);
    if (status == 0)
        status = zap_each(pool->mos, zap, 0, visit_feature, pool);
    return status == -ENOENT ? 0 : status;
}

static int check_features(struct zfs_pool *pool) {
    uint64_t zap, uses = 0, statistics;
    int status = unknown_feature(pool, "features_for_read");
    if (status == 0 && pool->unknown[0] != 0) {
        zfs_report("pool %s cannot be read: %s", pool->name, pool->unknown);
        status = -ENOTSUP;
    }
    if (status == 0)
        status = unknown_feature(pool, "features_for_write");
    if (status < 0)
        return status;
    if (pool->unknown[0] != 0)
        pool->read_only = pool->unknown;
    if (zap_lookup(pool->mos, 1, "DDT-statistics", 8, 1, &statistics) != -ENOENT)
        pool->read_only = "it has deduplicated blocks";
    if (zap_lookup(pool->mos, 1, "features_for_read", 8, 1, &zap) == 0 &&
        zap_lookup(pool->mos, zap, "org.illumos:lz4_compress", 8, 1, &uses) == 0)
        pool->has_lz4 = uses > 0;
    return 0;
}

static int open_candidate(struct zfs_pool *pool) {
    uint64_t root;
    pool->root = pool->uberblock.rootbp;
    int status = objset_open(pool, &pool->root, &pool->mos);
    if (status == 0)
        status = check_features(pool);
    if (status == 0)
        status = zap_lookup(pool->mos, 1, "root_dataset", 8, 1, &root);
    if (status == 0)
        status = space_open(pool);
    if (status < 0) {
        space_close(pool);
        objects_close(pool);
    }
    return status;
}

// What another uberblock may cure. Errors of memory and unknown features are not of that kind.
static bool damaged(int status) {
    return status < 0 && status != -ENOMEM && status != -ENOTSUP;
}

static int open_newest(struct zfs_pool *pool) {
    int status = -ENOENT;
    bool older = false;
    while (label_candidate(pool, &pool->uberblock) == 0) {
        status = open_candidate(pool);
        if (status == 0 && older)
            zfs_report("pool %s: goes on from the older transaction group %lu", pool->name,
                       pool->uberblock.txg);
        if (!damaged(status))
            return status;
        zfs_report("pool %s: what transaction group %lu completed cannot be read", pool->name,
                   pool->uberblock.txg);
        older = true;
    }
    if (status == -ENOENT)
        zfs_report("pool %s: %s", pool->name,
                   pool->labels->swapped ? "it was written by a big-endian machine"
                                         : "none of its uberblocks is whole");
    return status == -ENOENT ? -EIO : status;
}

int zfs_import(struct zfs_disk *disks, unsigned count, unsigned flags, struct zfs_pool **out) {
    if (count != 1) {
        zfs_report("%u disks for one pool: only single disks are known", count);
        return -ENOTSUP;
    }
    struct zfs_pool *pool = pool_make(&disks[0]);
    if (pool == NULL)
        return -ENOMEM;
    int status = label_read(pool);
    if (status == 0)
        status = open_newest(pool);
    if (status < 0) {
        pool_unmake(pool);
        return status;
    }
    pool->txg = pool->labels->newest + 1;
    pool->opened = pool->uberblock.txg;
    pool->was_exported = pool->state == POOL_EXPORTED;
    label_close(pool);
    if (flags & ZFS_READ_ONLY)
        pool->read_only = "it was opened for reading only";
    if (pool->read_only == NULL && !pool->was_exported && zil_any_needs_play(pool))
        pool->read_only = "an intent log has changes that were not played by whoever wrote them";
    if (pool->read_only != NULL && !(flags & ZFS_READ_ONLY)) // which whoever asked for it knows
        zfs_report("pool %s can only be read: %s", pool->name, pool->read_only);
    *out = pool;
    return 0;
}

// --- Closing

void zfs_abandon(struct zfs_pool *pool) {
    space_close(pool);
    objects_close(pool);
    pool_unmake(pool);
}

// The pool is gone in any case; an error says that its disk may not be as it should.
int zfs_export(struct zfs_pool *pool) {
    int status = pool->read_only != NULL ? 0 : zfs_sync(pool);
    if (status == 0 && pool->state == POOL_ACTIVE && pool->read_only == NULL) {
        pool->state = POOL_EXPORTED;
        status = label_write(pool);
    }
    zfs_abandon(pool);
    return status;
}

// --- What it is

const char *zfs_pool_name(const struct zfs_pool *pool) {
    return pool->name;
}

const char *zfs_read_only_reason(const struct zfs_pool *pool) {
    return pool->read_only;
}
