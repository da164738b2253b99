// What is known about a file and how to change it: stat and its kin, access, chmod, chown, times,
// truncate. Everybody is root here, so permissions are kept and shown but forbid nothing, except
// that a file without any x bit is not executable.

#include "vnode.h"

#include "area.h"

#include <sys/time.h>

#include "syscalls_files.h"

static int status_out(struct vnode *vnode, struct stat *user) {
    struct stat status;
    vnode_status(vnode, &status);
    vnode_put(vnode);
    return user_write(user, &status, sizeof(status));
}

long sys_newfstatat(int descriptor, const char *name, struct stat *out, int flags) {
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
        return -EINVAL;
    if (name == NULL && flags & AT_EMPTY_PATH)
        return sys_fstat(descriptor, out);
    struct vnode *vnode;
    int status = vnode_at(descriptor, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    return status < 0 ? status : status_out(vnode, out);
}

long sys_stat(const char *name, struct stat *out) {
    return sys_newfstatat(AT_FDCWD, name, out, 0);
}

long sys_lstat(const char *name, struct stat *out) {
    return sys_newfstatat(AT_FDCWD, name, out, AT_SYMLINK_NOFOLLOW);
}

// The vnode of a descriptor, referenced, or NULL.
static struct vnode *vnode_of(int descriptor) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return NULL;
    struct vnode *vnode = file->vnode;
    vnode_get(vnode);
    file_put(file);
    return vnode;
}

long sys_fstat(int descriptor, struct stat *out) {
    struct vnode *vnode = vnode_of(descriptor);
    return vnode == NULL ? -EBADF : status_out(vnode, out);
}

// struct statx of <linux/stat.h>; the part that is filled here.
struct statx_time {
    i64 seconds;
    u32 nanoseconds;
    u32 reserved;
};
struct kernel_statx {
    u32 mask, block_size;
    u64 attributes;
    u32 links, uid, gid;
    u16 mode, spare;
    u64 inode, size, blocks, attributes_mask;
    struct statx_time accessed, born, changed, modified;
    u32 device_major, device_minor, filesystem_major, filesystem_minor;
    u64 rest[14];
};
_Static_assert(sizeof(struct kernel_statx) == 256, "struct statx is 256 bytes");
#define STATX_BASIC 0x7ffU

static struct statx_time statx_time(struct timespec time) {
    return (struct statx_time){.seconds = time.tv_sec, .nanoseconds = (u32)time.tv_nsec};
}

