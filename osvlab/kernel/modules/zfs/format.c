// mkfs: an empty pool on a disk.
//
// What was on the disk before loses its labels first, and the new labels come last: a pool appears
// whole or not at all.
//
// Specified in: "ZFS On-Disk Specification" (2006), chapters 1 and 4.1; OpenZFS, spa.c (spa_create).

#include <errno.h>
#include <string.h>

#include "blocks.h"
#include "label.h"
#include "objects.h"

enum {
    TYPE_OBJECT_DIRECTORY = 1,
    TYPE_OBJECT_ARRAY = 2,
    TYPE_NVLIST = 3,
    TYPE_NVLIST_SIZE = 4,
    TYPE_BPOBJ = 5,
    TYPE_BPOBJ_HEADER = 6,
    TYPE_ZAP = 196,
    FIRST_TXG = 4,
    METASLABS = 200,
    METASLAB_SHIFT_MIN = 17,
    DIRECTORY = 1, // object
    OBJSET_TYPE_MOS = 1,
};
#define SIZE_MIN (64ul << 20)

static int check(const struct zfs_disk *disk, const struct zfs_format *format) {
    size_t length = strlen(format->name);
    char first = length > 0 ? (char)(format->name[0] | 32) : 0;
    bool right = first >= 'a' && first <= 'z' && length < 256;
    for (size_t i = 0; i < length; i++)
        right = right && format->name[i] > ' ' && format->name[i] != '/' && format->name[i] != '@';
    if (!right) {
        zfs_report("a pool cannot have the name \"%s\"", format->name);
        return -EINVAL;
    }
    if (format->ashift < ASHIFT_MIN || format->ashift > ASHIFT_MAX ||
        (format->compression != COMPRESS_OFF && format->compression != COMPRESS_LZ4)) {
        zfs_report("a pool of ashift %u with compression %u cannot be made", format->ashift,
                   format->compression);
        return -EINVAL;
    }
    if (disk->size < SIZE_MIN) {
        zfs_report("disk %s has %lu bytes; a pool needs %lu", disk->path, disk->size, SIZE_MIN);
        return -ENOSPC;
    }
    return 0;
}

static unsigned log2_of(uint64_t value) {
    return 63 - (unsigned)__builtin_clzl(value);
}

static uint64_t random_guid(void) {
    uint64_t guid = 0;
    while (guid == 0)
        zfs_services->random(&guid, sizeof(guid));
    return guid;
}

static void set_up(struct zfs_pool *pool, const struct zfs_format *format) {
    struct labels *labels = pool->labels;
    memcpy(pool->name, format->name, strlen(format->name));
    pool->guid = random_guid();
    pool->version = 5000;
    pool->ashift = format->ashift;
    pool->has_lz4 = format->compression == COMPRESS_LZ4;
    pool->txg = FIRST_TXG;
    pool->state = POOL_ACTIVE;
    labels->size = pool->disk->size & ~(uint64_t)(LABEL_SIZE - 1);
    labels->asize = labels->size - VDEV_DATA - 2 * LABEL_SIZE;
    labels->metaslab_shift = log2_of(labels->asize / METASLABS) + 1;
    if (labels->metaslab_shift < METASLAB_SHIFT_MIN)
        labels->metaslab_shift = METASLAB_SHIFT_MIN;
    labels->guid = random_guid();
    labels->guid_sum = pool->guid + labels->guid;
    pool->uberblock = (struct uberblock){.magic = UBERBLOCK_MAGIC,
                                         .version = pool->version,
                                         .guid_sum = labels->guid_sum,
                                         .software_version = pool->version};
}

static int add_number(struct zfs_pool *pool, uint64_t zap, const char *name, uint64_t value) {
    return zap_add(pool->mos, zap, name, 8, 1, &value);
}

static int add_object(struct zfs_pool *pool, const char *name, uint8_t type, uint32_t block_size,
                      uint8_t bonus_type, uint16_t bonus_length) {
    struct object *object;
    int status = object_allocate(pool->mos, type, block_size, bonus_type, bonus_length, &object);
    if (status < 0)
        return status;
    status = add_number(pool, DIRECTORY, name, object_number(object));
    object_put(object);
    return status;
}

