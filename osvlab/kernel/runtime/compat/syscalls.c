// Linux system calls that glibc wraps and musl does not (yet).

#include "compat.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

struct statx;

// Weak, because later versions of musl have some of them.
#define WEAK_EXPORT __attribute__((weak, visibility("default")))

WEAK_EXPORT int statx(int directory, const char *restrict path, int flags, unsigned mask,
                      struct statx *restrict to) {
    return (int)syscall(SYS_statx, directory, path, flags, mask, to);
}

WEAK_EXPORT int renameat2(int from_directory, const char *from, int to_directory, const char *to,
                          unsigned flags) {
    return (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
}

WEAK_EXPORT int close_range(unsigned first, unsigned last, int flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}

WEAK_EXPORT void closefrom(int first) {
    if (syscall(SYS_close_range, first < 0 ? 0 : first, ~0U, 0))
        for (int i = first < 0 ? 0 : first; i < 1024; i++)
            close(i);
}

WEAK_EXPORT int getcpu(unsigned *processor, unsigned *node) {
    return (int)syscall(SYS_getcpu, processor, node, NULL);
}

WEAK_EXPORT int execveat(int directory, const char *path, char *const argv[],
                         char *const environment[], int flags) {
    return (int)syscall(SYS_execveat, directory, path, argv, environment, flags);
}

WEAK_EXPORT int epoll_pwait2(int descriptor, struct epoll_event *events, int count,
                             const struct timespec *timeout, const sigset_t *signals) {
    return (int)syscall(SYS_epoll_pwait2, descriptor, events, count, timeout, signals, _NSIG / 8);
}

WEAK_EXPORT ssize_t preadv2(int descriptor, const struct iovec *parts, int count, off_t offset,
                            int flags) {
    return syscall(SYS_preadv2, descriptor, parts, count, offset, 0L, flags);
}

WEAK_EXPORT ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset,
                             int flags) {
    return syscall(SYS_pwritev2, descriptor, parts, count, offset, 0L, flags);
}

WEAK_EXPORT int pidfd_open(pid_t process, unsigned flags) {
    return (int)syscall(434, process, flags);
}

WEAK_EXPORT int pidfd_send_signal(int process, int signal, siginfo_t *info, unsigned flags) {
    return (int)syscall(424, process, signal, info, flags);
}
