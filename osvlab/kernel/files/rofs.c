// ROFS: mounting, looking up names, listing. The format is in rofs.h.
//
// Invariant: a vnode exists only for an inode whose every field has been checked: its number, its
// type, and that what it refers to lies inside the image. So reading a vnode needs no checks.

#include "bootfs.h"
#include "rofs.h"

// --- From inodes to vnodes ---

static const char *inode_problem(const struct rofs *rofs, const struct rofs_inode *inode,
                                 u64 number) {
    const struct rofs_superblock *super = &rofs->super;
    if (inode->number != number)
        return "has another number in it";
    switch ((u32)inode->mode & S_IFMT) {
    case S_IFREG: {
        u64 blocks = inode->count / ROFS_BLOCK + (inode->count % ROFS_BLOCK != 0);
        if (blocks > 0 && (inode->data_offset == 0 || blocks > super->structure_first_block ||
                           inode->data_offset > super->structure_first_block - blocks))
            return "has data outside of the data area";
        return NULL;
    }
    case S_IFDIR:
        if (inode->count > super->directory_entries ||
            inode->data_offset > super->directory_entries - inode->count)
            return "has entries outside of the directory entry table";
        return NULL;
    case S_IFLNK:
        return inode->data_offset < super->symlinks ? NULL
                                                    : "has its target outside of the symlink table";
    default:
        return "is of no known type";
    }
}

static const struct vnode_operations operations;

static struct vnode *make_vnode(struct mount *mount, const struct rofs_inode *inode) {
    struct rofs_vnode *node = kzalloc(sizeof(*node));
    if (node == NULL)
        return NULL;
    u32 type = (u32)inode->mode & S_IFMT;
    vnode_init(&node->vnode, mount, inode->number, type | (type == S_IFLNK ? 0777 : 0555),
               &operations, &rofs_file_operations);
    node->data_offset = inode->data_offset;
    node->count = inode->count;
    node->vnode.accessed = node->vnode.modified = node->vnode.changed =
        0;                 // the format has no times
    node->vnode.links = 1; // for a directory: "not counted", which programs know
    node->vnode.size = type == S_IFDIR ? inode->count * 32 : inode->count;
    if (type == S_IFLNK) {
        char *target = path_text();
        long length =
            target == NULL ? 0 : rofs_link_read(mount->data, inode->data_offset, target, PATH_MAX);
        node->vnode.size = (u64)MAX(length, 0L);
        path_text_free(target);
    }
    return &node->vnode;
}

// The vnode of an inode, found or made.
static int get_vnode(struct mount *mount, u64 number, struct vnode *parent,
                     const struct rofs_entry *entry, struct vnode **out) {
    *out = vnode_find(mount, number);
    if (*out != NULL)
        return 0;
    struct rofs_cursor cursor = {.rofs = mount->data};
    struct rofs_inode inode;
    int status = rofs_inode_read(&cursor, number, &inode);
    rofs_cursor_done(&cursor);
    if (status < 0)
        return status;
    const char *problem = inode_problem(mount->data, &inode, number);
    if (problem != NULL) {
        kprintf("[rofs] inode %lu %s\n", number, problem);
        return -EIO;
    }
    struct vnode *vnode = make_vnode(mount, &inode);
    if (vnode == NULL)
        return -ENOMEM;
    status = entry == NULL ? 0 : vnode_set_name(vnode, parent, entry->name, entry->length);
    if (status < 0) {
        vnode_put(vnode);
        return status;
    }
    *out = vnode_insert(vnode);
    return 0;
}

// --- Names ---

// A damaged image could let a directory be its own ancestor, or be in two places; whoever walks
// the tree would never come to an end.
static int check_place(struct vnode *directory, struct vnode *child) {
    if (!vnode_is(child, S_IFDIR))
        return 0;
    bool loop = child->parent != directory;
    for (struct vnode *v = directory; v != NULL; v = v->parent)
        loop |= v == child;
    if (loop)
        kprintf("[rofs] directory inode %lu is in two places\n", child->inode);
    return loop ? -EIO : 0;
}

static int rofs_lookup(struct vnode *directory, const char *name, size_t length,
                       struct vnode **out) {
    struct rofs_entry *entry = kzalloc(sizeof(*entry));
    if (entry == NULL)
        return -ENOMEM;
    int status = rofs_entry_find(rofs_of(directory), rofs_vnode(directory)->data_offset,
                                 rofs_vnode(directory)->count, name, length, entry);
    if (status == 0)
        status = get_vnode(directory->mount, entry->inode, directory, entry, out);
    kfree(entry);
    if (status < 0)
        return status;
    status = check_place(directory, *out);
    if (status < 0)
        vnode_put(*out);
    return status;
}

