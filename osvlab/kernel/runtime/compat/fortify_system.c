// Fortified wrappers of system calls and what surrounds them. LSB 5.0 Core; glibc debug/.

#include "compat.h"

#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static void check(size_t need, size_t room) {
    if (need > room)
        __chk_fail();
}

EXPORT ssize_t __read_chk(int descriptor, void *to, size_t size, size_t room) {
    check(size, room);
    return read(descriptor, to, size);
}

EXPORT ssize_t __pread_chk(int descriptor, void *to, size_t size, off_t offset, size_t room) {
    check(size, room);
    return pread(descriptor, to, size, offset);
}

EXPORT ssize_t __pread64_chk(int descriptor, void *to, size_t size, off_t offset, size_t room) {
    check(size, room);
    return pread(descriptor, to, size, offset);
}

EXPORT ssize_t __recv_chk(int descriptor, void *to, size_t size, size_t room, int flags) {
    check(size, room);
    return recv(descriptor, to, size, flags);
}

EXPORT ssize_t __recvfrom_chk(int descriptor, void *to, size_t size, size_t room, int flags,
                              struct sockaddr *address, socklen_t *length) {
    check(size, room);
    return recvfrom(descriptor, to, size, flags, address, length);
}

EXPORT ssize_t __readlink_chk(const char *path, char *to, size_t size, size_t room) {
    check(size, room);
    return readlink(path, to, size);
}

EXPORT ssize_t __readlinkat_chk(int directory, const char *path, char *to, size_t size,
                                size_t room) {
    check(size, room);
    return readlinkat(directory, path, to, size);
}

EXPORT char *__getcwd_chk(char *to, size_t size, size_t room) {
    check(size, room);
    return getcwd(to, size);
}

EXPORT char *__realpath_chk(const char *path, char *to, size_t room) {
    check(to ? PATH_MAX : 0, room);
    return realpath(path, to);
}

EXPORT int __ptsname_r_chk(int descriptor, char *to, size_t size, size_t room) {
    check(size, room);
    return ptsname_r(descriptor, to, size);
}

EXPORT int __ttyname_r_chk(int descriptor, char *to, size_t size, size_t room) {
    check(size, room);
    return ttyname_r(descriptor, to, size);
}

EXPORT int __gethostname_chk(char *to, size_t size, size_t room) {
    check(size, room);
    return gethostname(to, size);
}

EXPORT int __getdomainname_chk(char *to, size_t size, size_t room) {
    check(size, room);
    return getdomainname(to, size);
}

EXPORT int __getlogin_r_chk(char *to, size_t size, size_t room) {
    check(size, room);
    return getlogin_r(to, size);
}

EXPORT int __getgroups_chk(int count, gid_t *to, size_t room) {
    check(count > 0 ? (size_t)count * sizeof(*to) : 0, room);
    return getgroups(count, to);
}

EXPORT size_t __confstr_chk(int name, char *to, size_t size, size_t room) {
    check(size, room);
    return confstr(name, to, size);
}

EXPORT int __poll_chk(struct pollfd *descriptors, nfds_t count, int timeout, size_t room) {
    check(count, room / sizeof(*descriptors));
    return poll(descriptors, count, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *descriptors, nfds_t count, const struct timespec *timeout,
                       const sigset_t *signals, size_t room) {
    check(count, room / sizeof(*descriptors));
    return ppoll(descriptors, count, timeout, signals);
}

// The word of an fd_set that a descriptor is in.
EXPORT long __fdelt_chk(long descriptor) {
    if (descriptor < 0 || descriptor >= FD_SETSIZE)
        __chk_fail();
    return descriptor / (8 * (long)sizeof(long));
}

EXPORT long __fdelt_warn(long descriptor) {
    return __fdelt_chk(descriptor);
}

// open without a mode, where the flags were not known to the compiler.
static int needs_no_mode(int flags) {
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
        __chk_fail();
    return flags;
}

EXPORT int __open_2(const char *path, int flags) {
    return open(path, needs_no_mode(flags));
}

EXPORT int __open64_2(const char *path, int flags) {
    return open(path, needs_no_mode(flags));
}

EXPORT int __openat_2(int directory, const char *path, int flags) {
    return openat(directory, path, needs_no_mode(flags));
}

EXPORT int __openat64_2(int directory, const char *path, int flags) {
    return openat(directory, path, needs_no_mode(flags));
}

EXPORT mqd_t __mq_open_2(const char *name, int flags) {
    return mq_open(name, needs_no_mode(flags));
}
