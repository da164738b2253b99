// Open files: what a descriptor stands for, and open(2) itself.
//
// Invariant: a file holds one reference to its vnode. `operations` are the vnode's, or for a
// device node those of the device with its number.

#include "vnode.h"

#include "poll.h"
#include "syscalls_files.h"

// What reads and writes a vnode, once its type is looked at.
static int find_operations(struct vnode *vnode, const struct file_operations **out) {
    *out = vnode->file_operations;
    if (vnode_is(vnode, S_IFCHR)) {
        const struct device *device = device_find(vnode->device);
        if (device == NULL)
            return -ENXIO;
        *out = device->operations;
    } else if (vnode_is(vnode, S_IFBLK)) {
        if (block_of(vnode->device) == NULL)
            return -ENXIO;
        *out = &block_operations;
    } else if (vnode_is(vnode, S_IFIFO) && vnode->mount != NULL) {
        *out = &fifo_operations;
    } else if (vnode_is(vnode, S_IFSOCK) && vnode->mount != NULL) {
        return -ENXIO;
    }
    return 0;
}

int file_create(struct vnode *vnode, unsigned flags, struct file **out) {
    struct file *file = kzalloc(sizeof(*file));
    if (file == NULL)
        return -ENOMEM;
    int status = 0;
    static const struct file_operations nothing;
    if (flags & O_PATH)
        file->operations = &nothing;
    else
        status = find_operations(vnode, &file->operations);
    file->references = 1;
    file->flags = flags & (O_ACCMODE | O_PATH | FILE_STATUS_FLAGS);
    file->vnode = vnode;
    mutex_init(&file->lock, "file");
    list_init(&file->watchers);
    vnode_get(vnode);
    if (status == 0 && file->operations->open != NULL)
        status = file->operations->open(file);
    if (status < 0) {
        vnode_put(vnode);
        kfree(file);
        return status;
    }
    *out = file;
    return 0;
}

// An open file of its own vnode: an eventfd and its like. On an error `data` stays the caller's.
int file_anonymous(const char *name, const struct file_operations *operations, void *data,
                   unsigned flags, struct file **out) {
    struct vnode *vnode = vnode_anonymous(name, 0600, operations);
    if (vnode == NULL)
        return -ENOMEM;
    int status = file_create(vnode, flags, out);
    vnode_put(vnode);
    if (status == 0)
        (*out)->data = data;
    return status;
}

void file_get(struct file *file) {
    __atomic_add_fetch(&file->references, 1, __ATOMIC_RELAXED);
}

