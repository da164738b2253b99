// Vnodes of ZFS: one for each object that is in use.
//
// Invariant: a vnode's number is its object's. An object whose last name is gone stays, in the
// dataset's delete queue, until its vnode has been let go and the object forgotten; so its number
// never means anything else as long as somebody could still ask for it.

#include "guest.h"

#define USUAL_RUN 32U // pages: records of 128 KiB

// Pages that are worth reading and writing together. A file of one block may have it of any size.
static u32 run_of(const struct zfs_attributes *a) {
    if (a->size <= a->record)
        return USUAL_RUN;
    return (u32)MIN(MAX(a->record / PAGE_SIZE, 1UL), RUN_PAGES);
}

static void take_attributes(struct vnode *vnode, const struct zfs_attributes *a) {
    vnode->mode = a->mode;
    vnode->links = (u32)a->links;
    vnode->uid = a->owner;
    vnode->gid = a->group;
    vnode->accessed = a->accessed;
    vnode->changed = a->changed;
    if (!node_of(vnode)->touched)
        vnode->modified = a->modified;
}

// Of a regular file the size here is newer than ZFS's: what is dirty has not been written.
void guest_refresh(struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct zfs_attributes attributes;
    if (zfs_attributes(mount->dataset, vnode->inode, &attributes) < 0)
        return;
    take_attributes(vnode, &attributes);
    if (!vnode_is(vnode, S_IFREG))
        vnode->size = attributes.size;
}

int guest_node_get(struct mount *mount, u64 object, struct vnode **out) {
    *out = core->vnode_find(mount, object);
    if (*out != NULL)
        return 0;
    struct guest_mount *guest = mount->data;
    struct zfs_attributes attributes;
    int status = zfs_attributes(guest->dataset, object, &attributes);
    if (status < 0)
        return status;
    struct node *node = core->kzalloc(sizeof(*node));
    if (node == NULL)
        return -ENOMEM;
    core->vnode_init(&node->vnode, mount, object, attributes.mode, &guest_operations,
                     &guest_file_operations);
    node->link = (struct list)LIST(node->link);
    node->run = run_of(&attributes);
    node->promised = UINT64_MAX;
    node->vnode.size = attributes.size;
    node->vnode.device = attributes.device;
    take_attributes(&node->vnode, &attributes);
    *out = core->vnode_insert(&node->vnode);
    return 0;
}

// --- What is to be written

void guest_mark(struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct node *node = node_of(vnode);
    u64 flags = core->spin_lock(&mount->lock);
    node->touched = true;
    if (list_empty(&node->link)) {
        core->vnode_get(vnode);
        list_append(&mount->dirty, &node->link);
    }
    core->spin_unlock(&mount->lock, flags);
}

struct node *guest_next_dirty(struct guest_mount *mount) {
    u64 flags = core->spin_lock(&mount->lock);
    struct node *node = LIST_FIRST(&mount->dirty, struct node, link);
    if (node != NULL)
        list_remove(&node->link);
    core->spin_unlock(&mount->lock, flags);
    return node;
}

// --- The end of a vnode

// May not sleep, so an object that has to go is only noted.
static void guest_release(struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct node *node = node_of(vnode);
    if (!node->orphan) {
        core->kfree(node);
        return;
    }
    u64 flags = core->spin_lock(&mount->lock);
    list_append(&mount->orphans, &node->link);
    core->spin_unlock(&mount->lock, flags);
}

static struct node *next_orphan(struct guest_mount *mount) {
    u64 flags = core->spin_lock(&mount->lock);
    struct node *node = LIST_FIRST(&mount->orphans, struct node, link);
    if (node != NULL)
        list_remove(&node->link);
    core->spin_unlock(&mount->lock, flags);
    return node;
}

void guest_forget(struct guest_mount *mount) {
    for (struct node *node; (node = next_orphan(mount)) != NULL; core->kfree(node)) {
        guest_cut(&node->vnode, 0, guest_pages_in(node->vnode.size));
        bool tried = false;
        int status;
        do
            status = zfs_forget(mount->dataset, node->vnode.inode);
        while (guest_again(mount->pool, status, &tried));
        if (status < 0) // it stays in the delete queue, for whoever imports the pool next
            core->debug("[zfs] object %lu is not free yet, error = %d\n", node->vnode.inode,
                        -status);
    }
}

// --- Attributes

static long guest_read_link(struct vnode *vnode, char *out, size_t size) {
    struct guest_mount *mount = guest_mount_of(vnode);
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    long length = zfs_read_link(mount->dataset, vnode->inode, out, size);
    guest_leave(mount);
    return length;
}

int guest_set(struct guest_mount *mount, u64 object, unsigned which,
              const struct zfs_attributes *values) {
    bool tried = false;
    int status;
    do
        status = zfs_set_attributes(mount->dataset, object, which, values);
    while (guest_again(mount->pool, status, &tried));
    return status;
}

static int guest_changed(struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct zfs_attributes values = {.mode = vnode->mode,
                                    .owner = vnode->uid,
                                    .group = vnode->gid,
                                    .accessed = vnode->accessed,
                                    .modified = vnode->modified};
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    status = guest_set(mount, vnode->inode,
                       ZFS_SET_MODE | ZFS_SET_OWNER | ZFS_SET_GROUP | ZFS_SET_ACCESSED |
                           ZFS_SET_MODIFIED,
                       &values);
    guest_leave(mount);
    return status;
}

static u64 guest_blocks(struct vnode *vnode) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct zfs_attributes attributes = {.stored = 0};
    if (guest_enter(mount) == 0) {
        if (zfs_attributes(mount->dataset, vnode->inode, &attributes) < 0)
            attributes.stored = 0;
        guest_leave(mount);
    }
    return attributes.stored / 512;
}

// --- Sync and holes

static int guest_sync_node(struct vnode *vnode, bool data_only) {
    struct guest_mount *mount = guest_mount_of(vnode);
    struct node *node = node_of(vnode);
    (void)data_only; // a transaction group has both
    guest_write_back(node);
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    status = guest_commit(mount->pool, false);
    guest_leave(mount);
    int error = __atomic_exchange_n(&node->error, 0, __ATOMIC_RELAXED);
    return error < 0 ? error : status;
}

static int guest_seek(struct vnode *vnode, u64 *offset, bool hole) {
    struct guest_mount *mount = guest_mount_of(vnode);
    guest_write_back(node_of(vnode));
    int status = guest_enter(mount);
    if (status < 0)
        return status;
    uint64_t at = *offset;
    status = zfs_seek_data(mount->dataset, vnode->inode, &at, hole);
    guest_leave(mount);
    *offset = at;
    return status;
}

const struct vnode_operations guest_operations = {
    .lookup = guest_lookup,
    .read_directory = guest_read_directory,
    .create = guest_create,
    .symlink = guest_symlink,
    .link = guest_link,
    .remove = guest_remove,
    .rename = guest_rename,
    .read_link = guest_read_link,
    .page = guest_page,
    .truncate = guest_truncate,
    .allocate = guest_allocate,
    .blocks = guest_blocks,
    .seek = guest_seek,
    .changed = guest_changed,
    .sync = guest_sync_node,
    .dirtied = guest_dirtied,
    .release = guest_release,
};
