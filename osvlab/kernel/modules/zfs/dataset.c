// Opening datasets: their set of objects, how their data is written, and whether it may be.
//
// Invariant: a dataset is opened for writing only if everything that writing must keep right is
// understood: it has no snapshots, whose blocks would need deadlists, and no intent log that would
// have to be played first.

#include "dataset.h"

#define ZPL_MAX 5
#define ZPL_WRITTEN_MIN 3
#define MASTER_NODE 1

// --- How data is written

static uint64_t property(struct zfs_dataset *dataset, const char *name, uint64_t otherwise) {
    uint64_t directory = dsl_dataset(dataset->object)->directory, value;
    return dsl_property(dataset->pool, directory, name, &value) == 0 ? value : otherwise;
}

static void load_properties(struct zfs_dataset *dataset) {
    struct object_set *set = dataset->set;
    uint64_t compression = property(dataset, "compression", COMPRESS_OFF);
    uint64_t checksum = property(dataset, "checksum", CHECKSUM_FLETCHER4);
    uint64_t copies = property(dataset, "copies", 1);
    uint64_t record = property(dataset, "recordsize", BLOCK_MAX);
    bool lz4 = dataset->pool->has_lz4;
    if (compression == COMPRESS_ON || (compression == COMPRESS_LZ4 && !lz4))
        compression = lz4 ? COMPRESS_LZ4 : COMPRESS_LZJB;
    // What can be read but is not written here: data stays as it is.
    if (compression != COMPRESS_LZ4 && compression != COMPRESS_LZJB)
        compression = COMPRESS_OFF;
    set->compression = (uint8_t)compression;
    set->checksum = checksum == CHECKSUM_SHA256 ? CHECKSUM_SHA256 : CHECKSUM_FLETCHER4;
    set->copies = copies >= 1 && copies <= 3 ? (uint8_t)copies : 1;
    dataset->record = record >= 512 && record <= BLOCK_MAX && (record & (record - 1)) == 0
                          ? (uint32_t)record
                          : BLOCK_MAX;
}

// --- Whether it may be

static bool has_snapshots(struct zfs_dataset *dataset) {
    uint64_t previous = dsl_dataset(dataset->object)->previous_snapshot;
    struct object *snapshot;
    if (previous == 0)
        return false;
    if (dsl_hold(dataset->pool, previous, TYPE_DSL_DATASET, &snapshot) < 0)
        return true;
    bool empty = block_is_hole(&dsl_dataset(snapshot)->pointer); // $ORIGIN, before all others
    object_put(snapshot);
    return !empty;
}

static const char *read_only_reason(struct zfs_dataset *dataset, bool snapshot) {
    if (dataset->pool->read_only != NULL)
        return dataset->pool->read_only;
    if (snapshot)
        return "it is a snapshot";
    if (has_snapshots(dataset))
        return "it has snapshots, whose blocks are not kept track of here";
    if (zil_needs_play(dataset->pool, &dataset->set->header->zil))
        return "its intent log has changes that were not played";
    if (dataset->version < ZPL_WRITTEN_MIN)
        return "its files are of a version that is only read here";
    return NULL;
}

// --- Opening

static int load_master_node(struct zfs_dataset *dataset, uint64_t *attributes) {
    struct object_set *set = dataset->set;
    *attributes = 0;
    int error = zap_lookup(set, MASTER_NODE, "VERSION", 8, 1, &dataset->version);
    if (error == 0)
        error = zap_lookup(set, MASTER_NODE, "ROOT", 8, 1, &dataset->root);
    if (error == 0)
        error = zap_lookup(set, MASTER_NODE, "DELETE_QUEUE", 8, 1, &dataset->delete_queue);
    if (error == 0 && dataset->version >= ZPL_MAX)
        error = zap_lookup(set, MASTER_NODE, "SA_ATTRS", 8, 1, attributes);
    if (error == 0 && dataset->version > ZPL_MAX)
        error = -ENOTSUP;
    return error == -ENOENT ? -EIO : error;
}

static int load_set(struct zfs_dataset *dataset) {
    uint64_t attributes;
    dataset->pointer = dsl_dataset(dataset->object)->pointer;
    int error = objset_open(dataset->pool, &dataset->pointer, &dataset->set);
    if (error < 0)
        return error;
    dataset->set->dataset = dataset;
    if (dataset->set->header->type != OBJSET_FILES)
        return -ENOTSUP;
    error = load_master_node(dataset, &attributes);
    if (error == 0 && attributes != 0)
        error = sa_open(dataset, attributes);
    return error;
}

