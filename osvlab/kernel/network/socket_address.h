// Addresses between an application's memory and the kernel's. 0 or -errno.
#pragma once

#include <sys/socket.h>

int address_in(struct sockaddr_storage *out, const void *user, int size);
// Writes as much as there is room for (*user_size), and how long the whole is.
int address_out(const struct sockaddr_storage *address, socklen_t size, void *user, int *user_size);
