// The four labels of a vdev: each has the pool's configuration and a ring of uberblocks.
//
// Invariant: at any moment at least two labels have a whole configuration (one, while those are
// mended that a power cut tore), and all uberblocks but those of the group that is being completed
// are whole. So labels are written two at a time, with a flush between, and an uberblock only after
// a flush of what it points to.
//
// Specified in: "ZFS On-Disk Specification" (2006), chapter 1.

#include "label.h"

#include <errno.h>
#include <string.h>

#include "blocks.h"

static uint64_t label_offset(const struct labels *labels, unsigned label) {
    return label < 2 ? label * (uint64_t)LABEL_SIZE
                     : labels->size - (LABELS - label) * (uint64_t)LABEL_SIZE;
}

// --- The configuration

static bool read_config(struct zfs_pool *pool, unsigned label, uint8_t *region,
                        struct nvlist *config) {
    uint64_t offset = label_offset(pool->labels, label) + LABEL_NVLIST;
    return pool->disk->read(pool->disk, offset, region, LABEL_NVLIST_SIZE) == 0 &&
           nvlist_open(region, LABEL_NVLIST_SIZE - sizeof(struct zio_eck), config);
}

static bool config_right(struct zfs_pool *pool, unsigned label, uint8_t *region) {
    uint64_t verifier[4] = {label_offset(pool->labels, label) + LABEL_NVLIST};
    return checksum_embedded_right(region, LABEL_NVLIST_SIZE, verifier);
}

// The configuration with the highest txg of those that are whole; `spare` is for the others.
static int best_config(struct zfs_pool *pool, uint8_t **region, uint8_t **spare,
                       struct nvlist *config) {
    uint64_t best = 0;
    for (unsigned label = 0; label < LABELS; label++) {
        struct nvlist found;
        uint64_t txg;
        if (!read_config(pool, label, *spare, &found) || !nvlist_u64(&found, "txg", &txg) ||
            txg <= best)
            continue;
        if (!config_right(pool, label, *spare)) {
            zfs_report("label %u at offset %lu: wrong checksum", label,
                       label_offset(pool->labels, label) + LABEL_NVLIST);
            continue;
        }
        uint8_t *previous = *region;
        *region = *spare;
        *spare = previous;
        *config = found;
        best = txg;
    }
    return best == 0 ? -EINVAL : 0;
}

// --- The uberblocks

static unsigned slot_shift(const struct zfs_pool *pool) {
    return pool->ashift > UBERBLOCK_SHIFT_MIN ? pool->ashift : UBERBLOCK_SHIFT_MIN;
}

static uint64_t slot_offset(const struct zfs_pool *pool, unsigned label, unsigned slot) {
    return label_offset(pool->labels, label) + LABEL_UBERBLOCKS +
           ((uint64_t)slot << slot_shift(pool));
}

static void find_uberblocks(struct zfs_pool *pool, unsigned label, uint8_t *ring) {
    struct labels *labels = pool->labels;
    if (pool->disk->read(pool->disk, label_offset(labels, label) + LABEL_UBERBLOCKS, ring,
                         LABEL_UBERBLOCKS_SIZE) < 0)
        return;
    for (unsigned slot = 0; slot < LABEL_UBERBLOCKS_SIZE >> slot_shift(pool); slot++) {
        const struct uberblock *uberblock = (void *)(ring + ((size_t)slot << slot_shift(pool)));
        labels->swapped |= uberblock->magic == __builtin_bswap64(UBERBLOCK_MAGIC);
        if (uberblock->magic != UBERBLOCK_MAGIC || uberblock->guid_sum != labels->guid_sum)
            continue;
        labels->candidates[labels->count++] =
            (struct candidate){uberblock->txg, uberblock->timestamp, label, slot, false};
    }
}

static struct candidate *best_candidate(struct labels *labels) {
    struct candidate *best = NULL;
    for (struct candidate *one = labels->candidates; one < labels->candidates + labels->count;
         one++)
        if (!one->tried && (best == NULL || one->txg > best->txg ||
                            (one->txg == best->txg && one->timestamp > best->timestamp)))
            best = one;
    return best;
}