static void dataset_free(struct zfs_dataset *dataset) {
    dataset->pool->charged = NULL;
    sa_close(dataset);
    if (dataset->set != NULL)
        objset_close(dataset->set);
    object_put(dataset->object);
    zfs_services->free(dataset, sizeof(*dataset));
}

static struct zfs_dataset *find_open(struct zfs_pool *pool, uint64_t number) {
    struct zfs_dataset *dataset = pool->datasets;
    while (dataset != NULL && dataset->object->number != number)
        dataset = dataset->next;
    return dataset;
}

static int new_set(struct zfs_dataset *dataset, dataset_filler *fill) {
    int error = objset_create(dataset->pool, &dataset->pointer, OBJSET_FILES, &dataset->set);
    if (error < 0)
        return error;
    dataset->set->dataset = dataset;
    memset(dataset->sa.number, 0xff, sizeof(dataset->sa.number));
    memset(dataset->sa.attribute, 0xff, sizeof(dataset->sa.attribute));
    return fill(dataset);
}

// With its set as it is on the disk, or an empty one that `fill` fills.
static int dataset_load(struct zfs_pool *pool, uint64_t number, dataset_filler *fill,
                        struct zfs_dataset **out) {
    struct zfs_dataset *dataset = cache_allocate(pool, sizeof(*dataset));
    if (dataset == NULL)
        return -ENOMEM;
    dataset->pool = pool;
    int error = dsl_hold(pool, number, TYPE_DSL_DATASET, &dataset->object);
    if (error == 0)
        error = fill != NULL ? new_set(dataset, fill) : load_set(dataset);
    if (error < 0) {
        dataset_free(dataset);
        return error;
    }
    load_properties(dataset);
    dataset->next = pool->datasets;
    pool->datasets = dataset;
    *out = dataset;
    return 0;
}

int zfs_dataset_open(struct zfs_pool *pool, const char *name, struct zfs_dataset **out) {
    uint64_t number;
    int error = dsl_find(pool, name, &number);
    if (error < 0)
        return error;
    struct zfs_dataset *dataset = find_open(pool, number);
    if (dataset != NULL) {
        dataset->opened++;
        *out = dataset;
        return 0;
    }
    error = dataset_load(pool, number, NULL, &dataset);
    if (error < 0)
        return error;
    dataset->opened = 1;
    dataset->read_only = read_only_reason(dataset, strchr(name, '@') != NULL);
    if (dataset->read_only != NULL) {
        if (dataset->read_only != pool->read_only) // that has been said
            zfs_report("dataset %s can only be read: %s", name, dataset->read_only);
    } else {
        zil_drop(pool, &dataset->set->header->zil);
        node_purge_queue(dataset);
    }
    *out = dataset;
    return 0;
}

// It stays open until it was written.
int dataset_new(struct zfs_pool *pool, uint64_t number, dataset_filler *fill,
                struct zfs_dataset **out) {
    return dataset_load(pool, number, fill, out);
}

// One with changes stays until they are written.
void zfs_dataset_close(struct zfs_dataset *dataset) {
    if (--dataset->opened == 0 && !dataset->set->dirty)
        dataset_forget(dataset);
}

void dataset_forget(struct zfs_dataset *dataset) {
    struct zfs_dataset **at = &dataset->pool->datasets;
    while (*at != dataset)
        at = &(*at)->next;
    *at = dataset->next;
    dataset_free(dataset);
}

const char *zfs_dataset_read_only_reason(const struct zfs_dataset *dataset) {
    return dataset->read_only;
}

uint64_t zfs_root(const struct zfs_dataset *dataset) {
    return dataset->root;
}

void objects_close(struct zfs_pool *pool) {
    while (pool->datasets != NULL)
        dataset_forget(pool->datasets);
    if (pool->mos != NULL)
        objset_close(pool->mos);
    pool->mos = NULL;
    cache_close(pool);
}

// --- Space

void zfs_space(const struct zfs_dataset *dataset, struct zfs_space *out) {
    struct zfs_pool *pool = dataset->pool;
    const struct blkptr *pointer = &dataset->pointer;
    uint64_t total = space_total(pool), free = space_available(pool);
    uint64_t used = space_used(pool);
    free = free > pool->dirty_space ? free - pool->dirty_space : 0;
    *out = (struct zfs_space){.total = total,
                              .used = used,
                              .free = free,
                              .files = block_is_hole(pointer) ? 0 : pointer->fill};
}
