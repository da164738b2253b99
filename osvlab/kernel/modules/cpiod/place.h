// Where entries go: below one directory, and never outside of it.
#pragma once

#include <stdbool.h>

// Opens the directory that shall hold an entry, making it and its parents where they are
// missing, and gives the last component of the name. A descriptor, or -1 with errno. EXDEV: the
// name leads out ("..").
int place_open(int root, const char *name, const char **last);
