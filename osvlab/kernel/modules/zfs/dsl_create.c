// Making datasets: the objects of the MOS that stand for one, and an empty tree of files.
//
// Every dataset of files is a clone of $ORIGIN@$ORIGIN, an empty snapshot that comes before all.
// Nothing is linked to what is there before all objects of a new dataset have been made, and they
// are freed again when one of them cannot be.
//
// Specified in: "ZFS On-Disk Specification", chapter 4; OpenZFS, dsl_dataset.c, dsl_pool.c, zfs_znode.c
// (zfs_create_fs).

#include "dataset.h"

#define DEADLISTS_VERSION 26 // from which on deadlists are tables, and clones listed
#define NEW_MAX 12

// The objects that were made so far.
struct making {
    struct zfs_pool *pool;
    uint64_t objects[NEW_MAX];
    unsigned count;
};

static int made(struct making *making, int error, uint64_t number) {
    if (error == 0)
        making->objects[making->count++] = number;
    return error;
}

static void unmake(struct making *making) {
    while (making->count > 0)
        object_free(making->pool->mos, making->objects[--making->count]);
}

static int make_table(struct making *making, uint8_t type, uint64_t *number) {
    int error = zap_create(making->pool->mos, type, number);
    return made(making, error, *number);
}

static int make_object(struct making *making, uint8_t type, uint32_t block_size, uint8_t bonus_type,
                       uint16_t bonus_length, struct object **out) {
    int error = object_allocate(making->pool->mos, type, block_size, bonus_type, bonus_length, out);
    return made(making, error, error == 0 ? (*out)->number : 0);
}

static uint64_t seconds(void) {
    return zfs_services->now() / 1000000000;
}

// --- Directories

static int make_directory(struct making *making, uint64_t parent, uint64_t *number) {
    uint64_t properties = 0, children = 0;
    struct object *object;
    int error = make_table(making, TYPE_DSL_PROPERTIES, &properties);
    if (error == 0)
        error = make_table(making, TYPE_DSL_CHILDREN, &children);
    if (error == 0)
        error = make_object(making, TYPE_DSL_DIR, 0, TYPE_DSL_DIR, sizeof(struct dsl_dir), &object);
    if (error < 0)
        return error;
    *number = object->number;
    *(struct dsl_dir *)object_change_bonus(object) = (struct dsl_dir){.created = seconds(),
                                                                      .parent = parent,
                                                                      .children = children,
                                                                      .properties = properties,
                                                                      .flags = 1};
    object_put(object);
    return 0;
}

static int link_directory(struct zfs_pool *pool, uint64_t parent, const char *name,
                          uint64_t number) {
    struct object *object;
    int error = dsl_hold(pool, parent, TYPE_DSL_DIR, &object);
    if (error < 0)
        return error;
    error = zap_add(pool->mos, dsl_dir(object)->children, name, 8, 1, &number);
    object_put(object);
    return error;
}

// --- Datasets

static int make_deadlist(struct making *making, uint64_t *number) {
    struct object *object;
    bool old = making->pool->version < DEADLISTS_VERSION;
    if (old) {
        int error = make_object(making, TYPE_BLOCK_POINTERS, BLOCK_MAX, TYPE_BLOCK_POINTERS_HEADER,
                                32, &object);
        if (error == 0) {
            *number = object->number;
            object_put(object);
        }
        return error;
    }
    int error = make_object(making, TYPE_BLOCK_POINTERS, BLOCK_MAX, TYPE_BLOCK_POINTERS_HEADER,
                            sizeof(struct bpobj_header), &object);
    if (error < 0)
        return error;
    uint64_t blocks = object->number;
    object_put(object);
    error = make_object(making, TYPE_DEADLIST, 0, TYPE_DEADLIST_HEADER,
                        sizeof(struct deadlist_header), &object);
    if (error < 0)
        return error;
    *number = object->number;
    error = zap_format(object);
    object_put(object);
    return error < 0 ? error : zap_add(making->pool->mos, *number, "0", 8, 1, &blocks);
}

static void new_guids(struct dsl_dataset *dataset) {
    zfs_services->random(&dataset->guid, sizeof(dataset->guid));
    zfs_services->random(&dataset->fsid, sizeof(dataset->fsid));
    dataset->fsid &= UINT64_MAX >> 8; // whose top byte others use
}

