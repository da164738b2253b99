// System calls that make and remove names: mkdir, mknod, link, symlink, unlink, rmdir, rename.
//
// All follow one pattern: walk to the last component with the names locked, check what Linux
// checks in the order Linux does (programs compare errno values), let the filesystem act.

#include "vnode.h"

#include "syscalls_files.h"

// May a new name be made where the path ends? The names are locked.
static int check_new(const struct path *path, bool directory) {
    if (path->vnode != NULL)
        return -EEXIST;
    if (path->slash && !directory)
        return -ENOENT;
    if (!vnode_is(path->directory, S_IFDIR))
        return -ENOTDIR;
    return vnode_check_writable(path->directory);
}

static int finish(struct path *path, int status) {
    names_unlock();
    path_done(path);
    return status;
}

static long make_node(int descriptor, const char *name, u32 mode, u64 device) {
    struct path path;
    int status = path_at(descriptor, name, WALK_MAY_MISS | WALK_NO_SLASH, &path);
    if (status < 0)
        return status;
    status = check_new(&path, (mode & S_IFMT) == S_IFDIR);
    if (status == 0 && path.directory->operations->create == NULL)
        status = -EPERM;
    struct vnode *vnode = NULL;
    if (status == 0)
        status = path.directory->operations->create(path.directory, path.name, path.length, mode,
                                                    device, &vnode);
    if (status == 0)
        vnode_put(vnode);
    return finish(&path, status);
}

long sys_mkdirat(int descriptor, const char *name, unsigned mode) {
    return make_node(descriptor, name, S_IFDIR | (mode & 01777 & ~files_mask(files_current())), 0);
}

long sys_mkdir(const char *name, unsigned mode) {
    return sys_mkdirat(AT_FDCWD, name, mode);
}

long sys_mknodat(int descriptor, const char *name, unsigned mode, u64 device) {
    u32 type = mode & S_IFMT;
    if (type == S_IFDIR)
        return -EPERM;
    if (type == 0)
        type = S_IFREG;
    if (type != S_IFREG && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO &&
        type != S_IFSOCK)
        return -EINVAL;
    if (type != S_IFCHR && type != S_IFBLK)
        device = 0;
    return make_node(descriptor, name, type | (mode & 07777 & ~files_mask(files_current())),
                     device);
}

long sys_mknod(const char *name, unsigned mode, u64 device) {
    return sys_mknodat(AT_FDCWD, name, mode, device);
}

long sys_symlinkat(const char *user_target, int descriptor, const char *name) {
    int error = 0;
    char *target = path_copy_in(user_target, &error);
    if (target == NULL)
        return error;
    struct path path;
    int status =
        *target == '\0' ? -ENOENT : path_at(descriptor, name, WALK_MAY_MISS | WALK_NO_SLASH, &path);
    if (status == 0) {
        status = check_new(&path, false);
        if (status == 0)
            status = path.directory->operations->symlink == NULL
                         ? -EPERM
                         : path.directory->operations->symlink(path.directory, path.name,
                                                               path.length, target);
        finish(&path, status);
    }
    path_text_free(target);
    return status;
}

long sys_symlink(const char *target, const char *name) {
    return sys_symlinkat(target, AT_FDCWD, name);
}

static int link_to(struct vnode *vnode, struct path *path) {
    int status = check_new(path, false);
    if (status < 0)
        return status;
    if (vnode->mount == NULL || vnode->mount != path->directory->mount)
        return -EXDEV;
    if (vnode_is(vnode, S_IFDIR))
        return -EPERM;
    if (path->directory->operations->link == NULL)
        return -EPERM;
    return path->directory->operations->link(path->directory, path->name, path->length, vnode);
}

