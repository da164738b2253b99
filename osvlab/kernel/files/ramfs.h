// ramfs: nodes and their two kinds of contents. See ramfs.c (names) and ramfs_data.c (pages).
#pragma once

#include "vnode.h"

// A name in a directory. Entries are in a list, in the order they were made, for listing, and
// in a hash chain for looking up.
struct ramfs_entry {
    struct list link;
    struct ramfs_entry *chain;
    u64 cookie; // increases along the list: where a listing continues
    u32 hash;
    u16 length;
    struct vnode *vnode; // one reference
    char name[];
};

// The first pages of a file hang on the node itself; if there are more, all others hang on chunks
// of 512, and the chunks on one growing array. A missing page is a hole and reads as zeros.
#define DIRECT_PAGES 4
#define CHUNK_PAGES (PAGE_SIZE / sizeof(struct page *))

struct ramfs_node {
    struct vnode vnode;
    union {
        struct {
            struct list entries;
            struct ramfs_entry **buckets;
            size_t bucket_count, entry_count;
            u64 next_cookie;
        };
        struct {
            struct page *direct[DIRECT_PAGES];
            struct page ***chunks;
            size_t chunk_count;
            u64 pages; // allocated ones
        };
        char *target; // of a symbolic link
    };
};

static inline struct ramfs_node *ramfs_node(struct vnode *vnode) {
    return CONTAINER_OF(vnode, struct ramfs_node, vnode);
}

extern const struct file_operations ramfs_file_operations;
struct page *ramfs_page(struct vnode *vnode, u64 index, bool writable, int *error);
int ramfs_truncate(struct vnode *vnode, u64 size);
int ramfs_allocate(struct vnode *vnode, int mode, u64 offset, u64 length);
u64 ramfs_blocks(struct vnode *vnode);
void ramfs_free_data(struct ramfs_node *node);

// All ramfs together may fill three quarters of memory; then they are "full". Otherwise a program
// that writes too much would not get ENOSPC, but take away the memory it runs in.
void *ramfs_allocate_object(size_t size);
void ramfs_free_object(void *object, size_t size);
struct vnode *ramfs_make(struct mount *mount, u32 mode, u64 device);

// devfs is a ramfs with nodes in it.
extern const struct vnode_operations ramfs_operations;
int ramfs_mount(struct mount *mount, struct block_device *device);
bool ramfs_busy(struct mount *mount, u32 ours);
void ramfs_clear(struct mount *mount);
void ramfs_statistics(struct mount *mount, struct statfs *out);
