// Extended attributes (xattr(7)): no filesystem here has any.
//
// As on Linux where a filesystem keeps none: a file has an empty list of them, and one of them can be
// neither read nor set (EOPNOTSUPP, which programs expect, as opposed to ENOSYS).

#include "vnode.h"

#include "syscalls_files.h"

static long with_path(const char *name, unsigned walk, long result) {
    struct vnode *vnode;
    int status = vnode_at(AT_FDCWD, name, walk, false, &vnode);
    if (status < 0)
        return status;
    vnode_put(vnode);
    return result;
}

static long with_descriptor(int descriptor, long result) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    bool only_a_path = file->flags & O_PATH;
    file_put(file);
    return only_a_path ? -EBADF : result;
}

// Reading, setting and removing all begin with a file, and end alike.
long sys_xattr(const char *name) {
    return with_path(name, WALK_FOLLOW, -EOPNOTSUPP);
}

long sys_lxattr(const char *name) {
    return with_path(name, 0, -EOPNOTSUPP);
}

long sys_fxattr(int descriptor) {
    return with_descriptor(descriptor, -EOPNOTSUPP);
}

long sys_listxattr(const char *name) {
    return with_path(name, WALK_FOLLOW, 0);
}

long sys_llistxattr(const char *name) {
    return with_path(name, 0, 0);
}

long sys_flistxattr(int descriptor) {
    return with_descriptor(descriptor, 0);
}