static int make_metaslab_array(struct zfs_pool *pool) {
    struct object *array;
    int status = object_allocate(pool->mos, TYPE_OBJECT_ARRAY, 4096, 0, 0, &array);
    if (status < 0)
        return status;
    pool->labels->metaslab_array = object_number(array);
    object_put(array);
    return space_open(pool);
}

static int make_features(struct zfs_pool *pool) {
    static const char *const lists[] = {"features_for_read", "features_for_write",
                                        "feature_descriptions"};
    static const char lz4[] = "org.illumos:lz4_compress", about[] = "LZ4 compression algorithm.";
    uint64_t zaps[3];
    int status = 0;
    for (int i = 0; i < 3 && status == 0; i++) {
        status = zap_create(pool->mos, TYPE_ZAP, &zaps[i]);
        if (status == 0)
            status = add_number(pool, DIRECTORY, lists[i], zaps[i]);
    }
    if (status == 0 && pool->has_lz4)
        status = add_number(pool, zaps[0], lz4, 1);
    if (status == 0 && pool->has_lz4)
        status = zap_add(pool->mos, zaps[2], lz4, 1, sizeof(about), about);
    return status;
}

static int make_config(struct zfs_pool *pool) {
    static const uint32_t block = 16384;
    struct object *object;
    uint64_t number, size;
    int status = add_object(pool, "config", TYPE_NVLIST, block, TYPE_NVLIST_SIZE, sizeof(uint64_t));
    if (status == 0)
        status = zap_lookup(pool->mos, DIRECTORY, "config", 8, 1, &number);
    if (status == 0)
        status = object_hold(pool->mos, number, &object);
    if (status < 0)
        return status;
    uint8_t *config = zfs_services->allocate(block);
    uint64_t *bonus = object_change_bonus(object);
    status = config == NULL || bonus == NULL ? -ENOMEM : 0;
    if (status == 0) {
        *bonus = size = config_make(pool, config, block, true);
        status = size == 0 ? -EINVAL : object_write(object, 0, config, size);
    }
    if (config != NULL)
        zfs_services->free(config, block);
    object_put(object);
    return status;
}

static int make_objects(struct zfs_pool *pool, unsigned compression) {
    uint64_t directory = 0;
    int status = objset_create(pool, &pool->root, OBJSET_TYPE_MOS, &pool->mos);
    if (status == 0)
        status = zap_create(pool->mos, TYPE_OBJECT_DIRECTORY, &directory);
    if (status == 0 && directory != DIRECTORY)
        status = -EINVAL;
    if (status == 0)
        status = make_metaslab_array(pool);
    if (status == 0)
        status = add_object(pool, "sync_bplist", TYPE_BPOBJ, BLOCK_MAX, TYPE_BPOBJ_HEADER,
                            sizeof(struct bpobj_header));
    if (status == 0)
        status = add_object(pool, "free_bpobj", TYPE_BPOBJ, BLOCK_MAX, TYPE_BPOBJ_HEADER,
                            sizeof(struct bpobj_header));
    if (status == 0)
        status = add_number(pool, DIRECTORY, "deflate", 1);
    if (status == 0)
        status = add_number(pool, DIRECTORY, "creation_version", pool->version);
    if (status == 0)
        status = make_features(pool);
    if (status == 0)
        status = make_config(pool);
    return status < 0 ? status : dsl_create_pool(pool, compression);
}

int zfs_format(struct zfs_disk *disk, const struct zfs_format *format) {
    int status = check(disk, format);
    if (status < 0)
        return status;
    struct zfs_pool *pool = pool_make(disk);
    if (pool == NULL)
        return -ENOMEM;
    set_up(pool, format);
    status = label_erase(pool);
    if (status == 0)
        status = make_objects(pool, format->compression);
    if (status == 0)
        status = zfs_sync(pool);
    pool->state = POOL_EXPORTED;
    if (status == 0)
        status = label_create(pool);
    zfs_abandon(pool);
    return status;
}
