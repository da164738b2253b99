// ramfs: a filesystem that is nothing but vnodes in memory. This file is the tree of names.
//
// Invariant: an entry holds one reference to its vnode, and every vnode one to the directory it
// was last named in. vnode.links counts entries (for a directory: its own, ".", and its
// children's ".."), and a vnode whose entries are gone lives on while it is open.

#include "ramfs.h"

static u64 next_inode = 2;

// --- Entries ---

static u32 hash_name(const char *name, size_t length) {
    u32 hash = 2166136261U; // FNV-1a
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (u8)name[i]) * 16777619U;
    return hash;
}

static struct ramfs_entry *entry_find(struct ramfs_node *directory, const char *name,
                                      size_t length) {
    if (directory->bucket_count == 0)
        return NULL;
    u32 hash = hash_name(name, length);
    struct ramfs_entry *entry = directory->buckets[hash % directory->bucket_count];
    while (entry != NULL && (entry->hash != hash || entry->length != length ||
                             memcmp(entry->name, name, length) != 0))
        entry = entry->chain;
    return entry;
}

static void entry_chain(struct ramfs_node *directory, struct ramfs_entry *entry) {
    struct ramfs_entry **bucket = &directory->buckets[entry->hash % directory->bucket_count];
    entry->chain = *bucket;
    *bucket = entry;
}

// Keeps the chains short. Without memory for it they only get longer.
static int grow_buckets(struct ramfs_node *directory) {
    if (directory->entry_count < directory->bucket_count)
        return 0;
    size_t count = directory->bucket_count == 0 ? 8 : directory->bucket_count * 2;
    struct ramfs_entry **buckets = kzalloc(count * sizeof(buckets[0]));
    if (buckets == NULL)
        return directory->bucket_count == 0 ? -ENOSPC : 0;
    kfree(directory->buckets);
    directory->buckets = buckets;
    directory->bucket_count = count;
    LIST_EACH(&directory->entries, entry, struct ramfs_entry, link)
    entry_chain(directory, entry);
    return 0;
}

static size_t entry_size(size_t length) {
    return sizeof(struct ramfs_entry) + length + 1;
}

static int entry_add(struct ramfs_node *directory, const char *name, size_t length,
                     struct vnode *vnode) {
    if (directory->vnode.links == 0)
        return -ENOENT; // the directory was removed while somebody stood in it
    struct ramfs_entry *entry = ramfs_allocate_object(entry_size(length));
    if (entry == NULL)
        return -ENOSPC;
    int status = grow_buckets(directory);
    if (status == 0)
        status = vnode_set_name(vnode, &directory->vnode, name, length);
    if (status < 0) {
        ramfs_free_object(entry, entry_size(length));
        return status;
    }
    memcpy(entry->name, name, length);
    entry->length = (u16)length;
    entry->hash = hash_name(name, length);
    entry->cookie = ++directory->next_cookie + 1; // 0 and 1 are "." and ".."
    entry->vnode = vnode;
    vnode_get(vnode);
    list_append(&directory->entries, &entry->link);
    entry_chain(directory, entry);
    directory->entry_count++;
    directory->vnode.size += 32;
    vnode_touch(&directory->vnode);
    return 0;
}

static void entry_remove(struct ramfs_node *directory, struct ramfs_entry *entry) {
    struct ramfs_entry **at = &directory->buckets[entry->hash % directory->bucket_count];
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    list_remove(&entry->link);
    directory->entry_count--;
    directory->vnode.size -= 32;
    vnode_touch(&directory->vnode);
    vnode_put(entry->vnode);
    ramfs_free_object(entry, entry_size(entry->length));
}

// --- Operations ---

struct vnode *ramfs_make(struct mount *mount, u32 mode, u64 device) {
    struct ramfs_node *node = ramfs_allocate_object(sizeof(*node));
    if (node == NULL)
        return NULL;
    u64 inode = __atomic_fetch_add(&next_inode, 1, __ATOMIC_RELAXED);
    vnode_init(&node->vnode, mount, inode, mode, &ramfs_operations, &ramfs_file_operations);
    node->vnode.device = device;
    node->vnode.links = 0;
    if (vnode_is(&node->vnode, S_IFDIR))
        list_init(&node->entries);
    return vnode_insert(&node->vnode);
}

