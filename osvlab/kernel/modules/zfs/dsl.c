// The tree of datasets: directories by name, the dataset each shows, and inherited properties.
//
// Specified in: "ZFS On-Disk Specification", chapter 4 (DSL).

#include "dataset.h"

int dsl_hold(struct zfs_pool *pool, uint64_t number, uint8_t type, struct object **out) {
    uint16_t length = type == TYPE_DSL_DIR ? sizeof(struct dsl_dir) : sizeof(struct dsl_dataset);
    int error = object_hold(pool->mos, number, out);
    if (error == 0 && ((*out)->dnode.bonus_type != type || (*out)->dnode.bonus_length < length)) {
        object_put(*out);
        *out = NULL; // whoever cleans up puts what there is
        error = -ENOENT;
    }
    if (error != -ENOENT)
        return error;
    zfs_report("object %lu of the pool is not a %s", number,
               type == TYPE_DSL_DIR ? "directory of datasets" : "dataset");
    return -EIO;
}

// --- Names

static int child(struct zfs_pool *pool, uint64_t *directory, const char *name, unsigned length) {
    struct object *object, *children;
    int error = dsl_hold(pool, *directory, TYPE_DSL_DIR, &object);
    if (error < 0)
        return error;
    error = object_hold(pool->mos, dsl_dir(object)->children, &children);
    if (error == 0) {
        error = zap_get(children, name, length, 8, 1, directory);
        object_put(children);
    }
    object_put(object);
    return error;
}

int dsl_find_directory(struct zfs_pool *pool, const char *name, size_t length,
                       uint64_t *directory) {
    const char *end = name + length;
    size_t first = strlen(pool->name);
    if (length < first || memcmp(name, pool->name, first) != 0 ||
        (length > first && name[first] != '/'))
        return -ENOENT;
    int error = zap_lookup(pool->mos, 1, "root_dataset", 8, 1, directory);
    name += first;
    for (unsigned depth = 0; error == 0 && name < end; depth++) {
        const char *part = ++name; // behind the slash
        while (name < end && *name != '/')
            name++;
        if (name == part || name - part > ZAP_NAME_MAX || depth == DSL_DEPTH_MAX)
            return -ENOENT;
        error = child(pool, directory, part, (unsigned)(name - part));
    }
    return error;
}

// The directory that stands for the MOS itself.
int dsl_find_mos(struct zfs_pool *pool, uint64_t *directory) {
    int error = zap_lookup(pool->mos, 1, "root_dataset", 8, 1, directory);
    return error < 0 ? error : child(pool, directory, "$MOS", 4);
}

static int snapshot_of(struct zfs_pool *pool, const char *name, uint64_t *dataset) {
    struct object *object;
    int error = dsl_hold(pool, *dataset, TYPE_DSL_DATASET, &object);
    if (error < 0)
        return error;
    error = zap_lookup(pool->mos, dsl_dataset(object)->snapshot_names, name, 8, 1, dataset);
    object_put(object);
    return error;
}

int dsl_find(struct zfs_pool *pool, const char *name, uint64_t *dataset) {
    struct object *object;
    uint64_t directory;
    size_t length = 0;
    while (name[length] != 0 && name[length] != '@')
        length++;
    int error = dsl_find_directory(pool, name, length, &directory);
    if (error == 0)
        error = dsl_hold(pool, directory, TYPE_DSL_DIR, &object);
    if (error < 0)
        return error;
    *dataset = dsl_dir(object)->head_dataset;
    object_put(object);
    if (*dataset == 0) // $MOS and $FREE show none
        return -ENOENT;
    return name[length] == '@' ? snapshot_of(pool, name + length + 1, dataset) : 0;
}

// --- Properties

int dsl_property(struct zfs_pool *pool, uint64_t directory, const char *name, uint64_t *value) {
    int error = -ENOENT;
    for (unsigned depth = 0; error == -ENOENT && directory != 0 && depth < DSL_DEPTH_MAX; depth++) {
        struct object *object;
        error = dsl_hold(pool, directory, TYPE_DSL_DIR, &object);
        if (error < 0)
            return error;
        uint64_t properties = dsl_dir(object)->properties;
        error = properties == 0 ? -ENOENT : zap_lookup(pool->mos, properties, name, 8, 1, value);
        directory = dsl_dir(object)->parent;
        object_put(object);
    }
    return error;
}
