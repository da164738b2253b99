// A pool's configuration: a list of names and values, in its labels and in an object of its own.
//
// Invariant: what leaves config_parse fits the disk there is.
//
// Specified in: "ZFS On-Disk Specification" (2006), section 1.2.3; OpenZFS, spa_config.c.

#include <errno.h>
#include <string.h>

#include "label.h"

// --- Reading it

bool config_knows_feature(const char *name, size_t length) {
    static const char *const known[] = {"com.delphix:async_destroy", "com.delphix:empty_bpobj",
                                        "org.illumos:lz4_compress"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i]) == length && memcmp(known[i], name, length) == 0)
            return true;
    return false;
}

static int check_features(const struct nvlist *config) {
    struct nvlist features;
    struct nvpair pair;
    if (!nvlist_list(config, "features_for_read", &features))
        return 0;
    while (nvlist_next(&features, &pair)) {
        char name[100];
        size_t length = pair.name_length < sizeof(name) ? pair.name_length : sizeof(name) - 1;
        if (config_knows_feature(pair.name, pair.name_length))
            continue;
        memcpy(name, pair.name, length);
        name[length] = 0;
        zfs_report("the pool uses feature %s, which this kernel does not know", name);
        return -ENOTSUP;
    }
    return 0;
}

static int check_vdev(struct zfs_pool *pool, const struct nvlist *vdev) {
    struct labels *labels = pool->labels;
    char type[16] = "of no type";
    uint64_t metaslab_shift, ashift, log = 0;

    nvlist_string(vdev, "type", type, sizeof(type));
    nvlist_u64(vdev, "is_log", &log);
    if ((strcmp(type, "disk") != 0 && strcmp(type, "file") != 0) || log != 0) {
        zfs_report("pool %s: its vdev is %s; only single disks are known", pool->name,
                   log != 0 ? "a log device" : type);
        return -ENOTSUP;
    }
    if (!nvlist_u64(vdev, "metaslab_array", &labels->metaslab_array) ||
        !nvlist_u64(vdev, "metaslab_shift", &metaslab_shift) ||
        !nvlist_u64(vdev, "ashift", &ashift) || !nvlist_u64(vdev, "asize", &labels->asize)) {
        zfs_report("label of pool %s: vdev_tree is not complete", pool->name);
        return -EINVAL;
    }
    if (ashift < ASHIFT_MIN || ashift > ASHIFT_MAX || metaslab_shift < ashift + 3 ||
        metaslab_shift > 50 || labels->asize >> metaslab_shift == 0) {
        zfs_report("label of pool %s: ashift %lu, metaslab_shift %lu, asize %lu are impossible",
                   pool->name, ashift, metaslab_shift, labels->asize);
        return -EINVAL;
    }
    if (labels->asize > labels->size - VDEV_DATA - 2 * LABEL_SIZE) {
        zfs_report("pool %s: its disk was cut: %lu bytes are left, %lu of data were there",
                   pool->name, labels->size, labels->asize);
        return -EINVAL;
    }
    pool->ashift = (unsigned)ashift;
    labels->metaslab_shift = (unsigned)metaslab_shift;
    return 0;
}

int config_parse(struct zfs_pool *pool, const struct nvlist *config) {
    struct labels *labels = pool->labels;
    struct nvlist vdev;
    uint64_t children = 1;

    nvlist_u64(config, "vdev_children", &children);
    if (!nvlist_u64(config, "version", &pool->version) ||
        !nvlist_u64(config, "state", &pool->state) ||
        !nvlist_u64(config, "pool_guid", &pool->guid) ||
        !nvlist_u64(config, "guid", &labels->guid) ||
        !nvlist_string(config, "name", pool->name, sizeof(pool->name)) ||
        !nvlist_list(config, "vdev_tree", &vdev)) {
        zfs_report("label: the configuration is not complete");
        return -EINVAL;
    }
    if (pool->version != 5000 && (pool->version < 1 || pool->version > 28)) {
        zfs_report("pool %s has version %lu; 1 to 28 and 5000 are known", pool->name,
                   pool->version);
        return -ENOTSUP;
    }
    if (pool->state > POOL_EXPORTED) {
        zfs_report("pool %s was destroyed, or the disk is a spare or a cache", pool->name);
        return -ENXIO;
    }
    if (children != 1) {
        zfs_report("pool %s is made of %lu vdevs; only single disks are known", pool->name,
                   children);
        return -ENOTSUP;
    }
    labels->guid_sum = pool->guid + labels->guid;
    int status = check_features(config);
    return status < 0 ? status : check_vdev(pool, &vdev);
}

// --- Making it

static void write_vdev(const struct zfs_pool *pool, struct nvwriter *writer) {
    const struct labels *labels = pool->labels;
    nvwrite_string(writer, "type", "disk");
    nvwrite_u64(writer, "id", 0);
    nvwrite_u64(writer, "guid", labels->guid);
    nvwrite_string(writer, "path", pool->disk->path);
    nvwrite_u64(writer, "metaslab_array", labels->metaslab_array);
    nvwrite_u64(writer, "metaslab_shift", labels->metaslab_shift);
    nvwrite_u64(writer, "ashift", pool->ashift);
    nvwrite_u64(writer, "asize", labels->asize);
    nvwrite_u64(writer, "is_log", 0);
    nvwrite_u64(writer, "create_txg", pool->uberblock.txg != 0 ? pool->uberblock.txg : pool->txg);
}

static void write_tree(const struct zfs_pool *pool, struct nvwriter *writer, bool whole) {
    size_t tree = nvwrite_list(writer, "vdev_tree", NV_NVLIST);
    if (whole) {
        nvwrite_string(writer, "type", "root");
        nvwrite_u64(writer, "id", 0);
        nvwrite_u64(writer, "guid", pool->guid);
        size_t children = nvwrite_list(writer, "children", NV_NVLIST_ARRAY);
        write_vdev(pool, writer);
        nvwrite_end(writer, children);
    } else {
        write_vdev(pool, writer);
    }
    nvwrite_end(writer, tree);
}

size_t config_make(const struct zfs_pool *pool, void *region, size_t size, bool whole) {
    struct nvwriter writer;
    nvwrite_start(&writer, region, size);
    nvwrite_u64(&writer, "version", pool->version);
    nvwrite_string(&writer, "name", pool->name);
    nvwrite_u64(&writer, "state", pool->state);
    nvwrite_u64(&writer, "txg", pool->uberblock.txg != 0 ? pool->uberblock.txg : pool->txg);
    nvwrite_u64(&writer, "pool_guid", pool->guid);
    if (!whole) {
        nvwrite_u64(&writer, "top_guid", pool->labels->guid);
        nvwrite_u64(&writer, "guid", pool->labels->guid);
    }
    nvwrite_u64(&writer, "vdev_children", 1);
    write_tree(pool, &writer, whole);
    nvwrite_end(&writer, nvwrite_list(&writer, "features_for_read", NV_NVLIST));
    return nvwrite_finish(&writer) ? writer.used : 0;
}
