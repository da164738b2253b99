// Listing directories, the current directory, symbolic links' targets, mounting.

#include "vnode.h"

#include "syscalls_files.h"

// --- getdents: entries are gathered in a kernel buffer, with the names locked, then copied out ---

#define LIST_BUFFER PAGE_SIZE

struct listing {
    struct directory_reader reader;
    char *buffer;
    size_t size, used;
    u64 position; // behind the last entry that fit
    bool old;     // the format of getdents, not getdents64
    bool full;
};

// struct linux_dirent64 and the older struct linux_dirent, by their fields' offsets.
static size_t format_entry(char *out, bool old, u64 inode, u64 next, u8 type, const char *name,
                           size_t length) {
    size_t name_at = old ? 18 : 19, size = ALIGN_UP(name_at + length + (old ? 2 : 1), 8);
    u16 size16 = (u16)size;
    memset(out, 0, size);
    memcpy(out, &inode, 8);
    memcpy(out + 8, &next, 8);
    memcpy(out + 16, &size16, 2);
    if (!old)
        out[18] = (char)type;
    memcpy(out + name_at, name, length);
    if (old)
        out[size - 1] = (char)type;
    return size;
}

static bool list_entry(struct directory_reader *reader, u64 next, u64 inode, u32 mode,
                       const char *name, size_t length) {
    struct listing *listing = CONTAINER_OF(reader, struct listing, reader);
    size_t needed = ALIGN_UP(20 + length, 8);
    if (listing->size - listing->used < needed) {
        listing->full = true;
        return false;
    }
    listing->used += format_entry(listing->buffer + listing->used, listing->old, inode, next,
                                  (u8)((mode & S_IFMT) >> 12), name, length);
    listing->position = next;
    return true;
}

// "." and ".." are at positions 0 and 1 of every directory; the filesystem's own begin at 2.
static int list_directory(struct vnode *directory, u64 position, struct listing *listing) {
    struct vnode *parent = directory->parent != NULL ? directory->parent : directory;
    if (position == 0 && !list_entry(&listing->reader, 1, directory->inode, S_IFDIR, ".", 1))
        return 0;
    if (position <= 1 && !list_entry(&listing->reader, 2, parent->inode, S_IFDIR, "..", 2))
        return 0;
    if (directory->links == 0)
        return -ENOENT; // it was removed
    return directory->operations->read_directory(directory, MAX(position, 2UL), &listing->reader);
}

static long list_file(struct file *file, void *user, size_t size, bool old) {
    struct listing listing = {.reader = {list_entry}, .size = MIN(size, LIST_BUFFER), .old = old};
    listing.buffer = path_text();
    if (listing.buffer == NULL)
        return -ENOMEM;
    mutex_lock(&file->lock);
    listing.position = file->position;
    names_lock();
    int status = list_directory(file->vnode, file->position, &listing);
    names_unlock();
    if (listing.used == 0 && listing.full)
        status = -EINVAL; // not even one entry fits
    if (status == 0 || listing.used > 0)
        status = user_write(user, listing.buffer, listing.used);
    if (status == 0)
        file->position = listing.position;
    mutex_unlock(&file->lock);
    path_text_free(listing.buffer);
    return status < 0 ? status : (long)listing.used;
}

static long list(int descriptor, void *user, size_t size, bool old) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status;
    if (file->flags & O_PATH)
        status = -EBADF;
    else if (!vnode_is(file->vnode, S_IFDIR))
        status = -ENOTDIR;
    else
        status = list_file(file, user, size, old);
    file_put(file);
    return status;
}

long sys_getdents64(int descriptor, void *user, size_t size) {
    return list(descriptor, user, size, false);
}

long sys_getdents(int descriptor, void *user, size_t size) {
    return list(descriptor, user, size, true);
}

// --- The current directory ---

long sys_getcwd(char *user, size_t size) {
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    struct vnode *directory = files_directory(files_current());
    vnode_path(directory, text, PATH_MAX);
    size_t length = strlen(text) + 1;
    long status = directory->links == 0 ? -ENOENT
                  : length > size       ? -ERANGE
                                        : user_write(user, text, length);
    vnode_put(directory);
    path_text_free(text);
    return status < 0 ? status : (long)length;
}

static long change_directory(struct vnode *vnode) {
    long status = vnode_is(vnode, S_IFDIR) ? 0 : -ENOTDIR;
    if (status == 0)
        files_set_directory(files_current(), vnode);
    vnode_put(vnode);
    return status;
}

long sys_chdir(const char *name) {
    struct vnode *vnode;
    int status = vnode_at(AT_FDCWD, name, WALK_FOLLOW, false, &vnode);
    return status < 0 ? status : change_directory(vnode);
}

long sys_fchdir(int descriptor) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    vnode_get(file->vnode);
    long status = change_directory(file->vnode);
    file_put(file);
    return status;
}

long sys_chroot(const char *name) {
    (void)name;
    return -EPERM; // there is one tree of names for everybody
}

// --- readlink ---

long sys_readlinkat(int descriptor, const char *name, char *user, size_t size) {
    if ((int)size <= 0)
        return -EINVAL;
    struct vnode *vnode;
    int status = vnode_at(descriptor, name, 0, true, &vnode);
    if (status < 0)
        return status;
    long length = -EINVAL;
    char *text = NULL;
    if (vnode_is(vnode, S_IFLNK)) {
        text = path_text();
        length = text == NULL
                     ? -ENOMEM
                     : vnode->operations->read_link(vnode, text, MIN(size, (size_t)PATH_MAX));
    }
    if (length > 0 && user_write(user, text, (size_t)length) < 0)
        length = -EFAULT;
    path_text_free(text);
    vnode_put(vnode);
    return length;
}

long sys_readlink(const char *name, char *user, size_t size) {
    return sys_readlinkat(AT_FDCWD, name, user, size);
}

// --- mount and umount ---

#define MOUNT_READ_ONLY 1UL

// NULL is `otherwise`, which may be NULL too.
static char *optional_text(const char *user, const char *otherwise, int *error) {
    if (user != NULL || otherwise == NULL)
        return user == NULL ? NULL : path_copy_in(user, error);
    char *text = path_text();
    if (text != NULL)
        memcpy(text, otherwise, strlen(otherwise) + 1);
    return text;
}

long sys_mount(const char *source, const char *target, const char *type, unsigned long flags,
               const void *data) {
    int error = -ENOMEM;
    char *source_text = optional_text(source, "none", &error);
    char *target_text = path_copy_in(target, &error);
    char *type_text = optional_text(type, "none", &error);
    char *options = optional_text(data, NULL, &error);
    if (source_text != NULL && target_text != NULL && type_text != NULL &&
        (options != NULL || data == NULL))
        error = mount_at(
            &(struct mount_wish){type_text, source_text, options, (flags & MOUNT_READ_ONLY) != 0},
            target_text);
    path_text_free(source_text);
    path_text_free(target_text);
    path_text_free(type_text);
    path_text_free(options);
    return error;
}

long sys_umount2(const char *target, int flags) {
    (void)flags;
    int error = 0;
    char *text = path_copy_in(target, &error);
    if (text == NULL)
        return error;
    error = mount_remove(text);
    path_text_free(text);
    return error;
}