void file_put(struct file *file) {
    if (__atomic_sub_fetch(&file->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    epoll_forget(file);
    if (file->operations->close != NULL)
        file->operations->close(file);
    vnode_put(file->vnode);
    kfree(file);
}

struct vnode *file_vnode(struct file *file) {
    return file->vnode;
}

bool file_readable(struct file *file) {
    return !(file->flags & O_PATH) && (file->flags & O_ACCMODE) != O_WRONLY;
}

bool file_writable(struct file *file) {
    unsigned access = file->flags & O_ACCMODE;
    return !(file->flags & O_PATH) && (access == O_WRONLY || access == O_RDWR);
}

// --- open(2) ---

// Makes the file that O_CREAT asks for; path->vnode is it then.
static int create_last(struct path *path, u32 mode) {
    if (path->slash)
        return -EISDIR;
    struct vnode *directory = path->directory;
    int status = vnode_check_writable(directory);
    if (status < 0)
        return status;
    if (directory->operations->create == NULL)
        return vnode_is(directory, S_IFDIR) ? -EACCES : -ENOTDIR;
    return directory->operations->create(directory, path->name, path->length,
                                         S_IFREG | (mode & 07777 & ~files_mask(files_current())), 0,
                                         &path->vnode);
}

// May the vnode be opened like this?
static int check_open(struct vnode *vnode, unsigned flags, bool created) {
    unsigned access = flags & O_ACCMODE;
    bool write = access == O_WRONLY || access == O_RDWR || flags & O_TRUNC;
    if (flags & O_PATH)
        return flags & O_DIRECTORY && !vnode_is(vnode, S_IFDIR) ? -ENOTDIR : 0;
    if (vnode_is(vnode, S_IFLNK))
        return flags & O_DIRECTORY ? -ENOTDIR : -ELOOP;
    if (flags & O_DIRECTORY && !vnode_is(vnode, S_IFDIR))
        return -ENOTDIR;
    if (vnode_is(vnode, S_IFDIR) && (write || flags & O_CREAT))
        return -EISDIR;
    if (write && !created && vnode_is(vnode, S_IFREG))
        return vnode_check_writable(vnode);
    return 0;
}

static int open_vnode(struct vnode *vnode, unsigned flags, bool created, struct file **out) {
    int status = check_open(vnode, flags, created);
    if (status == 0 && flags & O_TRUNC && !created && vnode_is(vnode, S_IFREG))
        status = vnode_truncate(vnode, 0);
    return status < 0 ? status : file_create(vnode, flags, out);
}

// The names are locked while the path is walked and the file made, so that O_EXCL is exclusive.
// They are unlocked before the vnode is opened, which may sleep (a named pipe).
static int open_text(int descriptor, char *text, unsigned flags, u32 mode, unsigned walk,
                     struct file **out) {
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return -EOPNOTSUPP;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (!(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL))
        walk |= WALK_FOLLOW;
    if (flags & O_CREAT)
        walk |= WALK_MAY_MISS;
    struct path path;
    int status = path_at_text(descriptor, text, walk, &path);
    if (status < 0)
        return status;
    bool created = path.vnode == NULL;
    if (created)
        status = create_last(&path, mode);
    else if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        status = -EEXIST;
    names_unlock();
    if (status == 0)
        status = open_vnode(path.vnode, flags, created, out);
    path_done(&path);
    return status;
}

int kernel_open(const char *name, unsigned flags, u32 mode, struct file **out) {
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    format_string(text, PATH_MAX, "%s", name);
    int status = open_text(AT_FDCWD, text, flags, mode, 0, out);
    path_text_free(text);
    return status;
}

static long open_user(int descriptor, const char *name, unsigned flags, u32 mode, unsigned walk) {
    int error = 0;
    char *text = path_copy_in(name, &error);
    if (text == NULL)
        return error;
    struct file *file;
    error = open_text(descriptor, text, flags, mode, walk, &file);
    path_text_free(text);
    return error < 0 ? error : descriptor_install(file, flags, 0);
}

long sys_openat(int descriptor, const char *name, int flags, unsigned mode) {
    return open_user(descriptor, name, (unsigned)flags, mode, 0);
}

long sys_open(const char *name, int flags, unsigned mode) {
    return open_user(AT_FDCWD, name, (unsigned)flags, mode, 0);
}

long sys_creat(const char *name, unsigned mode) {
    return open_user(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode, 0);
}

// struct open_how of <linux/openat2.h>.
struct open_how {
    u64 flags, mode, resolve;
};
#define RESOLVE_NO_XDEV 1
#define RESOLVE_NO_MAGICLINKS 2
#define RESOLVE_NO_SYMLINKS 4
#define RESOLVE_BENEATH 8
#define RESOLVE_IN_ROOT 16

long sys_openat2(int descriptor, const char *name, const void *user_how, size_t size) {
    struct open_how how = {0};
    if (size < sizeof(how))
        return -EINVAL;
    if (size > sizeof(how))
        return -E2BIG;
    int status = user_read(&how, user_how, sizeof(how));
    if (status < 0)
        return status;
    if (how.resolve & ~(u64)(RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH))
        return -EINVAL;
    unsigned walk = (how.resolve & RESOLVE_NO_SYMLINKS ? WALK_NO_LINKS : 0) |
                    (how.resolve & RESOLVE_BENEATH ? WALK_BENEATH : 0);
    return open_user(descriptor, name, (unsigned)how.flags, (u32)how.mode, walk);
}
