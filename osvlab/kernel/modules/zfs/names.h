// Between names.c and remove.c.
#pragma once

#include "znode.h"

#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFLNK 0120000

#define ENTRY(object, mode) ((object) | (uint64_t)((mode) >> 12 & 15) << 60)

struct directory {
    struct object *node; // held
    uint64_t size, links;
};

int directory_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out);
int directory_open(struct zfs_dataset *dataset, uint64_t number, struct directory *out);
void directory_changed(struct zfs_dataset *dataset, struct directory *directory, int entries,
                       int directories);
int name_check(const char *name, size_t length);
