// Syncing: what is dirty goes to ZFS, and a transaction group to the disk.
//
// One thread does it for all pools every few seconds; a writer who is faster than the disk, sync(2)
// and unmounting do it themselves. Whoever syncs keeps the lists of pools and mounts as they are, so
// that a mount is not taken away while its nodes are written.

#include "guest.h"

#define INTERVAL (5 * SECOND)

struct list guest_pools = LIST(guest_pools);
static struct mutex syncing = MUTEX(syncing, "zfs sync");

void guest_mounts_change(struct guest_pool *pool) {
    core->mutex_lock(&syncing);
    core->mutex_lock(&pool->lock);
}

void guest_mounts_changed(struct guest_pool *pool) {
    core->mutex_unlock(&pool->lock);
    core->mutex_unlock(&syncing);
}

u64 guest_dirty_bound(void) {
    static u64 bound; // it takes a while to find out
    struct memory_statistics memory;
    if (bound == 0) {
        core->memory_statistics(&memory);
        bound = memory.total / (memory.total < 256UL << 20 ? 16 : 8) / PAGE_SIZE;
    }
    return bound;
}

static void write_back_all(struct guest_mount *mount) {
    for (struct node *node; (node = guest_next_dirty(mount)) != NULL;) {
        guest_write_back(node);
        core->vnode_put(&node->vnode);
    }
}

// Gives memory back while there is little of it. The pool is locked.
static void trim(struct guest_pool *pool) {
    struct memory_statistics memory;
    core->memory_statistics(&memory);
    if (memory.free + memory.cache < memory.total / 8)
        zfs_trim(pool->zfs);
}

// What was promised before is kept then, or told to be lost.
static int sync_locked(struct guest_pool *pool) {
    u64 promised = __atomic_load_n(&pool->promised, __ATOMIC_RELAXED);
    LIST_EACH(&pool->mounts, mount, struct guest_mount, link)
    write_back_all(mount);
    core->mutex_lock(&pool->lock);
    int status = -EIO;
    if (pool->zfs != NULL) {
        LIST_EACH(&pool->mounts, mount, struct guest_mount, link)
        if (mount->dataset != NULL)
            guest_forget(mount);
        status = guest_commit(pool, false);
        trim(pool);
    }
    __atomic_sub_fetch(&pool->promised, promised, __ATOMIC_RELAXED);
    core->mutex_unlock(&pool->lock);
    return status;
}

int guest_sync(struct guest_pool *pool) {
    core->mutex_lock(&syncing);
    int status = sync_locked(pool);
    core->mutex_unlock(&syncing);
    return status;
}

static void sync_now_and_then(void *unused) {
    (void)unused;
    for (;;) {
        core->wait_sleep(core->clock_monotonic() + INTERVAL, false);
        core->area_collect_dirty(NULL);
        core->mutex_lock(&syncing);
        LIST_EACH(&guest_pools, pool, struct guest_pool, link)
        sync_locked(pool);
        core->mutex_unlock(&syncing);
    }
}

int guest_sync_start(void) {
    static bool started; // with the names locked
    if (!started)
        started = core->thread_start("zfs-sync", sync_now_and_then, NULL) != NULL;
    return started ? 0 : -ENOMEM;
}