long sys_statx(int descriptor, const char *name, int flags, unsigned mask, void *out) {
    (void)mask;
    struct vnode *vnode;
    int status = vnode_at(descriptor, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    if (status < 0)
        return status;
    struct stat s;
    vnode_status(vnode, &s);
    vnode_put(vnode);
    struct kernel_statx x = {
        .mask = STATX_BASIC,
        .block_size = (u32)s.st_blksize,
        .links = (u32)s.st_nlink,
        .uid = s.st_uid,
        .gid = s.st_gid,
        .mode = (u16)s.st_mode,
        .inode = s.st_ino,
        .size = (u64)s.st_size,
        .blocks = (u64)s.st_blocks,
        .accessed = statx_time(s.st_atim),
        .changed = statx_time(s.st_ctim),
        .modified = statx_time(s.st_mtim),
        .device_major = major(s.st_rdev),
        .device_minor = minor(s.st_rdev),
        .filesystem_major = major(s.st_dev),
        .filesystem_minor = minor(s.st_dev),
    };
    return user_write(out, &x, sizeof(x));
}

// --- statfs ---

static int statistics_out(struct vnode *vnode, struct statfs *user) {
    struct statfs out = {.f_bsize = PAGE_SIZE, .f_frsize = PAGE_SIZE, .f_namelen = NAME_MAX};
    struct mount *mount = vnode->mount;
    if (mount != NULL) {
        out.f_type = (__typeof__(out.f_type))mount->filesystem->magic;
        out.f_flags = mount->read_only;
        if (mount->filesystem->statistics != NULL)
            mount->filesystem->statistics(mount, &out);
    }
    vnode_put(vnode);
    return user_write(user, &out, sizeof(out));
}

long sys_statfs(const char *name, struct statfs *out) {
    struct vnode *vnode;
    int status = vnode_at(AT_FDCWD, name, WALK_FOLLOW, false, &vnode);
    return status < 0 ? status : statistics_out(vnode, out);
}

long sys_fstatfs(int descriptor, struct statfs *out) {
    struct vnode *vnode = vnode_of(descriptor);
    return vnode == NULL ? -EBADF : statistics_out(vnode, out);
}

// --- access ---

#define MAY_READ 4
#define MAY_WRITE 2
#define MAY_EXECUTE 1

long sys_faccessat2(int descriptor, const char *name, int mode, int flags) {
    if (mode & ~(MAY_READ | MAY_WRITE | MAY_EXECUTE) ||
        flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct vnode *vnode;
    int status = vnode_at(descriptor, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    if (status < 0)
        return status;
    bool data = vnode_is(vnode, S_IFREG) || vnode_is(vnode, S_IFDIR) || vnode_is(vnode, S_IFLNK);
    if (mode & MAY_WRITE && data)
        status = vnode_check_writable(vnode);
    if (mode & MAY_EXECUTE && !vnode_is(vnode, S_IFDIR) && !(vnode->mode & 0111))
        status = -EACCES;
    vnode_put(vnode);
    return status;
}

long sys_faccessat(int descriptor, const char *name, int mode) {
    return sys_faccessat2(descriptor, name, mode, 0);
}

long sys_access(const char *name, int mode) {
    return sys_faccessat2(AT_FDCWD, name, mode, 0);
}

// --- chmod, chown ---

// After a change, which the filesystem is to keep. Takes over the reference.
static long attributes_changed(struct vnode *vnode, int status) {
    if (status == 0 && vnode->operations->changed != NULL)
        status = vnode->operations->changed(vnode);
    vnode_put(vnode);
    return status;
}

// Takes over the reference.
static long change_mode(struct vnode *vnode, u32 mode) {
    int status = vnode_check_writable(vnode);
    if (status == 0 && vnode_is(vnode, S_IFLNK))
        status = -EOPNOTSUPP;
    if (status == 0) {
        vnode->mode = (vnode->mode & S_IFMT) | (mode & 07777);
        vnode->changed = clock_realtime();
    }
    return attributes_changed(vnode, status);
}

long sys_fchmodat2(int descriptor, const char *name, unsigned mode, int flags) {
    struct vnode *vnode;
    int status = vnode_at(descriptor, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    return status < 0 ? status : change_mode(vnode, mode);
}

long sys_fchmodat(int descriptor, const char *name, unsigned mode) {
    return sys_fchmodat2(descriptor, name, mode, 0);
}

long sys_chmod(const char *name, unsigned mode) {
    return sys_fchmodat2(AT_FDCWD, name, mode, 0);
}

long sys_fchmod(int descriptor, unsigned mode) {
    struct vnode *vnode = vnode_of(descriptor);
    return vnode == NULL ? -EBADF : change_mode(vnode, mode);
}

static long change_owner(struct vnode *vnode, u32 user, u32 group) {
    int status = vnode_check_writable(vnode);
    if (status == 0) {
        if (user != UINT32_MAX)
            vnode->uid = user;
        if (group != UINT32_MAX)
            vnode->gid = group;
        vnode->changed = clock_realtime();
    }
    return attributes_changed(vnode, status);
}

long sys_fchownat(int descriptor, const char *name, unsigned user, unsigned group, int flags) {
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct vnode *vnode;
    int status = vnode_at(descriptor, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    return status < 0 ? status : change_owner(vnode, user, group);
}

long sys_chown(const char *name, unsigned user, unsigned group) {
    return sys_fchownat(AT_FDCWD, name, user, group, 0);
}

long sys_lchown(const char *name, unsigned user, unsigned group) {
    return sys_fchownat(AT_FDCWD, name, user, group, AT_SYMLINK_NOFOLLOW);
}

long sys_fchown(int descriptor, unsigned user, unsigned group) {
    struct vnode *vnode = vnode_of(descriptor);
    return vnode == NULL ? -EBADF : change_owner(vnode, user, group);
}

// --- Times ---

#define TIME_NOW 0x3fffffffL  // UTIME_NOW
#define TIME_OMIT 0x3ffffffeL // UTIME_OMIT

static int time_from(const struct timespec *time, u64 now, u64 *out) {
    if (time->tv_nsec == TIME_OMIT)
        return 0;
    if (time->tv_nsec != TIME_NOW && (time->tv_nsec < 0 || time->tv_nsec >= (long)SECOND))
        return -EINVAL;
    *out = time->tv_nsec == TIME_NOW ? now : timespec_to_ns(time);
    return 0;
}

static long change_times(struct vnode *vnode, const struct timespec times[2]) {
    u64 now = clock_realtime(), accessed = vnode->accessed, modified = vnode->modified;
    int status = time_from(&times[0], now, &accessed);
    if (status == 0)
        status = time_from(&times[1], now, &modified);
    if (status == 0)
        status = vnode_check_writable(vnode);
    if (status == 0) {
        vnode->accessed = accessed;
        vnode->modified = modified;
        vnode->changed = now;
    }
    return attributes_changed(vnode, status);
}

static long times_at(int descriptor, const char *name, const struct timespec times[2], int flags) {
    struct vnode *vnode = NULL;
    if (name == NULL) {
        vnode = vnode_of(descriptor);
        return vnode == NULL ? -EBADF : change_times(vnode, times);
    }
    int status = vnode_at(descriptor, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
                          (flags & AT_EMPTY_PATH) != 0, &vnode);
    return status < 0 ? status : change_times(vnode, times);
}

static const struct timespec now_twice[2] = {{.tv_nsec = TIME_NOW}, {.tv_nsec = TIME_NOW}};

long sys_utimensat(int descriptor, const char *name, const struct timespec *user, int flags) {
    struct timespec times[2];
    if (user == NULL)
        return times_at(descriptor, name, now_twice, flags);
    int status = user_read(times, user, sizeof(times));
    return status < 0 ? status : times_at(descriptor, name, times, flags);
}

long sys_futimesat(int descriptor, const char *name, const struct timeval *user) {
    struct timeval values[2];
    struct timespec times[2];
    if (user == NULL)
        return times_at(descriptor, name, now_twice, 0);
    int status = user_read(values, user, sizeof(values));
    if (status < 0)
        return status;
    for (int i = 0; i < 2; i++) {
        if (values[i].tv_usec < 0 || values[i].tv_usec >= 1000000)
            return -EINVAL;
        times[i] =
            (struct timespec){.tv_sec = values[i].tv_sec, .tv_nsec = values[i].tv_usec * 1000};
    }
    return times_at(descriptor, name, times, 0);
}

long sys_utimes(const char *name, const struct timeval *user) {
    return sys_futimesat(AT_FDCWD, name, user);
}

long sys_utime(const char *name, const i64 *user) {
    i64 values[2];
    if (user == NULL)
        return times_at(AT_FDCWD, name, now_twice, 0);
    int status = user_read(values, user, sizeof(values));
    struct timespec times[2] = {{.tv_sec = values[0]}, {.tv_sec = values[1]}};
    return status < 0 ? status : times_at(AT_FDCWD, name, times, 0);
}

// --- Sizes ---

long sys_truncate(const char *name, i64 size) {
    if (size < 0)
        return -EINVAL;
    struct vnode *vnode;
    int status = vnode_at(AT_FDCWD, name, WALK_FOLLOW, false, &vnode);
    if (status < 0)
        return status;
    status = vnode_truncate(vnode, (u64)size);
    vnode_put(vnode);
    return status;
}

// The open, writable file behind a descriptor that changes of size need.
static long with_writable(int descriptor, long (*change)(struct vnode *, int, i64, i64), int mode,
                          i64 a, i64 b) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = file_writable(file) ? change(file->vnode, mode, a, b) : -EBADF;
    file_put(file);
    return status;
}

static long truncate_to(struct vnode *vnode, int mode, i64 size, i64 unused) {
    (void)mode, (void)unused;
    return vnode_is(vnode, S_IFREG) ? vnode_truncate(vnode, (u64)size) : -EINVAL;
}

long sys_ftruncate(int descriptor, i64 size) {
    if (size < 0)
        return -EINVAL;
    struct vnode *vnode = vnode_of(descriptor);
    bool open = vnode != NULL;
    vnode_put(vnode);
    long status = with_writable(descriptor, truncate_to, 0, size, 0);
    return open && status == -EBADF ? -EINVAL : status; // as Linux: open, but not for writing
}

static long allocate(struct vnode *vnode, int mode, i64 offset, i64 length) {
    if (vnode_is(vnode, S_IFDIR))
        return -EISDIR;
    if (vnode_is(vnode, S_IFIFO))
        return -ESPIPE;
    if (!vnode_is(vnode, S_IFREG))
        return -ENODEV;
    if (vnode->operations->allocate == NULL)
        return -EOPNOTSUPP;
    int status = vnode->operations->allocate(vnode, mode, (u64)offset, (u64)length);
    if (status == 0 && mode & ~FALLOC_FL_KEEP_SIZE) // a hole, or zeros
        area_file_changed(vnode, (u64)offset, (u64)offset + (u64)length, false);
    if (status == 0)
        vnode_touch(vnode);
    return status;
}

long sys_fallocate(int descriptor, int mode, i64 offset, i64 length) {
    if (offset < 0 || length <= 0)
        return -EINVAL;
    return with_writable(descriptor, allocate, mode, offset, length);
}