static int make_dataset(struct making *making, uint64_t directory, uint64_t previous,
                        uint64_t previous_txg, uint64_t *number) {
    struct dsl_dataset new = {.directory = directory,
                              .previous_snapshot = previous,
                              .previous_snapshot_txg = previous_txg,
                              .created = seconds(),
                              .created_txg = making->pool->txg,
                              .flags = 4};
    struct object *object;
    new_guids(&new);
    int error = make_table(making, TYPE_DSL_SNAPSHOT_NAMES, &new.snapshot_names);
    if (error == 0)
        error = make_deadlist(making, &new.deadlist);
    if (error == 0)
        error = make_object(making, TYPE_DSL_DATASET, 0, TYPE_DSL_DATASET, sizeof(new), &object);
    if (error < 0)
        return error;
    *number = object->number;
    *(struct dsl_dataset *)object_change_bonus(object) = new;
    object_put(object);
    return 0;
}

static int show_dataset(struct zfs_pool *pool, uint64_t directory, uint64_t dataset,
                        uint64_t origin) {
    struct object *object;
    int error = dsl_hold(pool, directory, TYPE_DSL_DIR, &object);
    if (error < 0)
        return error;
    struct dsl_dir *dir = object_change_bonus(object);
    dir->head_dataset = dataset;
    dir->origin = origin;
    object_put(object);
    return 0;
}

// --- $ORIGIN

static int find_origin(struct zfs_pool *pool, uint64_t *snapshot) {
    char name[sizeof(pool->name) + 32];
    memcpy(name, pool->name, strlen(pool->name) + 1);
    memcpy(name + strlen(name), "/$ORIGIN@$ORIGIN", sizeof("/$ORIGIN@$ORIGIN"));
    return dsl_find(pool, name, snapshot);
}

static int add_number(struct zfs_pool *pool, uint64_t table, uint64_t number) {
    char name[20];
    zap_number_name(number, name);
    return zap_add(pool->mos, table, name, 8, 1, &number);
}

// Enters a clone in its origin's list. The list stays when it was made for that.
static int list_clone(struct making *making, uint64_t *list, uint8_t type, uint64_t clone) {
    int error = *list == 0 ? zap_create(making->pool->mos, type, list) : 0;
    return error < 0 ? error : add_number(making->pool, *list, clone);
}

static int clone_of(struct making *making, struct object *origin, uint64_t clone) {
    struct zfs_pool *pool = making->pool;
    struct dsl_dataset *phys = object_change_bonus(origin);
    struct object *directory;
    int error = dsl_hold(pool, phys->directory, TYPE_DSL_DIR, &directory);
    if (error < 0)
        return error;
    error = list_clone(making, &phys->next_clones, TYPE_NEXT_CLONES, clone);
    if (error == 0 && pool->version >= DEADLISTS_VERSION) {
        struct dsl_dir *dir = object_change_bonus(directory);
        error = list_clone(making, &dir->clones, TYPE_DSL_CLONES, clone);
        if (error < 0) {
            char name[20];
            zap_number_name(clone, name);
            zap_remove(pool->mos, phys->next_clones, name);
        }
    }
    if (error == 0)
        phys->children++;
    object_put(directory);
    return error;
}

// The dataset $ORIGIN and its snapshot of the same name: both are empty.
static int make_origin(struct making *making, uint64_t root) {
    struct zfs_pool *pool = making->pool;
    uint64_t directory = 0, dataset = 0, snapshot = 0;
    struct object *head, *snap;
    int error = make_directory(making, root, &directory);
    if (error == 0)
        error = make_dataset(making, directory, 0, 0, &snapshot);
    making->count = 0; // a pool that cannot be made is not there at all
    if (error == 0)
        error = make_dataset(making, directory, snapshot, 1, &dataset);
    if (error == 0)
        error = dsl_hold(pool, dataset, TYPE_DSL_DATASET, &head);
    if (error < 0)
        return error;
    error = dsl_hold(pool, snapshot, TYPE_DSL_DATASET, &snap);
    if (error == 0) {
        struct dsl_dataset *phys = object_change_bonus(snap);
        object_free(pool->mos, phys->snapshot_names); // which only heads have
        phys->snapshot_names = 0;
        phys->next_snapshot = dataset;
        phys->children = 1;
        phys->created_txg = 1;
        error = zap_add(pool->mos, dsl_dataset(head)->snapshot_names, "$ORIGIN", 8, 1, &snapshot);
        object_put(snap);
    }
    object_put(head);
    if (error == 0)
        error = show_dataset(pool, directory, dataset, 0);
    return error < 0 ? error : link_directory(pool, root, "$ORIGIN", directory);
}

// --- An empty tree of files

