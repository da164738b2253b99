// devfs: the device nodes. It is a ramfs that is filled when it is mounted, so programs can make
// nodes and directories of their own in it (/dev/shm). Disks appear when somebody looks.

#include "ramfs.h"

#include "block.h"

static struct vnode_operations root_operations; // ramfs's, but looking for new disks

static int add(struct vnode *root, const char *name, u32 mode, u64 number) {
    struct vnode *vnode;
    int status = ramfs_operations.create(root, name, strlen(name), mode, number, &vnode);
    if (status < 0)
        return status;
    if (vnode_is(vnode, S_IFBLK))
        vnode->size = block_of(number)->sectors * SECTOR_SIZE;
    vnode_put(vnode);
    return 0;
}

static void add_disk(struct block_device *disk, void *argument) {
    struct vnode *root = argument, *vnode;
    if (ramfs_operations.lookup(root, disk->name, strlen(disk->name), &vnode) == 0)
        vnode_put(vnode);
    else
        add(root, disk->name, S_IFBLK | 0600, block_number(disk));
}

static int devfs_lookup(struct vnode *root, const char *name, size_t length, struct vnode **out) {
    int status = ramfs_operations.lookup(root, name, length, out);
    if (status == -ENOENT) {
        block_each(add_disk, root);
        status = ramfs_operations.lookup(root, name, length, out);
    }
    return status;
}

static int devfs_read_directory(struct vnode *root, u64 position, struct directory_reader *reader) {
    if (position <= 2)
        block_each(add_disk, root);
    return ramfs_operations.read_directory(root, position, reader);
}

static const char *const links[][2] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};

static int devfs_mount(struct mount *mount, struct block_device *device) {
    int status = ramfs_mount(mount, device);
    if (status < 0)
        return status;
    struct vnode *root = mount->root;
    root_operations = ramfs_operations;
    root_operations.lookup = devfs_lookup;
    root_operations.read_directory = devfs_read_directory;
    root->operations = &root_operations;
    root->mode = S_IFDIR | 0755;
    for (size_t i = 0; i < device_count && status == 0; i++)
        status = add(root, devices[i].name, devices[i].mode, devices[i].number);
    for (size_t i = 0; i < ARRAY_SIZE(links) && status == 0; i++)
        status = ramfs_operations.symlink(root, links[i][0], strlen(links[i][0]), links[i][1]);
    if (status == 0)
        status = add(root, "shm", S_IFDIR | 01777, 0);
    if (status < 0) {
        ramfs_clear(mount);
        vnode_put(root);
    }
    return status;
}

const struct filesystem devfs = {
    .name = "devfs",
    .magic = 0x1373,
    .mount = devfs_mount,
    .busy = ramfs_busy,
    .clear = ramfs_clear,
    .statistics = ramfs_statistics,
};
