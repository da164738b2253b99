// Mounts: which filesystem hangs where in the one tree of names.
//
// Invariant: exactly one mount covers nothing and is the root of all names; every other mount
// covers a directory (vnode->covered_by points back), or has no place and lives on only as long
// as somebody uses its files. All of it is guarded by the names' lock.

#include "vnode.h"

#include "block.h"

static struct mutex names = MUTEX(names, "names");
// Taken before the names by who unmounts, and by who syncs, for which the names are not locked.
static struct mutex staying = MUTEX(staying, "mounts");
static struct list mounts = LIST(mounts);
static struct vnode *root;
static u64 next_id = 2;

// What can be mounted. Modules add to it, and nothing is ever taken away.
static const struct filesystem *filesystems[16] = {&ramfs, &devfs, &procfs, &sysfs, &rofs};
static size_t filesystem_count = 5;
static bool on_disks; // there are some that write to disks

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
    on_disks |= filesystem->sync != NULL;
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
static int mount_make(const struct mount_wish *wish, struct mount **out) {
    const struct filesystem *filesystem = filesystem_find(wish->type);
    if (filesystem == NULL) {
        say_unknown(wish->type);
        return -ENODEV;
    }
    struct block_device *device = NULL;
    int status = filesystem->needs_device ? device_for(wish->device, &device) : 0;
    if (status < 0) {
        debug("mount: there is no block device %s\n", wish->device);
        return status;
    }
    struct mount *mount = kzalloc(sizeof(*mount));
    if (mount == NULL)
        return -ENOMEM;
    list_init(&mount->link);
    mount->filesystem = filesystem;
    mount->read_only = wish->read_only;
    mount->options = wish->options;
    mount->device = kstrdup(wish->device);
    mount->id = next_id++;
    status = mount->device == NULL ? -ENOMEM : filesystem->mount(mount, device);
    if (status < 0) {
        mount_free(mount);
        return status;
    }
    mount->options = NULL;
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

static int mount_locked(const struct mount_wish *wish, char *path) {
    struct path at;
    int status = path_walk(root, path, WALK_FOLLOW, &at);
    if (status < 0)
        return status;
    struct mount *mount;
    status = vnode_is(at.vnode, S_IFDIR) ? mount_make(wish, &mount) : -ENOTDIR;
    if (status == 0) {
        list_append(&mounts, &mount->link);
        mount_attach(mount, at.vnode);
    }
    path_done(&at);
    return status;
}

int mount_at(const struct mount_wish *wish, const char *path) {
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    format_string(text, PATH_MAX, "%s", path);
    debug("VFS: mounting %s at %s\n", wish->type, path);
    names_lock();
    int status = mount_locked(wish, text);
    names_unlock();
    path_text_free(text);
    return status;
}

// Takes over the reference. What is still to be written holds its vnodes until it is.
static int remove_locked(struct vnode *vnode) {
    struct mount *mount = vnode->mount;
    bool here = mount != NULL && mount->root == vnode;
    int status = here && mount->filesystem->sync != NULL ? mount->filesystem->sync(mount) : 0;
    bool busy = here && (vnode == root || covers_something(mount) || mount_busy(mount, 1));
    vnode_put(vnode);
    if (!here || busy)
        return here ? -EBUSY : -EINVAL; // nothing is mounted here
    mount_destroy(mount);
    return status;
}

int mount_remove(const char *path) {
    debug("VFS: unmounting %s\n", path);
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    format_string(text, PATH_MAX, "%s", path);
    mutex_lock(&staying);
    names_lock();
    struct path at;
    int status = path_walk(root, text, WALK_FOLLOW, &at);
    if (status == 0) {
        struct vnode *vnode = at.vnode;
        at.vnode = NULL;
        path_done(&at);
        status = remove_locked(vnode);
    }
    names_unlock();
    mutex_unlock(&staying);
    path_text_free(text);
    return status;
}

// Puts a filesystem under all names. What was the root has no place until mount_place gives it one.
int mount_root(const struct mount_wish *wish) {
    debug("VFS: mounting %s at /\n", wish->type);
    names_lock();
    struct mount *mount;
    int status = mount_make(wish, &mount);
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
    mutex_lock(&staying);
    names_lock();
    if (!covers_something(mount) && !mount_busy(mount, 0))
        mount_destroy(mount);
    names_unlock();
    mutex_unlock(&staying);
}

// The mount with the next number that has something to sync; it does not go while mounts stay.
static struct mount *next_to_sync(u64 after) {
    struct mount *next = NULL;
    names_lock();
    LIST_EACH(&mounts, mount, struct mount, link)
    if (mount->id > after && mount->filesystem->sync != NULL && (!next || mount->id < next->id))
        next = mount;
    names_unlock();
    return next;
}

int mounts_sync(void) {
    int status = 0;
    mutex_lock(&staying);
    for (struct mount *mount = next_to_sync(0); mount != NULL; mount = next_to_sync(mount->id)) {
        int error = mount->filesystem->sync(mount);
        status = status < 0 ? status : error;
    }
    mutex_unlock(&staying);
    return status;
}

bool files_to_finish(void) {
    return on_disks && next_to_sync(0) != NULL;
}

bool mounts_write_back(void) {
    return files_to_finish() && mounts_sync() == 0;
}

// At the end: everything nobody uses any more, the youngest first, like umount -a. What is in use,
// as the root is, is left as if it had been unmounted.
void mounts_unmount_all(void) {
    char name[128];
    mutex_lock(&staying);
    names_lock();
    for (struct list *at = mounts.previous, *before; at != &mounts; at = before) {
        before = at->previous;
        struct mount *mount = CONTAINER_OF(at, struct mount, link);
        debug("VFS: unmounting %s\n", vnode_path(mount->root, name, sizeof(name)));
        if (mount->filesystem->sync != NULL)
            mount->filesystem->sync(mount);
        if (mount->root != root && !covers_something(mount) && !mount_busy(mount, 0))
            mount_destroy(mount);
        else if (mount->filesystem->finish != NULL)
            mount->filesystem->finish(mount);
    }
    names_unlock();
    mutex_unlock(&staying);
}