static int ramfs_lookup(struct vnode *directory, const char *name, size_t length,
                        struct vnode **out) {
    struct ramfs_entry *entry = entry_find(ramfs_node(directory), name, length);
    if (entry == NULL)
        return -ENOENT;
    vnode_get(entry->vnode);
    *out = entry->vnode;
    return 0;
}

static int ramfs_read_directory(struct vnode *directory, u64 position,
                                struct directory_reader *reader) {
    LIST_EACH(&ramfs_node(directory)->entries, entry, struct ramfs_entry, link) {
        if (entry->cookie < position)
            continue;
        if (!reader->entry(reader, entry->cookie + 1, entry->vnode->inode, entry->vnode->mode,
                           entry->name, entry->length))
            break;
    }
    return 0;
}

static int ramfs_create(struct vnode *directory, const char *name, size_t length, u32 mode,
                        u64 device, struct vnode **out) {
    struct vnode *vnode = ramfs_make(directory->mount, mode, device);
    if (vnode == NULL)
        return -ENOSPC;
    int status = entry_add(ramfs_node(directory), name, length, vnode);
    if (status < 0) {
        vnode_put(vnode);
        return status;
    }
    vnode->links = vnode_is(vnode, S_IFDIR) ? 2 : 1;
    directory->links += vnode_is(vnode, S_IFDIR);
    *out = vnode;
    return 0;
}

static int ramfs_symlink(struct vnode *directory, const char *name, size_t length,
                         const char *target) {
    size_t size = strlen(target);
    char *copy = ramfs_allocate_object(size + 1);
    if (copy == NULL)
        return -ENOSPC;
    memcpy(copy, target, size);
    struct vnode *vnode;
    int status = ramfs_create(directory, name, length, S_IFLNK | 0777, 0, &vnode);
    if (status < 0) {
        ramfs_free_object(copy, size + 1);
        return status;
    }
    ramfs_node(vnode)->target = copy;
    vnode->size = size;
    vnode_put(vnode);
    return 0;
}

static int ramfs_link(struct vnode *directory, const char *name, size_t length,
                      struct vnode *vnode) {
    int status = entry_add(ramfs_node(directory), name, length, vnode);
    if (status == 0) {
        vnode->links++;
        vnode->changed = clock_realtime();
    }
    return status;
}

// The link counts once an entry of `vnode` in `directory` is gone.
static void uncount(struct vnode *directory, struct vnode *vnode) {
    vnode->changed = clock_realtime();
    if (vnode_is(vnode, S_IFDIR)) {
        vnode->links = 0;
        directory->links--;
    } else {
        vnode->links--;
    }
}

static int ramfs_remove(struct vnode *directory, const char *name, size_t length,
                        struct vnode *victim) {
    if (vnode_is(victim, S_IFDIR) && ramfs_node(victim)->entry_count > 0)
        return -ENOTEMPTY;
    uncount(directory, victim);
    struct ramfs_node *node = ramfs_node(directory);
    entry_remove(node, entry_find(node, name, length));
    return 0;
}

static void move_parent_count(struct vnode *moved, struct vnode *from, struct vnode *to) {
    if (vnode_is(moved, S_IFDIR)) {
        from->links--;
        to->links++;
    }
}

static int ramfs_exchange(struct ramfs_entry *one, struct vnode *one_directory,
                          struct ramfs_entry *two, struct vnode *two_directory) {
    int status = vnode_set_name(one->vnode, two_directory, two->name, two->length);
    if (status == 0)
        status = vnode_set_name(two->vnode, one_directory, one->name, one->length);
    if (status < 0)
        return status;
    move_parent_count(one->vnode, one_directory, two_directory);
    move_parent_count(two->vnode, two_directory, one_directory);
    struct vnode *vnode = one->vnode;
    one->vnode = two->vnode;
    two->vnode = vnode;
    return 0;
}