long sys_linkat(int from_descriptor, const char *from, int to_descriptor, const char *to,
                int flags) {
    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct vnode *vnode;
    int status = vnode_at(from_descriptor, from, flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    if (status < 0)
        return status;
    struct path path;
    status = path_at(to_descriptor, to, WALK_MAY_MISS | WALK_NO_SLASH, &path);
    if (status == 0)
        status = finish(&path, link_to(vnode, &path));
    vnode_put(vnode);
    return status;
}

long sys_link(const char *from, const char *to) {
    return sys_linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

// --- Removing ---

// Somebody mounted on it, or it is the root of a mount: it has to stay.
static bool is_mount_point(const struct vnode *vnode) {
    return vnode->covered_by != NULL || (vnode->mount != NULL && vnode->mount->root == vnode);
}

static int remove_name(struct path *path, bool directory) {
    struct vnode *victim = path->vnode;
    if (path->last != LAST_NAME) {
        if (!directory)
            return -EISDIR;
        return path->last == LAST_DOT ? -EINVAL : path->last == LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
    }
    int status = vnode_check_writable(path->directory);
    if (directory && !vnode_is(victim, S_IFDIR))
        return -ENOTDIR;
    if (directory && is_mount_point(victim))
        return -EBUSY;
    if (status < 0)
        return status;
    if (!directory && path->slash)
        return vnode_is(victim, S_IFDIR) ? -EISDIR : -ENOTDIR;
    if (!directory && vnode_is(victim, S_IFDIR))
        return -EISDIR;
    if (path->directory->operations->remove == NULL)
        return -EPERM;
    return path->directory->operations->remove(path->directory, path->name, path->length, victim);
}

long sys_unlinkat(int descriptor, const char *name, int flags) {
    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    struct path path;
    int status = path_at(descriptor, name, WALK_NO_SLASH, &path);
    return status < 0 ? status : finish(&path, remove_name(&path, flags & AT_REMOVEDIR));
}

long sys_unlink(const char *name) {
    return sys_unlinkat(AT_FDCWD, name, 0);
}

long sys_rmdir(const char *name) {
    return sys_unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

// --- Renaming ---

#define RENAME_NO_REPLACE 1U // the values of RENAME_NOREPLACE, RENAME_EXCHANGE
#define RENAME_BOTH 2U

static bool is_inside(const struct vnode *vnode, const struct vnode *directory) {
    for (; vnode != NULL; vnode = vnode->parent)
        if (vnode == directory)
            return true;
    return false;
}

// Whether the kinds and places of the two names let one take the place of the other.
static int check_rename(const struct path *from, const struct path *to, unsigned flags) {
    struct vnode *moved = from->vnode, *replaced = to->vnode;
    bool directory = vnode_is(moved, S_IFDIR);
    if (replaced != NULL && flags & RENAME_NO_REPLACE)
        return -EEXIST;
    if (replaced == NULL && flags & RENAME_BOTH)
        return -ENOENT;
    if (!directory && (from->slash || (to->slash && !(flags & RENAME_BOTH))))
        return -ENOTDIR;
    if (directory && is_inside(to->directory, moved))
        return -EINVAL; // into itself
    if (replaced == NULL || flags & RENAME_BOTH) {
        bool around = replaced != NULL && is_inside(from->directory, replaced);
        return around ? -EINVAL : 0;
    }
    if (is_inside(from->directory, replaced))
        return -ENOTEMPTY;
    if (directory != vnode_is(replaced, S_IFDIR))
        return directory ? -ENOTDIR : -EISDIR;
    return 0;
}

static int rename_path(struct path *from, struct path *to, unsigned flags) {
    if (from->directory->mount != to->directory->mount)
        return -EXDEV;
    if (from->last != LAST_NAME || to->last != LAST_NAME)
        return flags & RENAME_NO_REPLACE && to->last != LAST_NAME ? -EEXIST : -EBUSY;
    int status = vnode_check_writable(from->directory);
    if (status == 0)
        status = check_rename(from, to, flags);
    if (status < 0)
        return status;
    if (is_mount_point(from->vnode) || (to->vnode != NULL && is_mount_point(to->vnode)))
        return -EBUSY;
    if (from->vnode == to->vnode)
        return 0; // two names of one file: nothing happens
    if (from->directory->operations->rename == NULL)
        return -EPERM;
    return from->directory->operations->rename(from->directory, from->name, from->length,
                                               from->vnode, to->directory, to->name, to->length,
                                               to->vnode, (flags & RENAME_BOTH) != 0);
}

long sys_renameat2(int from_descriptor, const char *from_name, int to_descriptor,
                   const char *to_name, unsigned flags) {
    if (flags & ~(RENAME_NO_REPLACE | RENAME_BOTH) || flags == (RENAME_NO_REPLACE | RENAME_BOTH))
        return -EINVAL;
    int error = 0;
    char *to_text = path_copy_in(to_name, &error);
    if (to_text == NULL)
        return error;
    struct path from, to;
    int status = path_at(from_descriptor, from_name, WALK_NO_SLASH, &from);
    if (status == 0) { // the names stay locked from here on
        status = path_at_locked(to_descriptor, to_text, WALK_NO_SLASH | WALK_MAY_MISS, &to);
        if (status == 0) {
            status = rename_path(&from, &to, flags);
            path_done(&to);
        }
        status = finish(&from, status);
    }
    path_text_free(to_text);
    return status;
}

long sys_renameat(int from_descriptor, const char *from, int to_descriptor, const char *to) {
    return sys_renameat2(from_descriptor, from, to_descriptor, to, 0);
}

long sys_rename(const char *from, const char *to) {
    return sys_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}
