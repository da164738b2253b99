// Which space is free: taken for new blocks, and given back.
//
// Blocks are put one after the other, from a cursor on to the next vacant place that is large
// enough; so what is written together lies together. Each copy of a block has a cursor of its own,
// a third of the disk away.
//
// Invariant: what a durable transaction group can reach is `held` and is not written to. Freed
// space stays held until the group that freed it is durable, and two groups more if there is room.

#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "label.h"
#include "metaslab.h"
#include "objects.h"

enum { RESERVE_SHIFT = 5, EXTENTS = 254, METASLABS_MAX = 1 << 20 };
#define OWN_BYTES (256 * 1024)      // that a group writes of the pool's objects, besides space maps
#define REMOVAL_BYTES (1024 * 1024) // that removing files may write, at least

struct extents {
    struct extents *next;
    uint64_t count;
    struct extent {
        uint64_t unit, count; // counted over all metaslabs
    } extent[EXTENTS];
};

// --- Opening and closing

static int read_array(struct zfs_pool *pool) {
    struct space *space = pool->space;
    struct object *array;
    int status = object_hold(pool->mos, pool->labels->metaslab_array, &array);
    if (status < 0)
        return status;
    for (unsigned i = 0; i < space->count && status == 0; i++)
        status = object_read(array, i * 8ul, &space->metaslabs[i].object, 8);
    object_put(array);
    return status;
}

int space_open(struct zfs_pool *pool) {
    const struct labels *labels = pool->labels;
    struct space *space = zfs_services->allocate(sizeof(*space));
    if (space == NULL)
        return -ENOMEM;
    pool->space = space;
    space->count = labels->asize >> labels->metaslab_shift < METASLABS_MAX
                       ? (unsigned)(labels->asize >> labels->metaslab_shift)
                       : METASLABS_MAX;
    space->units = (uint64_t)1 << (labels->metaslab_shift - pool->ashift);
    space->metaslabs = zfs_services->allocate(space->count * sizeof(struct metaslab));
    for (unsigned i = 0; i < 3; i++)
        space->cursors[i].metaslab = space->count / 3 * i;
    int status = space->metaslabs == NULL ? -ENOMEM : read_array(pool);
    for (unsigned i = 0; i < space->count && status == 0; i++) {
        status = metaslab_open(pool, &space->metaslabs[i]);
        space->used += space->metaslabs[i].used;
        space->vacant += space->metaslabs[i].vacant;
    }
    if (status < 0)
        zfs_report("pool %s: the metaslab array, object %lu, or a space map cannot be read",
                   pool->name, labels->metaslab_array);
    return status;
}

static void extents_free(struct extents *extents) {
    while (extents != NULL) {
        struct extents *next = extents->next;
        zfs_services->free(extents, sizeof(*extents));
        extents = next;
    }
}

void space_close(struct zfs_pool *pool) {
    struct space *space = pool->space;
    if (space == NULL)
        return;
    pool->space = NULL;
    for (unsigned i = 0; i < WAITING; i++)
        extents_free(space->waiting[i]);
    for (unsigned i = 0; space->metaslabs != NULL && i < space->count; i++)
        if (space->metaslabs[i].taken != NULL)
            zfs_services->free(space->metaslabs[i].taken, 3 * bitmap_words(space->units) * 8);
    if (space->metaslabs != NULL)
        zfs_services->free(space->metaslabs, space->count * sizeof(struct metaslab));
    zfs_services->free(space, sizeof(*space));
}

// --- Freed space that waits

static bool wait_add(struct space *space, uint64_t unit, uint64_t count) {
    struct extents *first = space->waiting[0];
    if (first != NULL && first->count > 0) {
        struct extent *last = &first->extent[first->count - 1];
        if (last->unit + last->count == unit) {
            last->count += count;
            return true;
        }
    }
    if (first == NULL || first->count == EXTENTS) {
        first = zfs_services->allocate(sizeof(*first));
        if (first == NULL)
            return false;
        first->next = space->waiting[0];
        space->waiting[0] = first;
    }
    first->extent[first->count++] = (struct extent){unit, count};
    return true;
}

