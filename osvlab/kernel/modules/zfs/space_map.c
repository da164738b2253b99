// Space maps: for each metaslab, a log of what was taken and what was given back.
//
// Loaded, a metaslab is three bitmaps. Writing appends what differs between two of them, `taken`
// and `written`; a log that has become much longer than needed is written anew from the start.
//
// Invariant: a log that contradicts itself is never appended to, and nothing is taken from its
// metaslab.
//
// Specified in: OpenZFS, sys/space_map.h and space_map.c, entries of one word.

#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "label.h"
#include "metaslab.h"
#include "objects.h"

enum {
    TYPE_SPACE_MAP_HEADER = 7,
    TYPE_SPACE_MAP = 8,
    BLOCK_SIZE = 4096,
    ENTRIES = BLOCK_SIZE / 8, // that are read and written at once
    RUN_MAX = 32768,
    COPIES = 3, // of a block
};

static uint64_t entry_make(uint64_t unit, uint64_t run, bool freed) {
    return unit << 16 | (uint64_t)freed << 15 | (run - 1);
}

static unsigned number_of(const struct zfs_pool *pool, const struct metaslab *metaslab) {
    return (unsigned)(metaslab - pool->space->metaslabs);
}

// --- Reading

int metaslab_open(struct zfs_pool *pool, struct metaslab *metaslab) {
    uint64_t bytes = pool->space->units << pool->ashift;
    struct space_map map = {0};
    struct object *object;

    metaslab->vacant = metaslab->run = pool->space->units;
    pool->space->maps += COPIES * BLOCK_SIZE;
    if (metaslab->object == 0)
        return 0;
    int status = object_hold(pool->mos, metaslab->object, &object);
    if (status < 0)
        return status;
    const struct dnode *dnode = object_dnode(object);
    uint64_t block = (uint64_t)dnode->data_sectors << SECTOR_SHIFT;
    if (dnode->bonus_length >= sizeof(map))
        memcpy(&map, object_bonus(object), sizeof(map));
    if (dnode->type != TYPE_SPACE_MAP || dnode->bonus_length < sizeof(map) || map.length % 8 != 0 ||
        map.length > block * (dnode->max_block + 1) || map.allocated > bytes ||
        map.allocated % ((uint64_t)1 << pool->ashift) != 0) {
        zfs_report("space map of metaslab %u, object %lu: its header is impossible",
                   number_of(pool, metaslab), metaslab->object);
        status = -EIO;
    }
    object_put(object);
    if (block > BLOCK_SIZE)
        pool->space->maps += COPIES * (block - BLOCK_SIZE);
    metaslab->length = map.length;
    metaslab->used = map.allocated >> pool->ashift;
    metaslab->vacant -= metaslab->used;
    return status;
}

static bool apply_entry(uint64_t *taken, uint64_t units, uint64_t entry) {
    if (entry >> 63)
        return true; // who wrote what comes next, and when
    uint64_t unit = entry >> 16, run = (entry & 0x7fff) + 1;
    bool freed = entry >> 15 & 1;
    if (run > units || unit > units - run || !bitmap_all(taken, unit, run, freed))
        return false;
    bitmap_fill(taken, unit, run, !freed);
    return true;
}

static int replay(struct zfs_pool *pool, struct metaslab *metaslab, struct object *object,
                  uint64_t *entries) {
    for (uint64_t at = 0; at < metaslab->length; at += BLOCK_SIZE) {
        uint64_t rest = metaslab->length - at, size = rest < BLOCK_SIZE ? rest : BLOCK_SIZE;
        int status = object_read(object, at, entries, size);
        if (status < 0)
            return status;
        for (unsigned i = 0; i < size / 8; i++)
            if (!apply_entry(metaslab->taken, pool->space->units, entries[i])) {
                zfs_report("space map of metaslab %u, object %lu, offset %lu: wrong entry %lx",
                           number_of(pool, metaslab), metaslab->object, at + 8 * i, entries[i]);
                return -EIO;
            }
    }
    return 0;
}

static int load(struct zfs_pool *pool, struct metaslab *metaslab) {
    struct object *object;
    if (metaslab->object == 0)
        return 0;
    uint64_t *entries = zfs_services->allocate(BLOCK_SIZE);
    if (entries == NULL)
        return -ENOMEM;
    int status = object_hold(pool->mos, metaslab->object, &object);
    if (status == 0) {
        status = replay(pool, metaslab, object, entries);
        object_put(object);
    }
    zfs_services->free(entries, BLOCK_SIZE);
    return status;
}

static uint64_t count_taken(const struct zfs_pool *pool, const struct metaslab *metaslab) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < bitmap_words(pool->space->units); i++)
        sum += (unsigned)__builtin_popcountl(metaslab->taken[i]);
    return sum;
}

int metaslab_load(struct zfs_pool *pool, struct metaslab *metaslab) {
    uint64_t words = bitmap_words(pool->space->units);
    if (metaslab->taken != NULL || metaslab->broken)
        return metaslab->broken ? -EIO : 0;
    metaslab->taken = zfs_services->allocate(3 * words * 8);
    if (metaslab->taken == NULL)
        return -ENOMEM;
    metaslab->written = metaslab->taken + words;
    metaslab->held = metaslab->written + words;
    int status = load(pool, metaslab);
    if (status == 0 && count_taken(pool, metaslab) != metaslab->used) {
        zfs_report("space map of metaslab %u, object %lu: its sum is wrong",
                   number_of(pool, metaslab), metaslab->object);
        status = -EIO;
    }
    if (status < 0) {
        metaslab_unload(pool, metaslab);
        metaslab->broken = status != -ENOMEM;
        if (metaslab->broken) { // nothing can be taken from it
            pool->space->vacant -= metaslab->vacant;
            metaslab->vacant = 0;
        }
        return status;
    }
    memcpy(metaslab->written, metaslab->taken, words * 8);
    memcpy(metaslab->held, metaslab->taken, words * 8);
    return 0;
}

