// Names: what the kernel asks of a directory, passed on to ZFS. All of it runs with the kernel's
// names locked, so two of these never run at once.

#include "guest.h"

// A damaged pool could let a directory be its own ancestor, or be in two places; whoever walks the
// tree would never come to an end.
static int check_place(struct vnode *directory, struct vnode *child) {
    if (!vnode_is(child, S_IFDIR))
        return 0;
    bool wrong = child->parent != directory;
    for (struct vnode *v = directory; v != NULL; v = v->parent)
        wrong |= v == child;
    if (wrong)
        core->kprintf("[zfs] directory object %lu is in two places\n", child->inode);
    return wrong ? -EIO : 0;
}

// The vnode of an object that was found under a name, or has just been made there.
static int named_node(struct vnode *directory, const char *name, size_t length, u64 object,
                      struct vnode **out) {
    int status = guest_node_get(directory->mount, object, out);
    if (status == 0 && (*out)->parent == NULL && *out != directory->mount->root)
        status = core->vnode_set_name(*out, directory, name, length);
    else if (status < 0)
        return status;
    if (status == 0)
        status = check_place(directory, *out);
    return status;
}

int guest_lookup(struct vnode *directory, const char *name, size_t length, struct vnode **out) {
    struct guest_mount *mount = guest_mount_of(directory);
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    uint64_t object;
    *out = NULL;
    status = zfs_lookup(mount->dataset, directory->inode, name, length, &object);
    if (status == 0)
        status = named_node(directory, name, length, object, out);
    guest_leave(mount);
    if (status < 0 && *out != NULL)
        core->vnode_put(*out);
    return status;
}

// The kernel's positions begin at 2, for "." and ".."; types are what is above the mode's twelve bits.
struct listing {
    struct zfs_reader zfs;
    struct directory_reader *reader;
};

static bool list_entry(struct zfs_reader *self, uint64_t next, uint64_t object, uint32_t type,
                       const char *name, size_t length) {
    struct listing *listing = CONTAINER_OF(self, struct listing, zfs);
    return listing->reader->entry(listing->reader, next + 2, object, type << 12, name, length);
}

int guest_read_directory(struct vnode *directory, u64 position, struct directory_reader *reader) {
    struct guest_mount *mount = guest_mount_of(directory);
    struct listing listing = {.zfs = {list_entry}, .reader = reader};
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    status = zfs_read_directory(mount->dataset, directory->inode, position - 2, &listing.zfs);
    guest_leave(mount);
    return status;
}

// Before a change of names: with the pool locked, and with memory for it.
static int begin(struct guest_mount *mount) {
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    guest_forget(mount);
    guest_keep_bound(mount->pool);
    return 0;
}

// A file that was removed to make room may still be in the hands of who writes it back: its blocks
// are free after that, and syncing waits for it.
static bool again_synced(struct guest_mount *mount, int status, bool *synced) {
    if (*synced || status != -ENOSPC)
        return false;
    *synced = true;
    return guest_sync(mount->pool) == 0;
}

static int try_to_create(struct vnode *directory, const char *name, size_t length,
                         const struct zfs_new *new, struct vnode **out) {
    struct guest_mount *mount = guest_mount_of(directory);
    if (directory->links == 0)
        return -ENOENT; // it was removed while somebody stood in it
    int status = begin(mount);
    if (status < 0)
        return status;
    bool tried = false;
    uint64_t object;
    *out = NULL;
    do
        status = zfs_create(mount->dataset, directory->inode, name, length, new, &object);
    while (guest_again(mount->pool, status, &tried));
    if (status == 0) {
        status = named_node(directory, name, length, object, out);
        guest_refresh(directory);
    }
    guest_leave(mount);
    if (status < 0 && *out != NULL)
        core->vnode_put(*out);
    return status;
}

static int create(struct vnode *directory, const char *name, size_t length,
                  const struct zfs_new *new, struct vnode **out) {
    bool synced = false;
    int status;
    do
        status = try_to_create(directory, name, length, new, out);
    while (again_synced(guest_mount_of(directory), status, &synced));
    return status;
}

int guest_create(struct vnode *directory, const char *name, size_t length, u32 mode, u64 device,
                 struct vnode **out) {
    struct zfs_new new = {.mode = mode, .device = device};
    return create(directory, name, length, &new, out);
}

