// Mounts: which filesystem hangs where in the one tree of names.
//
// Invariant: exactly one mount covers nothing and is the root of all names; every other mount
// covers a directory (vnode->covered_by points back), or lost its place in a pivot and lives on
// only as long as somebody uses its files. All of it is guarded by the names' lock.

#include "vnode.h"

#include "block.h"

static struct mutex names = MUTEX(names, "names");
static struct list mounts = LIST(mounts);
static struct vnode *root;
static u64 next_id = 2;

static const struct filesystem *const filesystems[] = {&ramfs, &devfs, &procfs, &sysfs, &rofs};

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

static const struct filesystem *filesystem_find(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(filesystems); i++)
        if (strcmp(filesystems[i]->name, name) == 0)
            return filesystems[i];
    return NULL;
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
        kprintf("mount: no filesystem \"%s\" in this kernel (there are: ramfs devfs procfs sysfs "
                "rofs)%s\n",
                type,
                strcmp(type, "zfs") == 0 ? "; zfs comes as a module, which is not loaded" : "");
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
    struct path at = {0};
    if (root != NULL) {
        int status = path_walk(root, path, WALK_FOLLOW, &at);
        if (status < 0)
            return status;
        if (!vnode_is(at.vnode, S_IFDIR)) {
            path_done(&at);
            return -ENOTDIR;
        }
    }
    struct mount *mount;
    int status = mount_make(type, device, read_only, &mount);
    if (status == 0) {
        list_append(&mounts, &mount->link);
        if (root == NULL)
            root = mount->root;
        else
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

// Finds the mount whose root a path names.
static struct mount *mount_named(const char *path) {
    struct vnode *vnode;
    char text[64];
    format_string(text, sizeof(text), "%s", path);
    struct path at;
    if (path_walk(root, text, WALK_NO_LINKS, &at) < 0)
        return NULL;
    vnode = at.vnode;
    struct mount *mount = vnode->mount->root == vnode ? vnode->mount : NULL;
    path_done(&at);
    return mount;
}

// The mounts of the old root move to the directories of the same name in the new one, so that
// /dev, with the console that is open there, is never gone. Those without a place are let go
// when nobody uses them, or stay without a name.
static void move_mounts(struct mount *old, struct mount *new) {
    LIST_EACH_SAFE(&mounts, mount, struct mount, link) {
        if (mount == new || mount->covers == NULL || mount->covers->mount != old)
            continue;
        char name[64];
        vnode_path(mount->root, name, sizeof(name));
        debug("VFS: unmounting %s\n", name);
        struct path at;
        char text[64];
        memcpy(text, name, sizeof(text));
        mount_detach(mount);
        if (path_walk(new->root, text + 1, WALK_NO_LINKS, &at) == 0) {
            if (vnode_is(at.vnode, S_IFDIR)) {
                debug("VFS: mounting %s at %s\n", mount->filesystem->name, name);
                mount_attach(mount, at.vnode);
            }
            path_done(&at);
        }
        if (mount->covers == NULL && !mount_busy(mount, 0))
            mount_destroy(mount);
    }
}

// Makes the filesystem mounted at `path` the root of all names.
int mount_pivot(const char *path) {
    names_lock();
    struct mount *new = mount_named(path), *old = root->mount;
    if (new == NULL || new == old) {
        names_unlock();
        return -EINVAL;
    }
    struct vnode *old_root = root;
    mount_detach(new);
    root = new->root;
    move_mounts(old, new);
    files_replace_root(old_root, new->root);
    if (!mount_busy(old, 0))
        mount_destroy(old);
    else
        debug("VFS: the old root is still in use\n");
    names_unlock();
    return 0;
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
