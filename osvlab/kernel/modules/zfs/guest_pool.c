// Pools that are imported.
//
// Invariant: a pool is on the list as long as something of it is mounted. It is exported when the
// last of its mounts is gone, or has been told that the end has come; from then on nothing is
// written. After a crash it is found as it was at the last sync, and active.

#include "guest.h"

// --- Entering and leaving

int guest_enter(struct guest_mount *mount) {
    core->mutex_lock(&mount->pool->lock);
    if (mount->dataset != NULL)
        return 0;
    core->mutex_unlock(&mount->pool->lock);
    return -EIO; // finished
}

void guest_leave(struct guest_mount *mount) {
    core->mutex_unlock(&mount->pool->lock);
}

// --- Writing to the disk

int guest_failed(struct guest_pool *pool, int error) {
    if (pool->error < 0)
        return pool->error;
    pool->error = error;
    core->kprintf("[zfs] writing to %s failed, error = %d: pool %s is read-only from now on\n",
                  pool->disk.device->name, -error, zfs_pool_name(pool->zfs));
    LIST_EACH(&pool->mounts, mount, struct guest_mount, link)
    mount->mount->read_only = true;
    return error;
}

int guest_commit(struct guest_pool *pool, bool always) {
    if (pool->error < 0)
        return pool->error;
    if (!always && !zfs_needs_sync(pool->zfs))
        return 0;
    int status = zfs_sync(pool->zfs);
    pool->room = pool->given = 0; // to be looked at again
    if (status == -ENOMEM || status == -ENOSPC)
        return status; // nothing is lost: the group is tried again
    return status < 0 ? guest_failed(pool, status) : 0;
}

int guest_keep_bound(struct guest_pool *pool) {
    bool much = zfs_dirty_bytes(pool->zfs) > guest_dirty_bound() * PAGE_SIZE;
    return much ? guest_commit(pool, true) : 0;
}

bool guest_again(struct guest_pool *pool, int status, bool *tried) {
    if (*tried || (status != -ENOSPC && status != -ENOMEM))
        return false;
    *tried = true;
    status = guest_commit(pool, true);
    zfs_trim(pool->zfs);
    return status == 0;
}

// All there is, and what of it is not promised yet.
static u64 find_room(struct guest_mount *mount, u64 *all) {
    struct guest_pool *pool = mount->pool;
    u64 promised = pool->given + __atomic_load_n(&pool->promised, __ATOMIC_RELAXED);
    if (pool->room == 0 && guest_enter(mount) == 0) {
        struct zfs_space space;
        zfs_space(mount->dataset, &space);
        u64 kept = space.total / 32; // copies of blocks that point, and what is free only later
        pool->room = MAX(space.free - MIN(space.free, kept), 1UL);
        guest_leave(mount);
    }
    *all = pool->room;
    return *all - MIN(*all, promised);
}

bool guest_room(struct guest_mount *mount, u64 bytes) {
    u64 all;
    if (find_room(mount, &all) > bytes)
        return true;
    return all > bytes && guest_sync(mount->pool) == 0 && find_room(mount, &all) > bytes;
}

// --- Import and export

static struct guest_pool *pool_on(const struct block_device *device) {
    LIST_EACH(&guest_pools, pool, struct guest_pool, link)
    if (pool->disk.device == device)
        return pool;
    return NULL;
}

bool guest_pool_is(const struct guest_pool *pool, const char *dataset) {
    const char *name = zfs_pool_name(pool->zfs);
    size_t length = strcspn(dataset, "/@");
    return strlen(name) == length && memcmp(name, dataset, length) == 0;
}

void guest_pool_miss(const struct guest_pool *pool, const char *dataset) {
    core->kprintf("[zfs] no pool %.*s on %s: it is called %s\n", (int)strcspn(dataset, "/@"),
                  dataset, pool->disk.device->name, zfs_pool_name(pool->zfs));
}

static struct guest_pool *pool_named(const char *dataset) {
    LIST_EACH(&guest_pools, pool, struct guest_pool, link)
    if (guest_pool_is(pool, dataset))
        return pool;
    if (list_empty(&guest_pools))
        core->kprintf("[zfs] no pool for %s: mount a disk that has it first\n", dataset);
    LIST_EACH(&guest_pools, pool, struct guest_pool, link)
    guest_pool_miss(pool, dataset);
    return NULL;
}

void guest_pool_free(struct guest_pool *pool) {
    core->memory_unmap(pool->run);
    core->kfree(pool->pages);
    core->kfree((void *)pool->disk.zfs.path);
    core->kfree(pool);
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = core->kzalloc(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

static struct guest_pool *new_pool(const char *path) {
    struct guest_pool *pool = core->kzalloc(sizeof(*pool));
    if (pool == NULL)
        return NULL;
    list_init(&pool->link);
    list_init(&pool->mounts);
    core->mutex_init(&pool->lock, "zfs pool");
    pool->disk.zfs.path = copy_text(path);
    pool->run = core->memory_map(RUN_SIZE);
    pool->pages = core->kzalloc(RUN_PAGES * sizeof(struct page *));
    if (pool->disk.zfs.path != NULL && pool->run != NULL && pool->pages != NULL)
        return pool;
    guest_pool_free(pool);
    return NULL;
}

static int import(struct guest_pool *pool, bool read_only) {
    const struct block_device *device = pool->disk.device;
    unsigned flags = read_only || device->read_only ? ZFS_READ_ONLY : 0;
    int status = zfs_import(&pool->disk.zfs, 1, flags, &pool->zfs);
    if (status < 0)
        return status;
    if (device->read_only && !read_only)
        core->kprintf("[zfs] pool %s can only be read: so can disk %s\n", zfs_pool_name(pool->zfs),
                      device->name);
    status = zfs_read_only_reason(pool->zfs) != NULL ? 0 : guest_sync_start();
    if (status < 0)
        zfs_abandon(pool->zfs);
    return status;
}

static int open_device(const char *path, bool read_only, struct guest_pool **out) {
    struct guest_pool *pool = new_pool(path);
    if (pool == NULL)
        return -ENOMEM;
    int status = guest_disk_open(&pool->disk, pool->disk.zfs.path);
    *out = status == 0 ? pool_on(pool->disk.device) : NULL;
    if (status == 0 && *out == NULL) {
        status = import(pool, read_only);
        if (status == 0) {
            guest_mounts_change(pool);
            list_append(&guest_pools, &pool->link);
            guest_mounts_changed(pool);
            *out = pool;
            return 0;
        }
    }
    if (status < 0)
        core->kprintf("[zfs] no pool on %s, error = %d\n", path, -status);
    guest_pool_free(pool);
    return status;
}

int guest_pool_open(const char *source, bool read_only, struct guest_pool **out) {
    if (source[0] == '/')
        return open_device(source, read_only, out);
    *out = pool_named(source);
    return *out == NULL ? -ENOENT : 0;
}

void guest_pool_export(struct guest_pool *pool) {
    guest_mounts_change(pool);
    list_remove(&pool->link);
    bool whole = pool->error == 0 && zfs_read_only_reason(pool->zfs) == NULL;
    int status = whole ? zfs_export(pool->zfs) : 0;
    if (!whole)
        zfs_abandon(pool->zfs);
    else if (status < 0)
        core->kprintf("[zfs] the pool on %s could not be exported, error = %d\n",
                      pool->disk.device->name, -status);
    pool->zfs = NULL;
    guest_mounts_changed(pool);
}
