// ROFS, OSv's read-only filesystem (scripts/gen-rofs-img.py, fs/rofs/): the format and the state
// of a mount. Everything on disk is little-endian and packed; blocks have 512 bytes.
//
//   block 0                 superblock
//   blocks 1 ...            data of files, each beginning on a block
//   structure_first_block   the structure area, one stream of bytes: directory entries, then
//                           symbolic links' targets, then inodes
#pragma once

#include "vnode.h"

#include "block.h"

#define ROFS_MAGIC 0xDEADBEADUL
#define ROFS_VERSION 1
#define ROFS_BLOCK 512

struct rofs_superblock {
    u64 magic, version, block_size;
    u64 structure_first_block, structure_blocks;
    u64 directory_entries, symlinks, inodes;
};

// An inode. Number n is the n-th in the table, counted from 1, which is the root directory.
struct rofs_inode {
    u64 mode; // type bits only
    u64 number;
    u64 data_offset; // file: first block; directory: first entry; link: place in the table
    u64 count;       // file: bytes; directory: entries; link: 1
};

#define ROFS_ENTRY_HEADER 10 // u64 inode, u16 length; the name follows
#define ROFS_LINK_HEADER 2   // u16 length; the target follows

// Entries and links have different lengths, so finding the n-th means walking. Where every 64th
// begins is noted at mount, as an offset into the structure area.
#define ROFS_STRIDE 64

// An index of all names: chains of entry numbers (plus one; 0 ends a chain) by the hash of the
// name, over all directories together. Without memory for it there is none, and lookups search.
struct rofs_index {
    u32 *heads, *next;
    u64 buckets; // a power of two, or 0: no index
};

struct rofs {
    struct block_device *device;
    struct rofs_superblock super;
    u64 structure_size; // bytes
    u64 *entry_marks, *link_marks;
    struct rofs_index index;
    u64 inode_table; // offset in the structure area
};

// A run of bytes on disk that is cached page by page. Inode 0 is the structure area.
struct rofs_extent {
    u64 inode, first_sector, size;
};

struct rofs_vnode {
    struct vnode vnode;
    u64 data_offset, count;
};

static inline struct rofs *rofs_of(const struct vnode *vnode) {
    return vnode->mount->data;
}
static inline struct rofs_vnode *rofs_vnode(struct vnode *vnode) {
    return CONTAINER_OF(vnode, struct rofs_vnode, vnode);
}

// --- rofs_data.c
struct page *rofs_page(struct rofs *rofs, const struct rofs_extent *extent, u64 index, int *error);
extern const struct file_operations rofs_file_operations;
struct page *rofs_vnode_page(struct vnode *vnode, u64 index, bool writable, int *error);

// --- rofs_table.c: reading the structure area, with one page held while reading goes on in it
struct rofs_cursor {
    struct rofs *rofs;
    struct page *page;
    u64 index;
};
int rofs_cursor_read(struct rofs_cursor *cursor, u64 offset, void *out, size_t size);
void rofs_cursor_done(struct rofs_cursor *cursor);

struct rofs_entry {
    u64 inode;
    u16 length;
    char name[NAME_MAX + 1];
    u64 next; // offset of the next entry
};
void rofs_index_make(struct rofs *rofs);
void rofs_index_free(struct rofs *rofs);
void rofs_index_add(struct rofs *rofs, u64 number, const char *name, size_t length);
int rofs_entry_find(struct rofs *rofs, u64 first, u64 count, const char *name, size_t length,
                    struct rofs_entry *out); // among the `count` entries from number `first` on
int rofs_tables_check(struct rofs *rofs);    // fills the marks and inode_table
int rofs_entry_offset(struct rofs_cursor *cursor, u64 number, u64 *offset);
int rofs_entry_read(struct rofs_cursor *cursor, u64 offset, struct rofs_entry *out);
long rofs_link_read(struct rofs *rofs, u64 number, char *out, size_t size);
int rofs_inode_read(struct rofs_cursor *cursor, u64 number, struct rofs_inode *out);
