// Which filesystem is the root, and the mounts that belong to it.
//
// Like OSv (loader.cc, fs/vfs/main.cc): the kernel starts on a ramfs with the bootfs archive in
// it and devfs on /dev; then the real root is found, mounted aside and pivoted to; then come
// the mounts of its /etc/fstab. A root that cannot be mounted is only mentioned, and the boot
// goes on with what there is.

#include "bootfs.h"

#include "block.h"
#include "boot.h"
#include "runtime.h"
#include "syscalls_files.h"
#include "thread.h"

#define ROOT_DEVICE "/dev/vblk0.1"

static int make_directory(const char *path) {
    char text[64];
    format_string(text, sizeof(text), "%s", path);
    struct path at;
    names_lock();
    int status = path_walk(names_root(), text, WALK_NO_LINKS | WALK_MAY_MISS, &at);
    if (status == 0 && at.vnode == NULL) {
        status = vnode_check_writable(at.directory);
        if (status == 0 && at.directory->operations->create == NULL)
            status = -EPERM;
        if (status == 0)
            status = at.directory->operations->create(at.directory, at.name, at.length, S_IFDIR | 0755, 0, &at.vnode);
    }
    names_unlock();
    if (status >= 0)
        path_done(&at);
    return status;
}

void files_boot(struct files *files) {
    int status = mount_at("ramfs", "none", "/", false);
    if (status < 0)
        panic("cannot make the first root filesystem: error %d", -status);
    files_set_directory(files, names_root());
    make_directory("/dev");
    status = mount_at("devfs", "none", "/dev", false);
    if (status < 0)
        panic("cannot make /dev: error %d", -status);
    status = bootfs_unpack_memory(names_root(), bootfs_start, bootfs_end);
    if (status < 0)
        panic("unpack_bootfs failed: error %d", -status);
    tty_start();
    struct file *console;
    status = kernel_open("/dev/console", O_RDWR, 0, &console);
    if (status < 0)
        panic("cannot open /dev/console: error %d", -status);
    for (int i = 0; i < 3; i++) {
        file_get(console);
        descriptor_install(console, 0, 0);
    }
    file_put(console);
}
