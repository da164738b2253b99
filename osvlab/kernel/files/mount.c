// Mounts: which filesystem hangs where in the one tree of names.
//
// Invariant: exactly one mount covers nothing and is the root of all names; every other mount
// covers a directory (vnode->covered_by points back), or has no place and lives on only as long
// as somebody uses its files. All of it is guarded by the names' lock.

#include "vnode.h"

#include "block.h"

static struct mutex names = MUTEX(names, "names");
static struct list mounts = LIST(mounts);
static struct vnode *root;
static u64 next_id = 2;

// What can be mounted. Modules add to it, and nothing is ever taken away.
static const struct filesystem *filesystems[16] = {&ramfs, &devfs, &procfs, &sysfs, &rofs};
static size_t filesystem_count = 5;

void names_lock(void) {
    mutex_lock(&names);
}

void names_unlock(void) {
    mutex_unlock(&names);
}

struct vnode *names_root(void) {
    return root;
}

// Mounts can be stacked: what counts is the top-most.
struct vnode *mount_cross(struct vnode *vnode) {
    while (vnode->covered_by != NULL) {
        struct vnode *above = vnode->covered_by->root;
        vnode_get(above);
        vnode_put(vnode);
        vnode = above;
    }
    return vnode;
}

void mounts_each(void (*visit)(struct mount *, void *), void *argument) {
    names_lock();
    LIST_EACH(&mounts, mount, struct mount, link)
    visit(mount, argument);
    names_unlock();
}

const struct filesystem *filesystem_each(size_t number) {
    return number < filesystem_count ? filesystems[number] : NULL;
}

static const struct filesystem *filesystem_find(const char *name) {
    for (size_t i = 0; i < filesystem_count; i++)
        if (strcmp(filesystems[i]->name, name) == 0)
            return filesystems[i];
    return NULL;
}

bool filesystem_known(const char *name) {
    return filesystem_find(name) != NULL;
}

int filesystem_register(const struct filesystem *filesystem) {
    names_lock();
    int status = filesystem_known(filesystem->name)            ? -EEXIST
                 : filesystem_count == ARRAY_SIZE(filesystems) ? -ENOSPC
                                                               : 0;
    if (status == 0)
        filesystems[filesystem_count++] = filesystem;
    names_unlock();
    return status;
}

static void say_unknown(const char *type) {
    kprintf("mount: no filesystem \"%s\" in this kernel (there are:", type);
    for (size_t i = 0; i < filesystem_count; i++)
        kprintf(" %s", filesystems[i]->name);
    kprintf(")%s\n",
            strcmp(type, "zfs") == 0 ? "; zfs comes as a module, which is not loaded" : "");
}

static int device_for(const char *name, struct block_device **out) {
    if (strncmp(name, "/dev/", 5) == 0)
        name += 5;
    *out = block_find(name);
    return *out == NULL ? -ENXIO : 0;
}

static void mount_free(struct mount *mount) {
    kfree(mount->device);
    kfree(mount);
}

// Makes the filesystem ready, not yet hung anywhere.
static int mount_make(const char *type, const char *device_name, bool read_only,
                      struct mount **out) {
    const struct filesystem *filesystem = filesystem_find(type);
    if (filesystem == NULL) {
        say_unknown(type);
        return -ENODEV;
    }
    struct block_device *device = NULL;
    int status = filesystem->needs_device ? device_for(device_name, &device) : 0;
    if (status < 0) {
        debug("mount: there is no block device %s\n", device_name);
        return status;
    }
    struct mount *mount = kzalloc(sizeof(*mount));
    if (mount == NULL)
        return -ENOMEM;
    list_init(&mount->link);
    mount->filesystem = filesystem;
    mount->read_only = read_only;
    mount->device = kstrdup(device_name);
    mount->id = next_id++;
    status = mount->device == NULL ? -ENOMEM : filesystem->mount(mount, device);
    if (status < 0) {
        mount_free(mount);
        return status;
    }
    *out = mount;
    return 0;
}

static u64 one(struct vnode *vnode) {
    (void)vnode;
    return 1;
}

// Does anybody use it? `ours` counts the references to the root that the caller itself holds.
static bool mount_busy(struct mount *mount, u32 ours) {
    if (mount->filesystem->busy != NULL)
        return mount->filesystem->busy(mount, ours);
    return vnodes_sum(mount, one) > 1 || mount->root->references > 1 + ours;
}

