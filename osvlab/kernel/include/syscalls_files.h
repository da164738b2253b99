// System calls about files, by the names of Linux's x86_64 table, and what the rest of the
// kernel needs beyond file.h.
#pragma once

#include "base.h"

struct stat;
struct statfs;
struct iovec;
struct pollfd;
struct timespec;
struct timeval;
struct itimerspec;
struct epoll_event;
struct files;

// files/open.c
long sys_open(const char *name, int flags, unsigned mode);
long sys_openat(int directory, const char *name, int flags, unsigned mode);
long sys_openat2(int directory, const char *name, const void *how, size_t size);
long sys_creat(const char *name, unsigned mode);

// files/descriptors.c
long sys_close(int descriptor);
long sys_close_range(unsigned first, unsigned last, unsigned flags);
long sys_dup(int descriptor);
long sys_dup2(int from, int to);
long sys_dup3(int from, int to, int flags);
long sys_umask(int mask);
int descriptor_close_on_exec(int descriptor, int value); // value < 0: only asks. -EBADF
void files_close_on_exec(struct files *files);
void files_limits(struct files *files, u64 *soft, u64 *hard); // RLIMIT_NOFILE
int files_set_limits(struct files *files, u64 soft, u64 hard);

// files/io.c
long sys_read(int descriptor, void *buffer, size_t size);
long sys_write(int descriptor, const void *buffer, size_t size);
long sys_readv(int descriptor, const struct iovec *vector, int count);
long sys_writev(int descriptor, const struct iovec *vector, int count);
long sys_pread64(int descriptor, void *buffer, size_t size, i64 offset);
long sys_pwrite64(int descriptor, const void *buffer, size_t size, i64 offset);
long sys_preadv(int descriptor, const struct iovec *vector, int count, i64 offset);
long sys_pwritev(int descriptor, const struct iovec *vector, int count, i64 offset);
long sys_preadv2(int descriptor, const struct iovec *vector, int count, i64 offset, i64 high,
                 int flags);
long sys_pwritev2(int descriptor, const struct iovec *vector, int count, i64 offset, i64 high,
                  int flags);
long sys_lseek(int descriptor, i64 offset, int whence);
long sys_sendfile(int to, int from, i64 *offset, size_t size);
long sys_copy_file_range(int from, i64 *from_offset, int to, i64 *to_offset, size_t size,
                         unsigned flags);

// files/control.c
long sys_fcntl(int descriptor, int command, u64 argument);
long sys_ioctl(int descriptor, unsigned command, u64 argument);
long sys_flock(int descriptor, int operation);
long sys_fsync(int descriptor);
long sys_fdatasync(int descriptor);
long sys_sync(void);
long sys_syncfs(int descriptor);
long sys_sync_file_range(int descriptor, i64 offset, i64 length, unsigned flags);
long sys_fadvise64(int descriptor, i64 offset, i64 length, int advice);
long sys_readahead(int descriptor, i64 offset, size_t size);

// files/attributes.c
long sys_stat(const char *name, struct stat *out);
long sys_lstat(const char *name, struct stat *out);
long sys_fstat(int descriptor, struct stat *out);
long sys_newfstatat(int directory, const char *name, struct stat *out, int flags);
long sys_statx(int directory, const char *name, int flags, unsigned mask, void *out);
long sys_statfs(const char *name, struct statfs *out);
long sys_fstatfs(int descriptor, struct statfs *out);
long sys_access(const char *name, int mode);
long sys_faccessat(int directory, const char *name, int mode);
long sys_faccessat2(int directory, const char *name, int mode, int flags);
long sys_chmod(const char *name, unsigned mode);
long sys_fchmod(int descriptor, unsigned mode);
long sys_fchmodat(int directory, const char *name, unsigned mode);
long sys_fchmodat2(int directory, const char *name, unsigned mode, int flags);
long sys_chown(const char *name, unsigned user, unsigned group);
long sys_lchown(const char *name, unsigned user, unsigned group);
long sys_fchown(int descriptor, unsigned user, unsigned group);
long sys_fchownat(int directory, const char *name, unsigned user, unsigned group, int flags);
long sys_utimensat(int directory, const char *name, const struct timespec *times, int flags);
long sys_utimes(const char *name, const struct timeval *times);
long sys_futimesat(int directory, const char *name, const struct timeval *times);
long sys_utime(const char *name, const i64 *times);
long sys_truncate(const char *name, i64 size);
long sys_ftruncate(int descriptor, i64 size);
long sys_fallocate(int descriptor, int mode, i64 offset, i64 length);