static int ramfs_rename(struct vnode *from, const char *old_name, size_t old_length,
                        struct vnode *moved, struct vnode *to, const char *new_name,
                        size_t new_length, struct vnode *replaced, bool both) {
    struct ramfs_entry *entry = entry_find(ramfs_node(from), old_name, old_length);
    if (both)
        return ramfs_exchange(entry, from, entry_find(ramfs_node(to), new_name, new_length), to);
    if (replaced != NULL) {
        if (vnode_is(replaced, S_IFDIR) && ramfs_node(replaced)->entry_count > 0)
            return -ENOTEMPTY;
        int status = vnode_set_name(moved, to, new_name, new_length);
        if (status < 0)
            return status;
        // The new name's entry changes its vnode, so that the name is never missing.
        struct ramfs_entry *target = entry_find(ramfs_node(to), new_name, new_length);
        uncount(to, replaced);
        vnode_get(moved);
        target->vnode = moved;
        vnode_put(replaced);
        vnode_touch(to);
    } else {
        int status = entry_add(ramfs_node(to), new_name, new_length, moved);
        if (status < 0)
            return status;
    }
    move_parent_count(moved, from, to);
    entry_remove(ramfs_node(from), entry);
    moved->changed = clock_realtime();
    return 0;
}

static long ramfs_read_link(struct vnode *vnode, char *out, size_t size) {
    size_t length = MIN(vnode->size, size);
    memcpy(out, ramfs_node(vnode)->target, length);
    return (long)length;
}

static void ramfs_release(struct vnode *vnode) {
    struct ramfs_node *node = ramfs_node(vnode);
    if (vnode_is(vnode, S_IFREG))
        ramfs_free_data(node);
    else if (vnode_is(vnode, S_IFLNK) && node->target != NULL)
        ramfs_free_object(node->target, vnode->size + 1);
    else if (vnode_is(vnode, S_IFDIR))
        kfree(node->buckets);
    ramfs_free_object(node, sizeof(*node));
}

const struct vnode_operations ramfs_operations = {
    .lookup = ramfs_lookup,
    .read_directory = ramfs_read_directory,
    .create = ramfs_create,
    .symlink = ramfs_symlink,
    .link = ramfs_link,
    .remove = ramfs_remove,
    .rename = ramfs_rename,
    .read_link = ramfs_read_link,
    .page = ramfs_page,
    .truncate = ramfs_truncate,
    .allocate = ramfs_allocate,
    .blocks = ramfs_blocks,
    .release = ramfs_release,
};

// --- The filesystem ---

int ramfs_mount(struct mount *mount, struct block_device *device) {
    (void)device;
    mount->root = ramfs_make(mount, S_IFDIR | 0777, 0);
    if (mount->root == NULL)
        return -ENOMEM;
    mount->root->links = 2;
    return 0;
}

// The references to a vnode that do not come from the tree itself: its entries refer to it, and
// it refers to its parent. (Counted with the child, so single values may wrap; the sum is right.)
static u64 outside_references(struct vnode *vnode) {
    u64 entries =
        vnode_is(vnode, S_IFDIR) ? vnode->parent != NULL && vnode->links > 0 : vnode->links;
    return vnode->references - entries - (vnode->parent != NULL);
}

bool ramfs_busy(struct mount *mount, u32 ours) {
    return vnodes_sum(mount, outside_references) > 1 + ours;
}

// Empties every directory, deepest first, without recursion: down to a leaf directory, then up.
void ramfs_clear(struct mount *mount) {
    struct vnode *directory = mount->root;
    while (directory != NULL) {
        struct ramfs_node *node = ramfs_node(directory);
        struct ramfs_entry *entry = LIST_FIRST(&node->entries, struct ramfs_entry, link);
        if (entry == NULL) {
            directory = directory == mount->root ? NULL : directory->parent;
        } else if (vnode_is(entry->vnode, S_IFDIR) && ramfs_node(entry->vnode)->entry_count > 0) {
            directory = entry->vnode;
        } else {
            entry_remove(node, entry);
        }
    }
}

const struct filesystem ramfs = {
    .name = "ramfs",
    .magic = 0x858458F6,
    .mount = ramfs_mount,
    .busy = ramfs_busy,
    .clear = ramfs_clear,
    .statistics = ramfs_statistics,
};
