// memfd_create(2): a file of a ramfs that never had a name.

#include "ramfs.h"

#include "syscalls_files.h"

static struct mount hidden; // the ramfs it belongs to; made at the first call
static struct mutex lock = MUTEX(lock, "memfd");

static int prepare(void) {
    mutex_lock(&lock);
    if (hidden.root == NULL) {
        hidden.filesystem = &ramfs;
        hidden.id = 1;
        ramfs_mount(&hidden, NULL);
    }
    mutex_unlock(&lock);
    return hidden.root == NULL ? -ENOMEM : 0;
}

long sys_memfd_create(const char *user_name, unsigned flags) {
    enum { CLOSE_ON_EXEC = 1, ALLOW_SEALING = 2 };
    if (flags & ~(unsigned)(CLOSE_ON_EXEC | ALLOW_SEALING))
        return -EINVAL;
    char name[250], shown[260];
    int status = user_string(name, user_name, sizeof(name));
    if (status < 0)
        return status == -ENAMETOOLONG ? -EINVAL : status;
    status = prepare();
    if (status < 0)
        return status;
    struct vnode *vnode = ramfs_make(&hidden, S_IFREG | 0777, 0);
    if (vnode == NULL)
        return -ENOMEM;
    int length = format_string(shown, sizeof(shown), "memfd:%s", name);
    status = vnode_set_name(vnode, hidden.root, shown, (size_t)length);
    struct file *file;
    if (status == 0)
        status = file_create(vnode, O_RDWR, &file);
    vnode_put(vnode);
    return status < 0 ? status : descriptor_install(file, flags & CLOSE_ON_EXEC ? O_CLOEXEC : 0, 0);
}
