// ZFS, a filesystem as a module of the core: what is mounted, and where the module begins.
//
// A source is a device ("/dev/vblk0.1"), whose pool is imported, or the name of a dataset of a pool
// that is there already ("osv/data"). Which dataset of a device is meant is told by the mount's
// options, or else is the pool's root. Images of OSv before 2026 have all their files in a
// dataset called zfs below an empty root: there that is meant.

#include "guest.h"

const struct core_services *core;

// A directory called zfs does not count: it is where that dataset was mounted.
static bool found_something(struct zfs_reader *self, uint64_t next, uint64_t object, uint32_t type,
                            const char *name, size_t length) {
    (void)next, (void)object, (void)type;
    if (length == 3 && memcmp(name, "zfs", 3) == 0)
        return true;
    self->entry = NULL;
    return false;
}

static bool is_empty(struct zfs_dataset *dataset) {
    struct zfs_reader reader = {found_something};
    return zfs_read_directory(dataset, zfs_root(dataset), 0, &reader) == 0 && reader.entry != NULL;
}

#define NAME_SIZE 256

// The pool's root or, if all files are in the dataset "zfs" below it, that.
static int open_usual(struct zfs_pool *pool, char name[NAME_SIZE], struct zfs_dataset **out) {
    core->format_string(name, NAME_SIZE, "%s", zfs_pool_name(pool));
    int status = zfs_dataset_open(pool, name, out);
    if (status < 0 || !is_empty(*out))
        return status;
    struct zfs_dataset *below;
    core->format_string(name, NAME_SIZE, "%s/zfs", zfs_pool_name(pool));
    if (zfs_dataset_open(pool, name, &below) == 0) {
        if (!is_empty(below)) {
            zfs_dataset_close(*out);
            *out = below;
            core->kprintf("[zfs] %s holds the files, and is mounted instead of %s\n", name,
                          zfs_pool_name(pool));
            return 0;
        }
        zfs_dataset_close(below);
    }
    core->format_string(name, NAME_SIZE, "%s", zfs_pool_name(pool));
    return 0;
}

static int open_dataset(struct guest_mount *guest, char name[NAME_SIZE]) {
    struct mount *mount = guest->mount;
    struct zfs_pool *pool = guest->pool->zfs;
    bool by_name = mount->device[0] != '/';
    const char *wanted = by_name ? mount->device : mount->options;
    if (!by_name && (wanted == NULL || strcmp(wanted, zfs_pool_name(pool)) == 0))
        return open_usual(pool, name, &guest->dataset);
    core->format_string(name, NAME_SIZE, "%s", wanted);
    return zfs_dataset_open(pool, name, &guest->dataset);
}

// Two mounts of one dataset would each have pages of their own of the same files.
static bool is_mounted(struct guest_pool *pool, const char *name) {
    LIST_EACH(&pool->mounts, mount, struct guest_mount, link)
    if (mount->dataset != NULL && strcmp(mount->mount->device, name) == 0)
        return true;
    return false;
}

static char *copy_name(const char *name) {
    size_t size = strlen(name) + 1;
    char *copy = core->kzalloc(size);
    return copy == NULL ? NULL : memcpy(copy, name, size);
}

// With the pool locked and the dataset open.
static int mount_dataset(struct guest_mount *guest, const char *name) {
    struct mount *mount = guest->mount;
    if (is_mounted(guest->pool, name))
        return -EBUSY;
    char *copy = copy_name(name);
    if (copy == NULL)
        return -ENOMEM;
    mount->data = guest;
    const char *reason = zfs_dataset_read_only_reason(guest->dataset);
    if (reason != NULL && !mount->read_only && !list_empty(&guest->pool->mounts) &&
        reason == zfs_read_only_reason(guest->pool->zfs)) // else it has been said just now
        core->kprintf("[zfs] %s can only be read, as its pool: %s\n", name, reason);
    mount->read_only |= reason != NULL || guest->pool->error < 0;
    int status = guest_node_get(mount, zfs_root(guest->dataset), &mount->root);
    if (status < 0) {
        core->kfree(copy);
        return status;
    }
    core->kfree(mount->device); // what is shown is the dataset
    mount->device = copy;
    list_append(&guest->pool->mounts, &guest->link);
    return 0;
}