int label_candidate(struct zfs_pool *pool, struct uberblock *out) {
    struct labels *labels = pool->labels;
    size_t size = (size_t)1 << slot_shift(pool);
    struct candidate *candidate;
    uint8_t *region = zfs_services->allocate(size);
    int status = region == NULL ? -ENOMEM : -ENOENT;

    while (status == -ENOENT && (candidate = best_candidate(labels)) != NULL) {
        candidate->tried = true;
        if (candidate->txg == out->txg && candidate->timestamp == out->timestamp)
            continue; // the same in another label
        uint64_t offset = slot_offset(pool, candidate->label, candidate->slot);
        uint64_t verifier[4] = {offset};
        if (pool->disk->read(pool->disk, offset, region, size) < 0 ||
            !checksum_embedded_right(region, size, verifier)) {
            zfs_report("label %u, uberblock %u at offset %lu: wrong checksum", candidate->label,
                       candidate->slot, offset);
            continue;
        }
        memcpy(out, region, sizeof(*out));
        if (labels->newest < out->txg)
            labels->newest = out->txg;
        status = 0;
    }
    if (region != NULL)
        zfs_services->free(region, size);
    return status;
}

int label_read(struct zfs_pool *pool) {
    struct labels *labels = pool->labels;
    labels->size = pool->disk->size & ~(uint64_t)(LABEL_SIZE - 1);
    if (labels->size < VDEV_DATA + 2 * LABEL_SIZE + (1 << 20)) {
        zfs_report("disk %s is too small for a pool: %lu bytes", pool->disk->path,
                   pool->disk->size);
        return -EINVAL;
    }
    size_t most = LABELS * (LABEL_UBERBLOCKS_SIZE >> UBERBLOCK_SHIFT_MIN);
    uint8_t *region = zfs_services->allocate(LABEL_UBERBLOCKS_SIZE);
    uint8_t *spare = zfs_services->allocate(LABEL_UBERBLOCKS_SIZE);
    labels->candidates = zfs_services->allocate(most * sizeof(struct candidate));
    struct nvlist config;
    int status = -ENOMEM;
    if (region == NULL || spare == NULL || labels->candidates == NULL)
        goto out;
    status = best_config(pool, &region, &spare, &config);
    if (status < 0)
        zfs_report("disk %s has no label of a pool", pool->disk->path);
    if (status == 0)
        status = config_parse(pool, &config);
    if (status < 0)
        goto out;
    for (unsigned label = 0; label < LABELS; label++)
        find_uberblocks(pool, label, region);
out:
    if (region != NULL)
        zfs_services->free(region, LABEL_UBERBLOCKS_SIZE);
    if (spare != NULL)
        zfs_services->free(spare, LABEL_UBERBLOCKS_SIZE);
    return status;
}

void label_close(struct zfs_pool *pool) {
    size_t most = LABELS * (LABEL_UBERBLOCKS_SIZE >> UBERBLOCK_SHIFT_MIN);
    if (pool->labels->candidates != NULL)
        zfs_services->free(pool->labels->candidates, most * sizeof(struct candidate));
    pool->labels->candidates = NULL;
}

// --- Writing

static int write_config(struct zfs_pool *pool, unsigned label, uint8_t *region) {
    uint64_t offset = label_offset(pool->labels, label) + LABEL_NVLIST;
    uint64_t verifier[4] = {offset};
    checksum_embedded_write(region, LABEL_NVLIST_SIZE, verifier);
    return pool->disk->write(pool->disk, offset, region, LABEL_NVLIST_SIZE);
}

// The ones that an earlier power cut left torn, if there are any. `spare` is for reading.
static int write_torn(struct zfs_pool *pool, uint8_t *region, uint8_t *spare) {
    struct nvlist config;
    bool any = false;
    for (unsigned label = 0; label < LABELS; label++) {
        if (read_config(pool, label, spare, &config) && config_right(pool, label, spare))
            continue;
        int status = write_config(pool, label, region);
        if (status < 0)
            return status;
        any = true;
    }
    return any ? pool->disk->flush(pool->disk) : 0;
}

