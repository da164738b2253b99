// The records of a cpio archive in the "new" ASCII format.
#pragma once

#include "input.h"

#define ENTRY_NAME_SIZE 4096 // with its NUL

struct entry {
    unsigned mode;  // as st_mode
    unsigned inode; // the same one in records of the same file
    unsigned links; // how many names it has; each record has the data
    unsigned mtime; // seconds since 1970
    size_t size;    // of the data that follows
    char name[ENTRY_NAME_SIZE];
};

// Reads the next record's header and name. 1; 0 for the trailer; -1 with *error in words, and
// `entry` is still the one before.
int archive_next(struct input *in, struct entry *entry, const char **error);
bool archive_padding(struct input *in, size_t size); // skips what fills `size` up to 4 bytes
