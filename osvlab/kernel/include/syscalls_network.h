// System calls about sockets, by the names of Linux's x86_64 table (network/socket_calls.c,
// socket_transfer.c, socket_options.c).
#pragma once

#include "base.h"

struct mmsghdr;
struct msghdr;
struct timespec;

long sys_socket(int domain, int type, int protocol);
long sys_socketpair(int domain, int type, int protocol, int *out);
long sys_bind(int descriptor, const void *address, int size);
long sys_listen(int descriptor, int backlog);
long sys_accept(int descriptor, void *address, int *size);
long sys_accept4(int descriptor, void *address, int *size, int flags);
long sys_connect(int descriptor, const void *address, int size);
long sys_getsockname(int descriptor, void *address, int *size);
long sys_getpeername(int descriptor, void *address, int *size);
long sys_shutdown(int descriptor, int how);

long sys_sendto(int descriptor, const void *data, size_t size, int flags, const void *address,
                int address_size);
long sys_recvfrom(int descriptor, void *data, size_t size, int flags, void *address,
                  int *address_size);
long sys_sendmsg(int descriptor, const struct msghdr *message, int flags);
long sys_recvmsg(int descriptor, struct msghdr *message, int flags);
long sys_sendmmsg(int descriptor, struct mmsghdr *messages, unsigned count, int flags);
long sys_recvmmsg(int descriptor, struct mmsghdr *messages, unsigned count, int flags,
                  struct timespec *timeout);

long sys_setsockopt(int descriptor, int level, int name, const void *value, int size);
long sys_getsockopt(int descriptor, int level, int name, void *value, int *size);
