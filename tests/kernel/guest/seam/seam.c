// A filesystem as a module of the core: one directory with one file. What it is told as its source
// says what else it does, so that a test can make it go wrong.

#include "module.h"

static const struct core_services *core;

struct seam {
    struct vnode *file;
    char text[64];
    size_t length;
};

static const struct vnode_operations directory_operations, file_vnode_operations;
static const struct file_operations seam_file;

static struct vnode *make(struct mount *mount, u64 inode, u32 mode,
                          const struct vnode_operations *operations) {
    struct vnode *vnode = core->kzalloc(sizeof(*vnode));
    if (vnode == NULL)
        return NULL;
    core->vnode_init(vnode, mount, inode, mode, operations, &seam_file);
    return core->vnode_insert(vnode);
}

static int seam_lookup(struct vnode *directory, const char *name, size_t length,
                       struct vnode **out) {
    struct seam *seam = directory->mount->data;
    if (length != 5 || memcmp(name, "hello", 5) != 0)
        return -ENOENT;
    *out = core->vnode_find(directory->mount, 2);
    if (*out != NULL)
        return 0;
    *out = make(directory->mount, 2, S_IFREG | 0644, &file_vnode_operations);
    if (*out == NULL)
        return -ENOMEM;
    (*out)->size = seam->length;
    return core->vnode_set_name(*out, directory, name, length);
}

static int seam_list(struct vnode *directory, u64 position, struct directory_reader *reader) {
    (void)directory;
    if (position <= 2)
        reader->entry(reader, 3, 2, S_IFREG, "hello", 5);
    return 0;
}

static long seam_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct seam *seam = file->vnode->mount->data;
    u64 from = MIN(*position, seam->length);
    size = MIN(size, seam->length - from);
    int status = core->user_write(buffer, seam->text + from, size);
    *position += status < 0 ? 0 : size;
    return status < 0 ? status : (long)size;
}

static void seam_release(struct vnode *vnode) {
    core->kfree(vnode);
}

static const struct vnode_operations directory_operations = {
    .lookup = seam_lookup, .read_directory = seam_list, .release = seam_release};
static const struct vnode_operations file_vnode_operations = {.release = seam_release};
static const struct file_operations seam_file = {.read = seam_read};

static __attribute__((noinline)) void touch_nothing(struct mount *mount) {
    *(volatile u64 *)mount->data = 1; // there is none yet
}

// Large memory is written to and read from a disk, so that its pieces must be the right ones.
static int check_memory(const char *disk) {
    struct block_device *device = core->block_find(disk);
    size_t size = 3 << 20;
    u64 *one = core->memory_map(size), *two = core->memory_map(size);
    if (device == NULL || one == NULL || two == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < size / sizeof(*one); i++)
        one[i] = i * 0x9E3779B97F4A7C15UL;
    int status = core->block_bytes(device, BLOCK_WRITE, 512, one, size);
    if (status == 0)
        status = core->block_bytes(device, BLOCK_FLUSH, 0, NULL, 0);
    if (status == 0)
        status = core->block_bytes(device, BLOCK_READ, 512, two, size);
    if (status == 0 && memcmp(one, two, size) != 0)
        status = -EIO;
    if (status == 0 && core->block_bytes(device, BLOCK_READ, 100, two, 512) != -EINVAL)
        status = -EIO;
    core->memory_unmap(one);
    core->memory_unmap(two);
    return status;
}

static int seam_mount(struct mount *mount, struct block_device *device) {
    (void)device;
    if (strcmp(mount->device, "crash") == 0)
        touch_nothing(mount);
    if (strncmp(mount->device, "vblk", 4) == 0) {
        int status = check_memory(mount->device);
        if (status < 0)
            return status;
    }
    struct seam *seam = core->kzalloc(sizeof(*seam));
    if (seam == NULL)
        return -ENOMEM;
    seam->length = (size_t)core->format_string(seam->text, sizeof(seam->text), "hello from %s\n",
                                               mount->device);
    mount->data = seam;
    mount->root = make(mount, 1, S_IFDIR | 0755, &directory_operations);
    return mount->root == NULL ? -ENOMEM : 0;
}

static void seam_unmount(struct mount *mount) {
    core->kfree(mount->data);
}

static const struct filesystem seam = {
    .name = "seam", .magic = 0x5ea0, .mount = seam_mount, .unmount = seam_unmount};

#ifdef NEEDS
int nobody_has_this(void);
#else
#define nobody_has_this() 0
#endif

static int start(const struct core_services *services) {
    core = services;
    return nobody_has_this() + core->filesystem_register(&seam);
}

#ifndef LAYOUT
#define LAYOUT MODULE_LAYOUT
#endif
extern const struct module osvlab_module;
__attribute__((visibility("default")))
const struct module osvlab_module = {.layout = LAYOUT, .name = "seam", .start = start};
