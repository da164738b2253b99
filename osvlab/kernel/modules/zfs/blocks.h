// Parts of a block pointer, and of reading and freeing blocks, for the lower half only.
#pragma once

#include "codec.h"
#include "pool.h"

enum { SECTOR_SIZE = 1 << SECTOR_SHIFT, GANG_DEPTH = 4, RUNS = 16, RUN_MAX = 64 * 1024 };

// Memory for one block on its way in, one on its way out (to find space for it, others are read),
// and for packing: there is one lock for the pool, so one of it.
struct block_memory {
    uint8_t in[BLOCK_MAX];
    uint8_t out[BLOCK_MAX];
    struct gang_header read[GANG_DEPTH], change[GANG_DEPTH]; // one in another
    struct run {
        uint64_t offset; // in the data area
        size_t length;   // 0: it is empty
        uint64_t used;   // when, as `uses` counts
        uint8_t data[RUN_MAX];
    } runs[RUNS]; // what is to be written
    uint64_t uses;
    uint8_t table[CODEC_TABLE];
};

// A pool's memory, before anything of it is read.
struct zfs_pool *pool_make(struct zfs_disk *disk);
void pool_unmake(struct zfs_pool *pool);

static inline uint64_t pointer_bits(const struct blkptr *pointer, unsigned from, unsigned count) {
    return pointer->properties >> from & (((uint64_t)1 << count) - 1);
}
static inline size_t pointer_size(const struct blkptr *pointer) {
    return (size_t)(pointer_bits(pointer, 0, 16) + 1) << SECTOR_SHIFT;
}
static inline size_t pointer_stored(const struct blkptr *pointer) {
    return (size_t)(pointer_bits(pointer, 16, 16) + 1) << SECTOR_SHIFT;
}
static inline uint64_t pointer_birth(const struct blkptr *pointer) {
    return pointer->physical_birth != 0 ? pointer->physical_birth : pointer->birth;
}

static inline bool dva_empty(const struct dva *dva) {
    return dva->word0 == 0 && dva->word1 == 0;
}
static inline bool dva_is_gang(const struct dva *dva) {
    return dva->word1 >> 63;
}
static inline uint64_t dva_offset(const struct dva *dva) { // in the data area
    return (dva->word1 & ~((uint64_t)1 << 63)) << SECTOR_SHIFT;
}
static inline uint64_t dva_taken(const struct dva *dva) {
    return (dva->word0 & 0xffffff) << SECTOR_SHIFT;
}
// Whether it lies on the disk that there is, with `size` bytes; -EIO: not.
int dva_check(struct zfs_pool *pool, const struct dva *dva, uint64_t size);

// What is stored, from the first copy whose checksum is right, gangs put together.
int block_read_stored(struct zfs_pool *pool, const struct blkptr *pointer, uint8_t *buffer,
                      unsigned depth);
// Makes ready what giving its space back needs, and gives it back: that of a gang's members, too.
int block_prepare_space(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth);
void block_free_space(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth);

// Takes space for what the pointer describes, and writes it.
int block_write_stored(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data,
                       unsigned copies, unsigned depth);
// Writes to the places that it has; its checksum is new.
int block_rewrite_stored(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data,
                         unsigned depth);
// Takes space for `copies` of `size` bytes and says so in the pointer; all of them or none.
int block_take_space(struct zfs_pool *pool, struct blkptr *pointer, size_t size, unsigned copies);
void block_return_space(struct zfs_pool *pool, struct blkptr *pointer); // of no gang

// --- gang.c: a block in up to three pieces, when no place was large enough for the whole

int gang_read(struct zfs_pool *pool, const struct blkptr *pointer, const struct dva *dva,
              uint8_t *buffer, unsigned depth);
int gang_prepare(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth);
void gang_free(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth);
int gang_write(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data, unsigned copies,
               unsigned depth);
int gang_rewrite(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data,
                 unsigned depth);

// --- gather.c: to and from the disk; offsets are in the data area

int gather_read(struct zfs_pool *pool, uint64_t offset, void *buffer, size_t size);
int gather_write(struct zfs_pool *pool, uint64_t offset, const void *data, size_t size);
int gather_flush(struct zfs_pool *pool);