// Two at a time: a power cut finds the other two whole.
static int write_configs(struct zfs_pool *pool, uint8_t *region) {
    for (unsigned first = 0; first < 2; first++) {
        int status = write_config(pool, first, region);
        if (status == 0)
            status = write_config(pool, first + 2, region);
        if (status == 0)
            status = pool->disk->flush(pool->disk);
        if (status < 0)
            return status;
    }
    return 0;
}

// Only the state changes; what else there is belongs to whoever made the pool. The txg in particular
// must not be newer than that of the configuration among the pool's objects.
int label_write(struct zfs_pool *pool) {
    uint8_t *region = zfs_services->allocate(LABEL_NVLIST_SIZE);
    uint8_t *spare = zfs_services->allocate(LABEL_NVLIST_SIZE);
    struct nvlist config;
    int status = -ENOMEM;
    if (region == NULL || spare == NULL)
        goto out;
    status = best_config(pool, &region, &spare, &config);
    if (status < 0)
        goto out;
    status = nvlist_set_u64(&config, "state", pool->state) ? 0 : -EINVAL;
    if (status == 0)
        status = write_torn(pool, region, spare);
    if (status == 0)
        status = write_configs(pool, region);
out:
    if (region != NULL)
        zfs_services->free(region, LABEL_NVLIST_SIZE);
    if (spare != NULL)
        zfs_services->free(spare, LABEL_NVLIST_SIZE);
    return status;
}

int label_create(struct zfs_pool *pool) {
    uint8_t *region = zfs_services->allocate(LABEL_NVLIST_SIZE);
    if (region == NULL)
        return -ENOMEM;
    size_t room = LABEL_NVLIST_SIZE - sizeof(struct zio_eck);
    int status =
        config_make(pool, region, room, false) == 0 ? -EINVAL : write_configs(pool, region);
    zfs_services->free(region, LABEL_NVLIST_SIZE);
    return status;
}

int label_erase(struct zfs_pool *pool) {
    uint8_t *zeros = zfs_services->allocate(LABEL_SIZE);
    int status = zeros == NULL ? -ENOMEM : 0;
    for (unsigned label = 0; label < LABELS && status == 0; label++)
        status =
            pool->disk->write(pool->disk, label_offset(pool->labels, label), zeros, LABEL_SIZE);
    if (zeros != NULL)
        zfs_services->free(zeros, LABEL_SIZE);
    return status < 0 ? status : pool->disk->flush(pool->disk);
}

static int write_active(struct zfs_pool *pool) {
    uint64_t before = pool->state;
    if (before == POOL_ACTIVE)
        return 0;
    pool->state = POOL_ACTIVE;
    int status = label_write(pool);
    if (status < 0)
        pool->state = before;
    return status;
}

static int write_uberblock(struct zfs_pool *pool, struct uberblock *new, uint8_t *region) {
    size_t size = (size_t)1 << slot_shift(pool);
    unsigned slot = (unsigned)(pool->txg % (LABEL_UBERBLOCKS_SIZE >> slot_shift(pool)));
    memcpy(region, new, sizeof(*new));
    for (unsigned label = 0; label < LABELS; label++) {
        uint64_t offset = slot_offset(pool, label, slot);
        uint64_t verifier[4] = {offset};
        checksum_embedded_write(region, size, verifier);
        int status = pool->disk->write(pool->disk, offset, region, size);
        if (status < 0)
            return status;
    }
    return pool->disk->flush(pool->disk);
}

// When this fails for another reason than memory, nobody can tell which group is durable: nothing
// more may be written.
int uberblock_write(struct zfs_pool *pool) {
    size_t size = (size_t)1 << slot_shift(pool);
    uint8_t *region = zfs_services->allocate(size);
    if (region == NULL)
        return -ENOMEM;
    struct uberblock new = pool->uberblock;
    new.txg = pool->txg;
    new.timestamp = zfs_services->now() / 1000000000;
    new.rootbp = pool->root;
    int status = gather_flush(pool);
    if (status == 0)
        status = pool->disk->flush(pool->disk);
    if (status == 0)
        status = write_active(pool);
    if (status == 0)
        status = write_uberblock(pool, &new, region);
    if (status == 0)
        pool->uberblock = new;
    else if (status != -ENOMEM)
        pool->failed = status;
    zfs_services->free(region, size);
    return status;
}
