// bootfs: OSv's archive of files in memory (scripts/mkbootfs.py) or on a partition.
#pragma once

#include "vnode.h"

#define BOOTFS_RECORD 128
#define BOOTFS_NAME 111

// Where the archive's bytes come from: 0, or -errno; beyond the end -EINVAL.
struct bootfs_source {
    int (*read)(struct bootfs_source *source, u64 offset, void *to, size_t size);
    u64 size;
    u64 resident; // bytes of memory that it takes itself
};

// Say what is wrong. -ENOMEM: only a part of the files is there.
int bootfs_unpack(struct vnode *root, struct bootfs_source *source);
int bootfs_unpack_memory(struct vnode *root, const u8 *start, const u8 *end);
int bootfs_unpack_device(struct vnode *root, struct block_device *device);
bool bootfs_is_on(struct block_device *device);