void metaslab_unload(struct zfs_pool *pool, struct metaslab *metaslab) {
    if (metaslab->taken != NULL)
        zfs_services->free(metaslab->taken, 3 * bitmap_words(pool->space->units) * 8);
    metaslab->taken = metaslab->written = metaslab->held = NULL;
}

// --- Writing

struct log {
    struct object *object;
    uint64_t *entries;
    unsigned count; // entries that are not written yet
    uint64_t length;
};

static int log_flush(struct log *log) {
    if (log->count == 0)
        return 0;
    int status = object_write(log->object, log->length, log->entries, log->count * 8);
    log->length += log->count * 8;
    log->count = 0;
    return status;
}

static int log_run(struct log *log, uint64_t unit, uint64_t run, bool freed) {
    int status = 0;
    while (run > 0 && status == 0) {
        uint64_t some = run < RUN_MAX ? run : RUN_MAX;
        log->entries[log->count++] = entry_make(unit, some, freed);
        if (log->count == ENTRIES)
            status = log_flush(log);
        unit += some;
        run -= some;
    }
    return status;
}

// The first unit at or after `from` that was freed (or taken) since the map was written; or that
// was not, if `value` is false.
static uint64_t next_change(const struct metaslab *metaslab, uint64_t from, uint64_t end,
                            bool freed, bool value) {
    for (; from < end; from = (from / 64 + 1) * 64) {
        uint64_t taken = metaslab->taken[from / 64], written = metaslab->written[from / 64];
        uint64_t bits = freed ? written & ~taken : taken & ~written;
        bits = (value ? bits : ~bits) >> from % 64 << from % 64;
        if (bits != 0) {
            uint64_t found = from / 64 * 64 + (unsigned)__builtin_ctzl(bits);
            return found < end ? found : end;
        }
    }
    return end;
}

static int log_changes(struct zfs_pool *pool, struct metaslab *metaslab, struct log *log,
                       bool freed) {
    uint64_t units = pool->space->units, at = 0;
    int status = 0;
    while (status == 0 && (at = next_change(metaslab, at, units, freed, true)) < units) {
        uint64_t to = next_change(metaslab, at, units, freed, false);
        status = log_run(log, at, to - at, freed);
        bitmap_fill(metaslab->written, at, to - at, !freed);
        at = to;
    }
    return status;
}

static int create(struct zfs_pool *pool, struct metaslab *metaslab) {
    struct object *object, *array;
    int status = object_allocate(pool->mos, TYPE_SPACE_MAP, BLOCK_SIZE, TYPE_SPACE_MAP_HEADER,
                                 sizeof(struct space_map), &object);
    if (status < 0)
        return status;
    uint64_t number = object_number(object);
    object_put(object);
    status = object_hold(pool->mos, pool->labels->metaslab_array, &array);
    if (status == 0) {
        status = object_write(array, number_of(pool, metaslab) * 8, &number, 8);
        object_put(array);
    }
    if (status < 0)
        object_free(pool->mos, number);
    else
        metaslab->object = number;
    return status;
}

// Starts the log anew if it is more than twice as long as it need be.
static int condense(struct zfs_pool *pool, struct metaslab *metaslab, struct object *object) {
    uint64_t units = pool->space->units;
    if (pool->pass > 1 || metaslab->length <= BLOCK_SIZE ||
        metaslab->length / 8 <= 2 * bitmap_runs(metaslab->taken, units) + ENTRIES)
        return 0;
    metaslab->length = 0;
    memset(metaslab->written, 0, bitmap_words(units) * 8);
    return object_cut(object, 0);
}

static int append(struct zfs_pool *pool, struct metaslab *metaslab, struct object *object) {
    struct log log = {.object = object, .entries = zfs_services->allocate(BLOCK_SIZE)};
    if (log.entries == NULL)
        return -ENOMEM;
    int status = condense(pool, metaslab, object);
    log.length = metaslab->length;
    if (status == 0)
        status = log_changes(pool, metaslab, &log, true);
    if (status == 0)
        status = log_changes(pool, metaslab, &log, false);
    if (status == 0)
        status = log_flush(&log);
    zfs_services->free(log.entries, BLOCK_SIZE);
    metaslab->length = log.length;
    if (status < 0) { // which entries are there is not certain: the next time all are written
        metaslab->length = 0;
        memset(metaslab->written, 0, bitmap_words(pool->space->units) * 8);
    }
    return status;
}

int metaslab_write(struct zfs_pool *pool, struct metaslab *metaslab) {
    struct object *object;
    int status = metaslab->object == 0 ? create(pool, metaslab) : 0;
    if (status < 0)
        return status;
    status = object_hold(pool->mos, metaslab->object, &object);
    if (status < 0)
        return status;
    status = append(pool, metaslab, object);
    struct space_map map = {metaslab->object, metaslab->length, metaslab->used << pool->ashift};
    if (status == 0 && memcmp(object_bonus(object), &map, sizeof(map)) != 0)
        memcpy(object_change_bonus(object), &map, sizeof(map));
    metaslab->changed = status < 0;
    object_put(object);
    return status;
}
