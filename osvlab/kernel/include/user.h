// Touching the application's memory from a system call. There is one address space, so these
// are plain copies, but the address may be wild: then they return -EFAULT instead of crashing.
// They may fault pages in and so may sleep: never call them with a spinlock held. They also
// accept kernel addresses, so kernel code can call file operations with its own buffers.
#pragma once

#include "base.h"

int user_read(void *to, const void *from_user, size_t size);
int user_write(void *to_user, const void *from, size_t size);
int user_clear(void *to_user, size_t size);

// Copies a NUL-terminated string; -ENAMETOOLONG if it does not fit in `size` with its NUL.
// Returns the length without the NUL.
int user_string(char *to, const char *from_user, size_t size);