static void make_vacant(struct space *space, struct metaslab *metaslab, uint64_t unit,
                        uint64_t count) {
    bitmap_fill(metaslab->held, unit, count, false);
    metaslab->vacant += count;
    metaslab->run = space->units;
    space->vacant += count;
}

static void release(struct space *space, struct extents **list) {
    for (struct extents *extents = *list; extents != NULL; extents = extents->next)
        for (uint64_t i = 0; i < extents->count; i++) {
            uint64_t unit = extents->extent[i].unit, count = extents->extent[i].count;
            while (count > 0) { // neighbours may have met at a border
                struct metaslab *metaslab = &space->metaslabs[unit / space->units];
                uint64_t start = unit % space->units, left = space->units - start;
                uint64_t here = count < left ? count : left;
                make_vacant(space, metaslab, start, here);
                unit += here;
                count -= here;
            }
        }
    extents_free(*list);
    *list = NULL;
}

static uint64_t sum_of(const struct extents *extents) {
    uint64_t sum = 0;
    for (; extents != NULL; extents = extents->next)
        for (uint64_t i = 0; i < extents->count; i++)
            sum += extents->extent[i].count;
    return sum;
}

// What is durably free may be used although older uberblocks lose blocks: there is no other space.
static bool release_early(struct space *space) {
    bool any = space->ripe > 0;
    for (unsigned i = 1; i < WAITING; i++)
        release(space, &space->waiting[i]);
    space->ripe = 0;
    return any;
}

void space_done(struct zfs_pool *pool) {
    struct space *space = pool->space;
    release(space, &space->waiting[WAITING - 1]);
    for (unsigned i = WAITING - 1; i > 0; i--)
        space->waiting[i] = space->waiting[i - 1];
    space->waiting[0] = NULL;
    space->ripe = 0;
    for (unsigned i = 1; i < WAITING; i++)
        space->ripe += sum_of(space->waiting[i]);
}

// --- Taking space and giving it back

static bool find_run(struct space *space, struct metaslab *metaslab, uint64_t from, uint64_t count,
                     uint64_t *unit) {
    uint64_t at = from, longest = 0;
    while ((at = bitmap_next(metaslab->held, at, space->units, false)) < space->units) {
        uint64_t most = count < space->units - at ? at + count : space->units;
        uint64_t end = bitmap_next(metaslab->held, at, most, true);
        *unit = at;
        if (end - at == count)
            return true;
        longest = end - at > longest ? end - at : longest;
        at = end;
    }
    if (from == 0)
        metaslab->run = longest;
    return false;
}

static bool take_from(struct zfs_pool *pool, struct cursor *cursor, uint64_t count,
                      uint64_t *offset) {
    struct space *space = pool->space;
    struct metaslab *metaslab = &space->metaslabs[cursor->metaslab];
    uint64_t unit;
    if (metaslab->vacant < count || metaslab->run < count)
        return false;
    int status = metaslab_load(pool, metaslab);
    if (status < 0 || !find_run(space, metaslab, cursor->unit, count, &unit)) {
        space->unloaded |= status == -ENOMEM;
        return false;
    }
    bitmap_fill(metaslab->taken, unit, count, true);
    bitmap_fill(metaslab->held, unit, count, true);
    metaslab->changed = true;
    metaslab->used += count;
    metaslab->vacant -= count;
    space->used += count;
    space->vacant -= count;
    cursor->unit = unit + count;
    *offset = (cursor->metaslab * space->units + unit) << pool->ashift;
    return true;
}

static bool take(struct zfs_pool *pool, struct cursor *cursor, uint64_t count, uint64_t *offset) {
    for (unsigned tries = 0; tries <= pool->space->count; tries++) {
        if (take_from(pool, cursor, count, offset))
            return true;
        cursor->metaslab = (cursor->metaslab + 1) % pool->space->count;
        cursor->unit = 0;
    }
    return false;
}

