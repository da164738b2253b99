// What was written reaches its disk: sync(2), fsync(2) and their kin, and O_SYNC.
//
// Only disks opened as files and filesystems on a writable disk have something to do here; whatever
// else can be written to is in memory. Pages that were changed through mappings are looked for
// first, for the processor tells nobody.

#include "vnode.h"

#include "area.h"
#include "syscalls_files.h"

int vnode_sync(struct vnode *vnode, bool data_only) {
    if (vnode_is(vnode, S_IFBLK))
        return block_file_flush(vnode);
    if (vnode->operations->sync == NULL)
        return 0;
    if (vnode_writes_back(vnode))
        area_collect_dirty(vnode);
    return vnode->operations->sync(vnode, data_only);
}

long file_written(struct file *file, long status) {
    if (status <= 0 || !(file->flags & O_DSYNC))
        return status;
    int error = vnode_sync(file->vnode, (file->flags & O_SYNC) != O_SYNC);
    return error < 0 ? error : status;
}

int files_sync(void) {
    area_collect_dirty(NULL);
    return mounts_sync();
}

bool files_write_back(void) {
    area_collect_dirty(NULL);
    return mounts_write_back();
}

// Calls something with a descriptor's file, if it is open for more than its path.
static long with_file(int descriptor, long (*act)(struct file *file)) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = file->flags & O_PATH ? -EBADF : act(file);
    file_put(file);
    return status;
}

static long sync_all(struct file *file) {
    return file->operations->stream ? -EINVAL : vnode_sync(file->vnode, false);
}

static long sync_data(struct file *file) {
    return file->operations->stream ? -EINVAL : vnode_sync(file->vnode, true);
}

static long sync_mount(struct file *file) {
    struct mount *mount = file->vnode->mount; // in use by the file, so it does not go
    if (mount == NULL || mount->filesystem->sync == NULL)
        return 0;
    area_collect_dirty(NULL);
    return mount->filesystem->sync(mount);
}

long sys_fsync(int descriptor) {
    return with_file(descriptor, sync_all);
}

long sys_fdatasync(int descriptor) {
    return with_file(descriptor, sync_data);
}

long sys_syncfs(int descriptor) {
    return with_file(descriptor, sync_mount);
}

long sys_sync(void) {
    files_sync(); // which has nobody to tell of an error
    return 0;
}

long sys_sync_file_range(int descriptor, i64 offset, i64 length, unsigned flags) {
    (void)flags;
    return offset < 0 || length < 0 ? -EINVAL : with_file(descriptor, sync_data);
}
