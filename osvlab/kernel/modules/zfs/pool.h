// The lower half of ZFS: a pool is labels, uberblocks, blocks that are found by block pointers,
// and the space they are taken from. It knows of objects only what it needs: the space maps.
//
// What one transaction group writes goes in passes. In the first, changed blocks go to new places
// and the old ones are freed; that changes the space maps, which are objects too. In later passes
// a block that was written in this group is written again in its own place, as long as it keeps
// its size (so it is not compressed then), and the passes come to an end.
#pragma once

#include "ondisk.h"
#include "zfs.h"

#define PASSES_MAX 40 // four or five are usual; from there on, each more is half as likely

struct object_set;

enum {
    CHECKSUM_OFF = 2,
    CHECKSUM_LABEL,
    CHECKSUM_GANG,
    CHECKSUM_ZILOG,
    CHECKSUM_FLETCHER2,
    CHECKSUM_FLETCHER4,
    CHECKSUM_SHA256,
    CHECKSUM_ZILOG2
};
enum {
    COMPRESS_ON = 1,
    COMPRESS_OFF,
    COMPRESS_LZJB,
    COMPRESS_EMPTY,
    COMPRESS_GZIP_1,
    COMPRESS_GZIP_9 = 13,
    COMPRESS_ZLE,
    COMPRESS_LZ4
};

#define BLOCK_MAX (128 * 1024)

// One line on the console, "[zfs] ...", with %s, %u, %lu and %lx.
__attribute__((format(printf, 1, 2))) void zfs_report(const char *format, ...);

// --- block.c: blocks by their pointers

static inline bool block_is_hole(const struct blkptr *pointer) {
    return pointer->dva[0].word0 == 0 && pointer->dva[0].word1 == 0 &&
           !(pointer->properties >> 39 & 1);
}
uint64_t block_size(const struct blkptr *pointer);   // bytes as they are read
uint64_t block_stored(const struct blkptr *pointer); // disk space, all copies

// Reads a whole block of `size` bytes, from the first copy that has the right checksum. -EIO: none
// has; -ENOTSUP: made by a feature that is not known here.
int block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer, size_t size);

struct block_how {
    uint8_t type, level, checksum, compression, copies;
    uint64_t fill;
};
// Writes a block anew and points to it; *pointer still has the old place, which is freed or, in a
// later pass of the group that wrote it, used again. -ENOSPC: no space.
int block_write(struct zfs_pool *pool, struct blkptr *pointer, const void *data, size_t size,
                const struct block_how *how);
// Makes ready what block_free needs, so that it cannot fail: -ENOMEM, -EIO.
int block_prepare_free(struct zfs_pool *pool, const struct blkptr *pointer);
// Frees what it points to and makes it a hole. Space is used again only after this group is durable.
void block_free(struct zfs_pool *pool, struct blkptr *pointer);
// The same for a block of an intent log, which is charged to nobody.
void block_free_log(struct zfs_pool *pool, struct blkptr *pointer);

// --- space.c: which space is free, from the space maps

int space_open(struct zfs_pool *pool);
void space_close(struct zfs_pool *pool);
int space_allocate(struct zfs_pool *pool, unsigned copy, uint64_t size, uint64_t *offset);
int space_prepare(struct zfs_pool *pool, uint64_t offset); // to free what is there
void space_free(struct zfs_pool *pool, uint64_t offset, uint64_t size, uint64_t birth);
bool space_changed(const struct zfs_pool *pool); // since space_write
int space_write(struct zfs_pool *pool);          // appends what changed to the space maps
void space_done(struct zfs_pool *pool);          // the group is durable: what it freed may be used
uint64_t space_total(const struct zfs_pool *pool); // bytes, without what is kept in reserve
uint64_t space_used(const struct zfs_pool *pool);
// What this group may write, in bytes: whoever changes something asks before (and after zfs_sync again,
// because freed space becomes available then). To make files grow, and to remove them: which lives
// on the reserve, but for what completing a group takes.
uint64_t space_available(const struct zfs_pool *pool);
uint64_t space_to_remove(const struct zfs_pool *pool);

// --- label.c: the labels and the uberblock ring

int label_read(struct zfs_pool *pool);      // the configuration, and the candidates for a root
int label_write(struct zfs_pool *pool);     // the configuration, with the pool's state
int uberblock_write(struct zfs_pool *pool); // after a flush, and flushes itself

// --- The pool itself; fields that only one file needs are in that file's own structure.

enum { POOL_ACTIVE = 0, POOL_EXPORTED = 1 };

struct space;
struct labels;
struct block_memory;

struct zfs_pool {
    struct zfs_disk *disk;
    struct uberblock uberblock; // the last durable one
    struct blkptr root;         // of the MOS as it is now: objset_sync changes it
    uint64_t txg;               // that is being filled; in zfs_sync, that is being written
    unsigned pass;              // in zfs_sync: 1, 2, ...
    unsigned ashift;
    uint64_t state, guid, version;
    uint64_t opened;   // txg of the uberblock it was opened from
    bool was_exported; // then
    char name[256];
    bool has_lz4;          // lz4_compress is active
    const char *read_only; // why; NULL: it is not
    char unknown[160];     // a feature that is in use, and why for that it is only read
    int failed;            // a write failed: nothing more is written
    struct object_set *mos;
    struct cache *cache; // buffer.c: blocks in memory
    struct space *space;
    struct labels *labels;
    struct block_memory *memory;
    uint64_t dirty_bytes; // in memory; dirty_space: what they may take on disk
    uint64_t dirty_space;
    int64_t mos_delta[3];         // what the MOS came to use, and $MOS is not yet told
    struct zfs_dataset *datasets; // that are open
    // What datasets use: changed by block_write and block_free through the dataset that syncs now.
    struct zfs_dataset *charged;
};

// What so many bytes take on the disk: whole units of allocation.
static inline uint64_t pool_taken(const struct zfs_pool *pool, uint64_t size) {
    uint64_t unit = (uint64_t)1 << pool->ashift;
    return (size + unit - 1) & ~(unit - 1);
}
void pool_charge(struct zfs_pool *pool, int64_t used, int64_t compressed, int64_t uncompressed);