int guest_symlink(struct vnode *directory, const char *name, size_t length, const char *target) {
    struct zfs_new new = {.mode = S_IFLNK | 0777, .target = target};
    struct vnode *vnode;
    int status = create(directory, name, length, &new, &vnode);
    if (status == 0)
        core->vnode_put(vnode);
    return status;
}

static int try_to_link(struct vnode *directory, const char *name, size_t length,
                       struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(directory);
    if (directory->links == 0 || vnode->links == 0)
        return -ENOENT;
    int status = begin(mount);
    if (status < 0)
        return status;
    bool tried = false;
    do
        status = zfs_link(mount->dataset, directory->inode, name, length, vnode->inode);
    while (guest_again(mount->pool, status, &tried));
    if (status == 0) {
        guest_refresh(vnode);
        guest_refresh(directory);
    }
    guest_leave(mount);
    return status;
}

int guest_link(struct vnode *directory, const char *name, size_t length, struct vnode *vnode) {
    bool synced = false;
    int status;
    do
        status = try_to_link(directory, name, length, vnode);
    while (again_synced(guest_mount_of(directory), status, &synced));
    return status;
}

// A name of `vnode` is gone. The object stays until nobody has the vnode any more.
static void lost_name(struct vnode *vnode) {
    if (vnode_is(vnode, S_IFDIR) || vnode->links <= 1) {
        vnode->links = 0;
        node_of(vnode)->orphan = true;
    } else {
        vnode->links--;
    }
    vnode->changed = core->clock_realtime();
}

// If nobody has it open, what it holds need not be written any more.
static void drop_unseen(struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct node *node = node_of(vnode);
    u64 flags = core->spin_lock(&mount->lock);
    // One reference is the caller's, one the list's; with the names locked there is no way to another.
    bool unseen = node->orphan && !list_empty(&node->link) && vnode->references == 2;
    if (unseen)
        list_remove(&node->link);
    core->spin_unlock(&mount->lock, flags);
    if (unseen) {
        guest_cut(vnode, 0, guest_pages_in(vnode->size));
        core->vnode_put(vnode);
    }
}

int guest_remove(struct vnode *directory, const char *name, size_t length, struct vnode *victim) {
    struct guest_mount *mount = guest_mount_of(directory);
    int status = begin(mount);
    if (status < 0)
        return status;
    bool tried = false;
    do
        status = zfs_remove(mount->dataset, directory->inode, name, length, true);
    while (guest_again(mount->pool, status, &tried));
    if (status == 0) {
        lost_name(victim);
        guest_refresh(directory);
    }
    guest_leave(mount);
    if (status == 0)
        drop_unseen(victim);
    return status;
}

static int try_to_rename(struct vnode *from, const char *old_name, size_t old_length,
                         struct vnode *moved, struct vnode *to, const char *new_name,
                         size_t new_length, struct vnode *replaced) {
    struct guest_mount *mount = guest_mount_of(from);
    if (to->links == 0)
        return -ENOENT;
    int status = begin(mount);
    if (status < 0)
        return status;
    bool tried = false;
    do
        status = zfs_rename(mount->dataset, from->inode, old_name, old_length, to->inode, new_name,
                            new_length, replaced != NULL);
    while (guest_again(mount->pool, status, &tried));
    if (status == 0) {
        if (replaced != NULL)
            lost_name(replaced);
        guest_refresh(from);
        guest_refresh(to);
        moved->changed = core->clock_realtime();
    }
    guest_leave(mount);
    return status;
}

int guest_rename(struct vnode *from, const char *old_name, size_t old_length, struct vnode *moved,
                 struct vnode *to, const char *new_name, size_t new_length, struct vnode *replaced,
                 bool exchange) {
    bool synced = false;
    int status;
    if (exchange)
        return -EINVAL; // as Linux says of a filesystem that cannot
    do
        status =
            try_to_rename(from, old_name, old_length, moved, to, new_name, new_length, replaced);
    while (again_synced(guest_mount_of(from), status, &synced));
    if (status == 0 && replaced != NULL)
        drop_unseen(replaced);
    // Without memory the vnode keeps its old name, which only messages show; a directory must not.
    if (status == 0 && core->vnode_set_name(moved, to, new_name, new_length) < 0 && from != to)
        core->kprintf("[zfs] no memory to note that object %lu was moved\n", moved->inode);
    return status;
}
