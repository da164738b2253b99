// fcntl, ioctl, flock, and advice that is not taken.

#include "vnode.h"

#include <sys/file.h>
#include <sys/ioctl.h>

#include "syscalls_files.h"
#include "thread.h"

#define DUP_CLOEXEC 1030 // F_DUPFD_CLOEXEC
#define SET_PIPE_SIZE 1031
#define GET_PIPE_SIZE 1032
#define ADD_SEALS 1033
#define GET_SEALS 1034
#define OFD_GETLK 36
#define OFD_SETLKW 38

static long duplicate(struct file *file, u64 lowest, unsigned flags) {
    u64 soft, hard;
    files_limits(files_current(), &soft, &hard);
    if (lowest >= soft)
        return -EINVAL;
    file_get(file);
    return descriptor_install(file, flags, (int)lowest);
}

static long get_flags(struct file *file) {
    return (long)(file->flags | (file->flags & O_PATH ? 0 : FILE_LARGE));
}

static long set_flags(struct file *file, unsigned flags) {
    unsigned settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FILE_ASYNC;
    __atomic_store_n(&file->flags, (file->flags & ~settable) | (flags & settable),
                     __ATOMIC_RELAXED);
    return 0;
}

// Record locks: there is one application, and its processes trust each other. Nothing is locked.
static long get_lock(u64 user) {
    struct flock lock;
    if (user_read(&lock, (void *)user, sizeof(lock)) < 0)
        return -EFAULT;
    lock.l_type = F_UNLCK;
    return user_write((void *)user, &lock, sizeof(lock));
}

static long control(struct file *file, int descriptor, int command, u64 argument) {
    switch (command) {
    case F_DUPFD:
        return duplicate(file, (unsigned)argument, 0);
    case DUP_CLOEXEC:
        return duplicate(file, (unsigned)argument, O_CLOEXEC);
    case F_GETFD:
        return descriptor_close_on_exec(descriptor, -1);
    case F_SETFD:
        return MIN(descriptor_close_on_exec(descriptor, argument & FD_CLOEXEC), 0);
    case F_GETFL:
        return get_flags(file);
    }
    if (file->flags & O_PATH)
        return -EBADF;
    switch (command) {
    case F_SETFL:
        return set_flags(file, (unsigned)argument);
    case F_GETLK:
    case OFD_GETLK:
        return get_lock(argument);
    case F_SETLK:
    case F_SETLKW:
    case OFD_GETLK + 1:
    case OFD_SETLKW:
    case F_SETOWN:
        return 0;
    case F_GETOWN:
        return 0;
    case SET_PIPE_SIZE:
    case GET_PIPE_SIZE:
        return vnode_is(file->vnode, S_IFIFO) ? 65536 : -EBADF;
    case ADD_SEALS:
    case GET_SEALS:
        return 0;
    default:
        return -EINVAL;
    }
}

long sys_fcntl(int descriptor, int command, u64 argument) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = control(file, descriptor, command, argument);
    file_put(file);
    return status;
}

// --- ioctl: what works on every file, then the file's own ---

static long set_nonblocking(struct file *file, u64 user) {
    int on;
    if (user_read(&on, (void *)user, sizeof(on)) < 0)
        return -EFAULT;
    return set_flags(file, on ? file->flags | O_NONBLOCK : file->flags & ~(unsigned)O_NONBLOCK);
}

static long bytes_left(struct file *file, u64 user) {
    u64 size = file->vnode->size;
    int left = (int)MIN(size - MIN(size, file->position), (u64)INT32_MAX);
    return user_write((void *)user, &left, sizeof(left));
}

static long io_control(struct file *file, int descriptor, unsigned command, u64 argument) {
    if (file->flags & O_PATH)
        return -EBADF;
    switch (command) {
    case FIOCLEX:
        return MIN(descriptor_close_on_exec(descriptor, 1), 0);
    case FIONCLEX:
        return MIN(descriptor_close_on_exec(descriptor, 0), 0);
    case FIONBIO:
        return set_nonblocking(file, argument);
    case FIONREAD:
        if (vnode_is(file->vnode, S_IFREG))
            return bytes_left(file, argument);
        break;
    }
    return file->operations->ioctl == NULL ? -ENOTTY
                                           : file->operations->ioctl(file, command, argument);
}

long sys_ioctl(int descriptor, unsigned command, u64 argument) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = io_control(file, descriptor, command, argument);
    file_put(file);
    return status;
}

// --- Calls that only check their descriptor ---

static long check_open(int descriptor) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = file->flags & O_PATH ? -EBADF : 0;
    file_put(file);
    return status;
}

long sys_flock(int descriptor, int operation) {
    int kind = operation & ~LOCK_NB;
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    return check_open(descriptor);
}

long sys_fadvise64(int descriptor, i64 offset, i64 length, int advice) {
    (void)offset;
    return length < 0 || advice < 0 || advice > 5 ? -EINVAL : check_open(descriptor);
}

long sys_readahead(int descriptor, i64 offset, size_t size) {
    (void)offset, (void)size;
    return check_open(descriptor);
}