static int rofs_read_directory(struct vnode *directory, u64 position,
                               struct directory_reader *reader) {
    struct rofs_vnode *node = rofs_vnode(directory);
    struct rofs *rofs = rofs_of(directory);
    struct rofs_cursor entries = {.rofs = rofs}, inodes = {.rofs = rofs};
    struct rofs_entry *entry = kzalloc(sizeof(*entry));
    u64 offset = 0, i = position - 2;
    int status = entry == NULL ? -ENOMEM : 0;
    if (status == 0 && i < node->count)
        status = rofs_entry_offset(&entries, node->data_offset + i, &offset);
    for (; i < node->count && status == 0; i++) {
        struct rofs_inode inode;
        status = rofs_entry_read(&entries, offset, entry);
        if (status == 0)
            status = rofs_inode_read(&inodes, entry->inode, &inode);
        if (status == 0 && !reader->entry(reader, i + 3, entry->inode, (u32)inode.mode, entry->name,
                                          entry->length))
            break;
        offset = entry->next;
    }
    kfree(entry);
    rofs_cursor_done(&entries);
    rofs_cursor_done(&inodes);
    return status;
}

static long rofs_read_link(struct vnode *vnode, char *out, size_t size) {
    return rofs_link_read(rofs_of(vnode), rofs_vnode(vnode)->data_offset, out, size);
}

static void rofs_release(struct vnode *vnode) {
    kfree(rofs_vnode(vnode));
}

static const struct vnode_operations operations = {
    .lookup = rofs_lookup,
    .read_directory = rofs_read_directory,
    .read_link = rofs_read_link,
    .page = rofs_vnode_page,
    .release = rofs_release,
};

// --- The filesystem ---

static int check_superblock(const struct rofs_superblock *super, struct block_device *device) {
    if (super->magic != ROFS_MAGIC) {
        if (!bootfs_is_on(device)) // it may well hold an archive instead
            kprintf("[rofs] superblock: the magic number on %s is %lx, not %lx\n", device->name,
                    super->magic, ROFS_MAGIC);
        return -EINVAL;
    }
    if (super->version != ROFS_VERSION || super->block_size != ROFS_BLOCK) {
        kprintf("[rofs] superblock: version %lu with blocks of %lu bytes; this kernel reads "
                "version 1 with 512\n",
                super->version, super->block_size);
        return -EINVAL;
    }
    u64 end = device->sectors;
    if (super->structure_blocks == 0 || super->structure_first_block == 0 ||
        super->structure_first_block > end ||
        super->structure_blocks > end - super->structure_first_block) {
        kprintf("[rofs] superblock: the structure area is blocks %lu + %lu, but %s has %lu: the "
                "image is cut short "
                "or damaged\n",
                super->structure_first_block, super->structure_blocks, device->name, end);
        return -EINVAL;
    }
    return 0;
}

static int read_superblock(struct rofs *rofs) {
    u8 *block = kzalloc(ROFS_BLOCK);
    if (block == NULL)
        return -ENOMEM;
    int status = rofs->device->sectors == 0 ? -EINVAL : block_read(rofs->device, 0, block, 1);
    memcpy(&rofs->super, block, sizeof(rofs->super));
    kfree(block);
    if (status == 0)
        status = check_superblock(&rofs->super, rofs->device);
    rofs->structure_size = rofs->super.structure_blocks * ROFS_BLOCK;
    return status;
}

static void free_rofs(struct rofs *rofs) {
    cache_forget(rofs);
    rofs_index_free(rofs);
    kfree(rofs->entry_marks);
    kfree(rofs->link_marks);
    kfree(rofs);
}

static int rofs_mount(struct mount *mount, struct block_device *device) {
    struct rofs *rofs = kzalloc(sizeof(*rofs));
    if (rofs == NULL)
        return -ENOMEM;
    rofs->device = device;
    mount->data = rofs;
    mount->read_only = true;
    int status = read_superblock(rofs);
    if (status == 0)
        status = rofs_tables_check(rofs);
    if (status == 0)
        status = get_vnode(mount, 1, NULL, NULL, &mount->root);
    if (status == 0 && !vnode_is(mount->root, S_IFDIR)) {
        kprintf("[rofs] inode 1 is no directory\n");
        vnode_put(mount->root);
        status = -EINVAL;
    }
    if (status < 0)
        free_rofs(rofs);
    return status;
}

static void rofs_unmount(struct mount *mount) {
    free_rofs(mount->data);
}

static void rofs_statistics(struct mount *mount, struct statfs *out) {
    struct rofs *rofs = mount->data;
    out->f_bsize = out->f_frsize = ROFS_BLOCK;
    out->f_blocks = rofs->super.structure_first_block + rofs->super.structure_blocks;
    out->f_files = rofs->super.inodes;
}

const struct filesystem rofs = {
    .name = "rofs",
    .needs_device = true,
    .magic = ROFS_MAGIC,
    .mount = rofs_mount,
    .unmount = rofs_unmount,
    .statistics = rofs_statistics,
};
