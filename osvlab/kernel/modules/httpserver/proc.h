// Reading the files in which the kernel tells about itself (proc(5)).
#pragma once

#include "buffer.h"

// Reads a whole file, of at most a megabyte, and ends it with a NUL that does not count.
bool proc_read(const char *path, struct buffer *out); // false with errno set
// What stands behind "NAME:" or "NAME\t:" at the beginning of a line; NULL if nothing does.
const char *proc_value(const char *text, const char *name);
long long proc_number(const char *text, const char *name); // 0 if there is none