// files/names.c, files/directories.c, files/rename.c
long sys_mkdir(const char *name, unsigned mode);
long sys_mkdirat(int directory, const char *name, unsigned mode);
long sys_mknod(const char *name, unsigned mode, u64 device);
long sys_mknodat(int directory, const char *name, unsigned mode, u64 device);
long sys_rmdir(const char *name);
long sys_unlink(const char *name);
long sys_unlinkat(int directory, const char *name, int flags);
long sys_link(const char *from, const char *to);
long sys_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags);
long sys_symlink(const char *target, const char *name);
long sys_symlinkat(const char *target, int directory, const char *name);
long sys_readlink(const char *name, char *out, size_t size);
long sys_readlinkat(int directory, const char *name, char *out, size_t size);
long sys_rename(const char *from, const char *to);
long sys_renameat(int from_directory, const char *from, int to_directory, const char *to);
long sys_renameat2(int from_directory, const char *from, int to_directory, const char *to,
                   unsigned flags);
long sys_getdents(int descriptor, void *out, size_t size);
long sys_getdents64(int descriptor, void *out, size_t size);
long sys_getcwd(char *out, size_t size);
long sys_chdir(const char *name);
long sys_fchdir(int descriptor);
long sys_chroot(const char *name);
long sys_mount(const char *source, const char *target, const char *type, unsigned long flags,
               const void *data);
long sys_umount2(const char *target, int flags);

// files/poll.c, files/epoll.c
long sys_poll(struct pollfd *files, unsigned long count, int timeout);
long sys_ppoll(struct pollfd *files, unsigned long count, const struct timespec *timeout,
               const u64 *mask, size_t mask_size);
long sys_select(int count, u64 *read, u64 *write, u64 *except, struct timeval *timeout);
long sys_pselect6(int count, u64 *read, u64 *write, u64 *except, struct timespec *timeout,
                  const void *mask);
long sys_epoll_create(int size);
long sys_epoll_create1(int flags);
long sys_epoll_ctl(int epoll, int operation, int descriptor, const struct epoll_event *event);
long sys_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout);
long sys_epoll_pwait(int epoll, struct epoll_event *events, int count, int timeout, const u64 *mask,
                     size_t mask_size);
long sys_epoll_pwait2(int epoll, struct epoll_event *events, int count,
                      const struct timespec *timeout, const u64 *mask, size_t mask_size);

// files/pipe.c, files/eventfd.c, files/timerfd.c, files/memfd.c, files/random.c
long sys_pipe(int *ends);
long sys_pipe2(int *ends, int flags);
long sys_eventfd(unsigned value);
long sys_eventfd2(unsigned value, int flags);
long sys_timerfd_create(int clock, int flags);
long sys_timerfd_settime(int descriptor, int flags, const struct itimerspec *new,
                         struct itimerspec *old);
long sys_timerfd_gettime(int descriptor, struct itimerspec *out);
long sys_memfd_create(const char *name, unsigned flags);
long sys_getrandom(void *buffer, size_t size, unsigned flags);

// files/xattr.c
long sys_xattr(const char *name); // getxattr, setxattr, removexattr
long sys_lxattr(const char *name);
long sys_fxattr(int descriptor);
long sys_listxattr(const char *name);
long sys_llistxattr(const char *name);
long sys_flistxattr(int descriptor);