static int make_files(struct zfs_dataset *dataset) {
    static const char *const zeros[] = {"normalization", "utf8only", "casesensitivity"};
    struct node_new root = {.mode = 040755};
    struct object_set *set = dataset->set;
    uint64_t master = 0, zero = 0;
    struct object *node;
    int error = zap_create(set, TYPE_MASTER_NODE, &master);
    dataset->version = dataset->pool->version >= 24 ? 5 : dataset->pool->version >= 15 ? 4 : 3;
    if (error == 0)
        error = zap_add(set, master, "VERSION", 8, 1, &dataset->version);
    for (unsigned i = 0; error == 0 && i < 3; i++)
        error = zap_add(set, master, zeros[i], 8, 1, &zero);
    if (error == 0)
        error = zap_create(set, TYPE_DELETE_QUEUE, &dataset->delete_queue);
    if (error == 0)
        error = zap_add(set, master, "DELETE_QUEUE", 8, 1, &dataset->delete_queue);
    if (error == 0 && dataset->version >= 5) {
        error = zap_create(set, TYPE_SA_MASTER_NODE, &dataset->sa.master);
        if (error == 0)
            error = zap_add(set, master, "SA_ATTRS", 8, 1, &dataset->sa.master);
    }
    if (error == 0)
        error = node_make(dataset, &root, &node);
    if (error < 0)
        return error;
    dataset->root = node->number;
    error = node_set(dataset, node, ATTRIBUTE_PARENT, node->number);
    object_put(node);
    return error < 0 ? error : zap_add(set, master, "ROOT", 8, 1, &dataset->root);
}

// --- Both

static int make_linked(struct making *making, struct object *origin, uint64_t parent,
                       const char *name) {
    struct zfs_pool *pool = making->pool;
    uint64_t directory = 0, number = 0;
    struct zfs_dataset *dataset;
    int error = parent == 0 ? zap_lookup(pool->mos, 1, "root_dataset", 8, 1, &directory)
                            : make_directory(making, parent, &directory);
    if (error == 0)
        error = make_dataset(making, directory, origin->number, dsl_dataset(origin)->created_txg,
                             &number);
    if (error == 0)
        error = show_dataset(pool, directory, number, origin->number);
    if (error == 0)
        error = dataset_new(pool, number, make_files, &dataset);
    if (error < 0)
        return error;
    error = clone_of(making, origin, number);
    if (error == 0 && parent != 0)
        error = link_directory(pool, parent, name, directory);
    if (error < 0)
        dataset_forget(dataset);
    return error;
}

// A dataset in the directory `parent`; 0: the pool's own.
static int create_in(struct zfs_pool *pool, uint64_t parent, const char *name) {
    struct making making = {.pool = pool};
    struct object *origin;
    uint64_t snapshot;
    int error = find_origin(pool, &snapshot);
    if (error == 0)
        error = dsl_hold(pool, snapshot, TYPE_DSL_DATASET, &origin);
    if (error < 0)
        return error;
    error = make_linked(&making, origin, parent, name);
    object_put(origin);
    if (error < 0)
        unmake(&making);
    return error;
}

int zfs_dataset_create(struct zfs_pool *pool, const char *name) {
    uint64_t parent, number;
    const char *last = strrchr(name, '/');
    if (pool->read_only != NULL)
        return -EROFS;
    if (last == NULL || last[1] == 0 || last[1] == '$' || strchr(name, '@') != NULL)
        return -EINVAL;
    if (strlen(name) > 255)
        return -ENAMETOOLONG;
    int error = dsl_find_directory(pool, name, strlen(name), &number);
    if (error != -ENOENT)
        return error == 0 ? -EEXIST : error;
    error = dsl_find_directory(pool, name, (size_t)(last - name), &parent);
    if (error == 0)
        error = object_space(pool->mos, 4ul << 20);
    return error < 0 ? error : create_in(pool, parent, last + 1);
}

// --- A pool's first datasets

static int special(struct making *making, uint64_t root, const char *name) {
    uint64_t directory = 0;
    int error = make_directory(making, root, &directory);
    making->count = 0;
    return error < 0 ? error : link_directory(making->pool, root, name, directory);
}

int dsl_create_pool(struct zfs_pool *pool, unsigned compression) {
    struct making making = {.pool = pool};
    uint64_t root = 0, value = compression;
    struct object *object;
    int error = make_directory(&making, 0, &root);
    making.count = 0;
    if (error == 0)
        error = zap_add(pool->mos, 1, "root_dataset", 8, 1, &root);
    if (error == 0)
        error = special(&making, root, "$MOS");
    if (error == 0 && pool->version >= DEADLISTS_VERSION)
        error = special(&making, root, "$FREE");
    if (error == 0)
        error = make_origin(&making, root);
    if (error == 0)
        error = create_in(pool, 0, NULL);
    if (error == 0)
        error = dsl_hold(pool, root, TYPE_DSL_DIR, &object);
    if (error < 0)
        return error;
    error = zap_add(pool->mos, dsl_dir(object)->properties, "compression", 8, 1, &value);
    object_put(object);
    return error;
}