static int mount_from(struct guest_mount *guest) {
    struct guest_pool *pool = guest->pool;
    char name[NAME_SIZE];
    guest_mounts_change(pool);
    int status = open_dataset(guest, name);
    if (status == 0) {
        status = mount_dataset(guest, name);
        if (status < 0)
            zfs_dataset_close(guest->dataset);
    } else if (!guest_pool_is(pool, name)) {
        guest_pool_miss(pool, name);
    } else {
        core->kprintf("[zfs] no dataset %s in pool %s, error = %d\n", name,
                      zfs_pool_name(pool->zfs), -status);
    }
    guest_mounts_changed(pool);
    return status;
}

static int guest_mount(struct mount *mount, struct block_device *device) {
    (void)device;
    struct guest_mount *guest = core->kzalloc(sizeof(*guest));
    if (guest == NULL)
        return -ENOMEM;
    guest->mount = mount;
    guest->lock.name = "zfs nodes";
    list_init(&guest->link);
    list_init(&guest->dirty);
    list_init(&guest->orphans);
    int status = guest_pool_open(mount->device, mount->read_only, &guest->pool);
    if (status == 0 && (status = mount_from(guest)) < 0 && list_empty(&guest->pool->mounts)) {
        guest_pool_export(guest->pool);
        guest_pool_free(guest->pool);
    }
    if (status < 0)
        core->kfree(guest);
    return status;
}

static bool somebody_left(struct guest_pool *pool) {
    LIST_EACH(&pool->mounts, mount, struct guest_mount, link)
    if (mount->dataset != NULL)
        return true;
    return false;
}

// Nothing of the mount is written any more; the pool is exported with its last one.
static void leave(struct guest_mount *guest) {
    struct guest_pool *pool = guest->pool;
    guest_mounts_change(pool);
    guest_forget(guest);
    zfs_dataset_close(guest->dataset);
    guest->dataset = NULL;
    bool last = !somebody_left(pool);
    guest_mounts_changed(pool);
    if (last)
        guest_pool_export(pool);
}

static int guest_sync_mount(struct mount *mount) {
    struct guest_mount *guest = mount->data;
    return guest->dataset == NULL ? 0 : guest_sync(guest->pool);
}

static void guest_finish(struct mount *mount) {
    struct guest_mount *guest = mount->data;
    mount->read_only = true;
    guest_sync(guest->pool);
    leave(guest);
}

static void guest_unmount(struct mount *mount) {
    struct guest_mount *guest = mount->data;
    struct guest_pool *pool = guest->pool;
    if (guest->dataset != NULL)
        leave(guest);
    core->cache_cut(guest, CACHE_ALL, 0, 0);
    guest_mounts_change(pool);
    list_remove(&guest->link);
    guest_mounts_changed(pool);
    if (list_empty(&pool->mounts))
        guest_pool_free(pool);
    core->kfree(guest);
}

static void guest_statistics(struct mount *mount, struct statfs *out) {
    struct guest_mount *guest = mount->data;
    struct zfs_space space = {.total = 0};
    if (guest_enter(guest) == 0) {
        zfs_space(guest->dataset, &space);
        guest_leave(guest);
    }
    out->f_bsize = out->f_frsize = 512;
    out->f_blocks = space.total / 512;
    out->f_bfree = out->f_bavail = space.free / 512;
    out->f_files = space.files + space.free / 512;
    out->f_ffree = space.free / 512;
}

static const struct filesystem zfs = {
    .name = "zfs",
    .magic = 0x2FC12FC1,
    .mount = guest_mount,
    .unmount = guest_unmount,
    .statistics = guest_statistics,
    .sync = guest_sync_mount,
    .finish = guest_finish,
};

static struct zfs_services services;

static int start(const struct core_services *given) {
    core = given;
    struct memory_statistics memory;
    core->memory_statistics(&memory);
    services = guest_services;
    services.cache_bytes = memory.total / 16; // files' contents are in the page cache as well
    zfs_services = &services;
    return core->filesystem_register(&zfs);
}

extern const struct module osvlab_module;
__attribute__((visibility("default")))
const struct module osvlab_module = {.layout = MODULE_LAYOUT, .name = "zfs", .start = start};