int space_allocate(struct zfs_pool *pool, unsigned copy, uint64_t size, uint64_t *offset) {
    struct space *space = pool->space;
    uint64_t count = size >> pool->ashift;
    space->unloaded = false;
    if (take(pool, &space->cursors[copy], count, offset))
        return 0;
    if (release_early(space) && take(pool, &space->cursors[copy], count, offset))
        return 0;
    return space->unloaded ? -ENOMEM : -ENOSPC;
}

int space_prepare(struct zfs_pool *pool, uint64_t offset) {
    uint64_t number = (offset >> pool->ashift) / pool->space->units;
    if (number >= pool->space->count)
        return -EIO;
    return metaslab_load(pool, &pool->space->metaslabs[number]);
}

// A pointer to space that is not taken means that the pool contradicts itself: nothing more is
// written to it.
void space_free(struct zfs_pool *pool, uint64_t offset, uint64_t size, uint64_t birth) {
    struct space *space = pool->space;
    uint64_t unit = offset >> pool->ashift, count = size >> pool->ashift;
    unsigned number = (unsigned)(unit / space->units);
    struct metaslab *metaslab = &space->metaslabs[number];
    uint64_t start = unit % space->units;

    if (number >= space->count || count << pool->ashift != size || unit << pool->ashift != offset ||
        count > space->units - start) {
        zfs_report("block at offset %lu: cannot be given back, no metaslab has such a place",
                   VDEV_DATA + offset);
        pool->failed = -EIO;
        return;
    }
    int status = metaslab_load(pool, metaslab);
    if (status < 0 || !bitmap_all(metaslab->taken, start, count, true)) {
        zfs_report("block at offset %lu: cannot be given back, %s", VDEV_DATA + offset,
                   status < 0 ? "its space map cannot be loaded" : "it is not taken");
        pool->failed = -EIO;
        return;
    }
    bitmap_fill(metaslab->taken, start, count, false);
    metaslab->changed = true;
    metaslab->used -= count;
    space->used -= count;
    if (birth == pool->txg)
        make_vacant(space, metaslab, start, count);
    else
        wait_add(space, unit, count); // without memory for that, it is held until the next import
}

// --- What a transaction group changed

bool space_changed(const struct zfs_pool *pool) {
    for (unsigned i = 0; i < pool->space->count; i++)
        if (pool->space->metaslabs[i].changed)
            return true;
    return false;
}

int space_write(struct zfs_pool *pool) {
    int status = 0;
    for (unsigned i = 0; i < pool->space->count && status == 0; i++)
        if (pool->space->metaslabs[i].changed)
            status = metaslab_write(pool, &pool->space->metaslabs[i]);
    return status;
}

// --- How much there is

static uint64_t all_units(const struct zfs_pool *pool) {
    return pool->space->count * pool->space->units;
}

// Without it no group can be completed.
static uint64_t least(const struct zfs_pool *pool) {
    return (pool->space->maps + OWN_BYTES) >> pool->ashift;
}

static uint64_t reserve(const struct zfs_pool *pool) {
    uint64_t all = all_units(pool), part = all >> RESERVE_SHIFT;
    uint64_t needed = least(pool) + (REMOVAL_BYTES >> pool->ashift);
    uint64_t most = part > needed ? part : needed;
    return most < all / 2 ? most : all / 2;
}

uint64_t space_total(const struct zfs_pool *pool) {
    return (all_units(pool) - reserve(pool)) << pool->ashift;
}

uint64_t space_used(const struct zfs_pool *pool) {
    return pool->space->used << pool->ashift;
}

static uint64_t free_but(const struct zfs_pool *pool, uint64_t kept) {
    uint64_t most = pool->space->vacant + pool->space->ripe;
    return most > kept ? (most - kept) << pool->ashift : 0;
}

uint64_t space_available(const struct zfs_pool *pool) {
    return free_but(pool, reserve(pool));
}

uint64_t space_to_remove(const struct zfs_pool *pool) {
    return free_but(pool, least(pool));
}
