// What unpacking has to remember from one entry to the next.
#pragma once

#include "archive.h"

#define LINK_BUCKETS 1024

struct memory {
    struct remembered *links[LINK_BUCKETS]; // by inode
    struct remembered *directories;
};

// The name under which a file with several names came first; NULL: it is the first.
const char *links_first(const struct memory *memory, unsigned inode);
// These give false when there is no memory left.
bool links_add(struct memory *memory, const struct entry *entry);
bool directories_add(struct memory *memory, const struct entry *entry);
// Gives all directories their times, the last one first. 0, or -1 with errno and the name of which.
int directories_finish(struct memory *memory, int root, const char **name);
void memory_free(struct memory *memory);