static bool covers_something(struct mount *below) {
    LIST_EACH(&mounts, mount, struct mount, link)
    if (mount->covers != NULL && mount->covers->mount == below)
        return true;
    return false;
}

static void mount_detach(struct mount *mount) {
    if (mount->covers == NULL)
        return;
    mount->covers->covered_by = NULL;
    vnode_put(mount->covers);
    mount->covers = NULL;
}

static void mount_attach(struct mount *mount, struct vnode *directory) {
    vnode_get(directory);
    mount->covers = directory;
    directory->covered_by = mount;
}

// Lets go of a mount that nobody uses.
static void mount_destroy(struct mount *mount) {
    mount_detach(mount);
    list_remove(&mount->link);
    if (mount->filesystem->clear != NULL)
        mount->filesystem->clear(mount);
    vnode_put(mount->root);
    if (mount->filesystem->unmount != NULL)
        mount->filesystem->unmount(mount);
    mount_free(mount);
}

static int mount_locked(const char *type, const char *device, char *path, bool read_only) {
    struct path at;
    int status = path_walk(root, path, WALK_FOLLOW, &at);
    if (status < 0)
        return status;
    struct mount *mount;
    status = vnode_is(at.vnode, S_IFDIR) ? mount_make(type, device, read_only, &mount) : -ENOTDIR;
    if (status == 0) {
        list_append(&mounts, &mount->link);
        mount_attach(mount, at.vnode);
    }
    path_done(&at);
    return status;
}

int mount_at(const char *type, const char *device, const char *path, bool read_only) {
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    format_string(text, PATH_MAX, "%s", path);
    debug("VFS: mounting %s at %s\n", type, path);
    names_lock();
    int status = mount_locked(type, device, text, read_only);
    names_unlock();
    path_text_free(text);
    return status;
}

static int remove_locked(struct vnode *vnode) {
    struct mount *mount = vnode->mount;
    if (mount == NULL || mount->root != vnode)
        return -EINVAL; // nothing is mounted here
    if (vnode == root || covers_something(mount) || mount_busy(mount, 1))
        return -EBUSY;
    vnode_put(vnode);
    mount_destroy(mount);
    return 0;
}

int mount_remove(const char *path) {
    debug("VFS: unmounting %s\n", path);
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    format_string(text, PATH_MAX, "%s", path);
    names_lock();
    struct path at;
    int status = path_walk(root, text, WALK_FOLLOW, &at);
    if (status == 0) {
        struct vnode *vnode = at.vnode;
        at.vnode = NULL;
        path_done(&at);
        status = remove_locked(vnode);
        if (status < 0)
            vnode_put(vnode);
    }
    names_unlock();
    path_text_free(text);
    return status;
}

// Puts a filesystem under all names. What was the root has no place until mount_place gives it one.
int mount_root(const char *type, const char *device, bool read_only) {
    debug("VFS: mounting %s at /\n", type);
    names_lock();
    struct mount *mount;
    int status = mount_make(type, device, read_only, &mount);
    if (status == 0) {
        struct vnode *old = root;
        list_prepend(&mounts, &mount->link); // first in /proc/mounts, last to be unmounted
        root = mount->root;
        if (old != NULL)
            files_replace_root(old, root);
    }
    names_unlock();
    return status;
}

// Hangs a mount, whatever place it had, at a directory, if there is one of that name.
void mount_place(struct mount *mount, const char *path) {
    char text[64];
    format_string(text, sizeof(text), "%s", path);
    names_lock();
    mount_detach(mount);
    struct path at;
    if (path_walk(root, text, WALK_FOLLOW, &at) == 0) {
        if (vnode_is(at.vnode, S_IFDIR))
            mount_attach(mount, at.vnode);
        path_done(&at);
    }
    names_unlock();
}

// Lets go of a mount that has no place, unless somebody still uses it.
void mount_drop(struct mount *mount) {
    names_lock();
    if (!covers_something(mount) && !mount_busy(mount, 0))
        mount_destroy(mount);
    names_unlock();
}

// At the end: everything nobody uses any more, the youngest first, like umount -a.
void mounts_unmount_all(void) {
    char name[128];
    names_lock();
    for (struct list *at = mounts.previous, *before; at != &mounts; at = before) {
        before = at->previous;
        struct mount *mount = CONTAINER_OF(at, struct mount, link);
        debug("VFS: unmounting %s\n", vnode_path(mount->root, name, sizeof(name)));
        if (mount->root != root && !covers_something(mount) && !mount_busy(mount, 0))
            mount_destroy(mount);
    }
    names_unlock();
}
