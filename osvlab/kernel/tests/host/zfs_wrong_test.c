// Pools in which one object is said to be another: an error, and nothing is let go of twice.
//
// zfs_wrong_test IMAGE

#include "check.h"
#include "dataset.h"
#include "metaslab.h"
#include "zfs_shim.h"

static struct file_disk disk;

static struct zfs_pool *open_pool(void) {
    struct zfs_pool *pool;
    CHECK(zfs_import(&disk.disk, 1, 0, &pool), 0);
    return pool;
}

static void close_pool(struct zfs_pool *pool) {
    zfs_abandon(pool);
    CHECK(shim_memory, 0);
}

// Names the object directory as what the pool's root shows.
static void test_a_dataset_that_is_none(void) {
    struct zfs_pool *pool = open_pool();
    struct zfs_dataset *dataset;
    struct object *object;
    uint64_t directory;
    CHECK(zap_lookup(pool->mos, 1, "root_dataset", 8, 1, &directory), 0);
    CHECK(dsl_hold(pool, directory, TYPE_DSL_DIR, &object), 0);
    ((struct dsl_dir *)object_change_bonus(object))->head_dataset = 1;
    object_put(object);
    CHECK(zfs_dataset_open(pool, zfs_pool_name(pool), &dataset), -EIO);
    CHECK(zfs_dataset_open(pool, zfs_pool_name(pool), &dataset), -EIO);
    close_pool(pool);
}

// Space that nobody can find out about is not there: a group that counted on it would have no end.
static void test_a_space_map_that_is_wrong(void) {
    struct zfs_pool *pool = open_pool();
    struct metaslab *first = &pool->space->metaslabs[0];
    uint64_t wrong = UINT64_MAX >> 1, unit = (uint64_t)1 << pool->ashift, offset;
    struct object *object;
    CHECK(first->taken == NULL && first->object != 0 && first->vacant > 0, true);
    CHECK(object_hold(pool->mos, first->object, &object), 0);
    CHECK(object_write(object, 0, &wrong, sizeof(wrong)), 0);
    object_put(object);
    while (space_allocate(pool, 0, unit, &offset) == 0)
        CHECK(offset < pool->space->units << pool->ashift, false);
    CHECK(first->broken, true);
    CHECK(pool->space->vacant, 0);
    CHECK(space_to_remove(pool), 0);
    close_pool(pool);
}

// A pool may say that it has more objects than could ever be looked at.
static void test_objects_that_are_nowhere(void) {
    struct zfs_pool *pool = open_pool();
    CHECK(object_grow(&pool->mos->meta, (uint64_t)1 << 40), 0);
    CHECK(zil_any_needs_play(pool), false);
    close_pool(pool);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    shim_start(1);
    file_disk_open(&disk, argv[1]);
    test_a_dataset_that_is_none();
    test_a_space_map_that_is_wrong();
    test_objects_that_are_nowhere();
    file_disk_close(&disk);
    return 0;
}
