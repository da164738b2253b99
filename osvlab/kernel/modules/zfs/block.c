// Blocks by their pointers: read and verified, written anew, freed.
//
// Invariant: no byte comes from here whose checksum was not right. A pointer is as little believed
// as anything else on the disk: sizes, places and ways of packing are checked before use.
//
// Specified in: "ZFS On-Disk Specification" (2006), chapter 2.

#include "blocks.h"

#include <errno.h>
#include <string.h>

#include "label.h"

uint64_t block_size(const struct blkptr *pointer) {
    return pointer_size(pointer);
}

uint64_t block_stored(const struct blkptr *pointer) {
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++)
        sum += dva_taken(&pointer->dva[i]);
    return sum;
}

struct zfs_pool *pool_make(struct zfs_disk *disk) {
    struct zfs_pool *pool = zfs_services->allocate(sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->disk = disk;
    pool->labels = zfs_services->allocate(sizeof(*pool->labels));
    pool->memory = zfs_services->allocate(sizeof(*pool->memory));
    if (pool->labels != NULL && pool->memory != NULL)
        return pool;
    pool_unmake(pool);
    return NULL;
}

void pool_unmake(struct zfs_pool *pool) {
    if (pool->labels != NULL) {
        label_close(pool);
        zfs_services->free(pool->labels, sizeof(*pool->labels));
    }
    if (pool->memory != NULL)
        zfs_services->free(pool->memory, sizeof(*pool->memory));
    zfs_services->free(pool, sizeof(*pool));
}

// --- Reading

int dva_check(struct zfs_pool *pool, const struct dva *dva, uint64_t size) {
    uint64_t offset = dva_offset(dva), end = pool->labels->asize;
    bool right = dva->word0 >> 32 == 0 && size <= end && offset <= end - size;
    if (!right)
        zfs_report("block pointer leads to offset %lu of vdev %lu: there is no such place", offset,
                   dva->word0 >> 32);
    return right ? 0 : -EIO;
}

static int read_copy(struct zfs_pool *pool, const struct blkptr *pointer, const struct dva *dva,
                     uint8_t *buffer, unsigned depth) {
    size_t size = pointer_stored(pointer);
    uint64_t sum[4];

    if (dva_is_gang(dva))
        return gang_read(pool, pointer, dva, buffer, depth);
    int status = dva_check(pool, dva, size);
    if (status < 0)
        return status;
    uint64_t offset = VDEV_DATA + dva_offset(dva);
    status = gather_read(pool, dva_offset(dva), buffer, size);
    if (status < 0) {
        zfs_report("disk %s, block at offset %lu: cannot be read", pool->disk->path, offset);
        return status;
    }
    unsigned kind = (unsigned)pointer_bits(pointer, 40, 8);
    if (kind == CHECKSUM_OFF)
        return 0;
    status = checksum_compute(kind, buffer, size, sum);
    if (status < 0) {
        zfs_report("block at offset %lu: checksum number %u is not known", offset, kind);
        return status;
    }
    if (checksum_equal(sum, pointer->checksum))
        return 0;
    zfs_report("block at offset %lu, %lu bytes, type %lu, level %lu: wrong checksum", offset, size,
               pointer_bits(pointer, 48, 8), pointer_bits(pointer, 56, 5));
    return -EIO;
}

int block_read_stored(struct zfs_pool *pool, const struct blkptr *pointer, uint8_t *buffer,
                      unsigned depth) {
    int status = -EIO;
    for (int i = 0; i < 3 && status < 0; i++)
        if (!dva_empty(&pointer->dva[i]))
            status = read_copy(pool, pointer, &pointer->dva[i], buffer, depth);
    return status;
}

static int unpack(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer, size_t size) {
    const uint8_t *in = pool->memory->in;
    size_t length = pointer_stored(pointer);
    unsigned kind = (unsigned)pointer_bits(pointer, 32, 7);
    int status = -ENOTSUP;

    if (kind == COMPRESS_LZ4)
        status = lz4_decompress(in, length, buffer, size);
    else if (kind == COMPRESS_LZJB || kind == COMPRESS_ON)
        status = lzjb_decompress(in, length, buffer, size);
    else if (kind == COMPRESS_ZLE)
        status = zle_decompress(in, length, buffer, size);
    else if (kind >= COMPRESS_GZIP_1 && kind <= COMPRESS_GZIP_9)
        status = inflate_decompress(in, length, buffer, size, pool->memory->table);
    if (status < 0)
        zfs_report("block at offset %lu: cannot be unpacked (compression %u)",
                   VDEV_DATA + dva_offset(&pointer->dva[0]), kind);
    return status;
}

int block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer, size_t size) {
    if (block_is_hole(pointer)) {
        memset(buffer, 0, size);
        return 0;
    }
    // Embedded or encrypted, or of a machine that writes its words the other way round.
    if (pointer_bits(pointer, 39, 1) || pointer_bits(pointer, 61, 1) ||
        !pointer_bits(pointer, 63, 1)) {
        zfs_report("block pointer with properties %lx: of a kind that is not known",
                   pointer->properties);
        return -ENOTSUP;
    }
    size_t stored = pointer_stored(pointer);
    bool packed = pointer_bits(pointer, 32, 7) != COMPRESS_OFF;
    if (size > BLOCK_MAX || pointer_size(pointer) != size || stored > size ||
        (!packed && stored != size)) {
        zfs_report("block at offset %lu: %lu bytes, stored in %lu, where %lu are expected",
                   VDEV_DATA + dva_offset(&pointer->dva[0]), pointer_size(pointer), stored, size);
        return -EIO;
    }
    int status = block_read_stored(pool, pointer, packed ? pool->memory->in : buffer, 0);
    return status == 0 && packed ? unpack(pool, pointer, buffer, size) : status;
}

// --- Freeing

// What it is as it is read: of metadata, what is stored, by a rule that all implementations share
// so that sums go back to zero.
static uint64_t uncompressed(const struct blkptr *pointer) {
    static const uint8_t data[] = {19, 23, 25, 26, 29, 49}; // files, volumes, and others' bytes
    unsigned type = (unsigned)pointer_bits(pointer, 48, 8);
    if (pointer_bits(pointer, 56, 5) == 0)
        for (size_t i = 0; i < sizeof(data); i++)
            if (data[i] == type)
                return pointer_size(pointer);
    return pointer_stored(pointer);
}

static void charge(struct zfs_pool *pool, const struct blkptr *pointer, int64_t sign) {
    pool_charge(pool, sign * (int64_t)block_stored(pointer),
                sign * (int64_t)pointer_stored(pointer), sign * (int64_t)uncompressed(pointer));
}

void block_free_space(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth) {
    if (pointer_bits(pointer, 39, 1))
        return;
    for (int i = 0; i < 3; i++) {
        const struct dva *dva = &pointer->dva[i];
        if (dva_empty(dva))
            continue;
        if (dva_is_gang(dva)) {
            gang_free(pool, pointer, depth);
            return;
        }
        if (dva_check(pool, dva, dva_taken(dva)) == 0)
            space_free(pool, dva_offset(dva), dva_taken(dva), pointer_birth(pointer));
    }
}

int block_prepare_space(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth) {
    int status = 0;
    for (int i = 0; i < 3 && status == 0 && !pointer_bits(pointer, 39, 1); i++)
        if (!dva_empty(&pointer->dva[i]))
            status = space_prepare(pool, dva_offset(&pointer->dva[i]));
    if (status == 0 && dva_is_gang(&pointer->dva[0]))
        status = gang_prepare(pool, pointer, depth);
    return status;
}

int block_prepare_free(struct zfs_pool *pool, const struct blkptr *pointer) {
    return block_prepare_space(pool, pointer, 0);
}

void block_free(struct zfs_pool *pool, struct blkptr *pointer) {
    if (!block_is_hole(pointer)) {
        charge(pool, pointer, -1);
        block_free_space(pool, pointer, 0);
    }
    memset(pointer, 0, sizeof(*pointer));
}

void block_free_log(struct zfs_pool *pool, struct blkptr *pointer) {
    if (!block_is_hole(pointer))
        block_free_space(pool, pointer, 0);
    memset(pointer, 0, sizeof(*pointer));
}

// --- Writing

static bool all_zero(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i += 8)
        if (load64(data + i) != 0)
            return false;
    return true;
}

struct stored {
    const uint8_t *data;
    size_t size;
    unsigned compression;
};

// Packs into the pool's memory, if that saves an eighth and a unit of allocation.
static struct stored pack(struct zfs_pool *pool, const void *data, size_t size,
                          unsigned compression) {
    struct block_memory *memory = pool->memory;
    size_t packed = 0, limit = size - size / 8;

    if (compression > COMPRESS_OFF || compression == COMPRESS_ON)
        compression = pool->has_lz4 && compression != COMPRESS_LZJB ? COMPRESS_LZ4 : COMPRESS_LZJB;
    if (compression == COMPRESS_LZ4)
        packed = lz4_compress(data, size, memory->out, limit, memory->table);
    else if (compression == COMPRESS_LZJB)
        packed = lzjb_compress(data, size, memory->out, limit, memory->table);
    size_t whole = pool_taken(pool, packed);
    if (packed == 0 || whole >= size)
        return (struct stored){data, size, COMPRESS_OFF};
    memset(memory->out + packed, 0, whole - packed);
    return (struct stored){memory->out, whole, compression};
}

void block_return_space(struct zfs_pool *pool, struct blkptr *pointer) {
    block_free_space(pool, pointer, 0);
    memset(pointer->dva, 0, sizeof(pointer->dva));
}

int block_take_space(struct zfs_pool *pool, struct blkptr *pointer, size_t size, unsigned copies) {
    uint64_t taken = pool_taken(pool, size), offset;
    for (unsigned i = 0; i < copies; i++) {
        int status = space_allocate(pool, i, taken, &offset);
        if (status < 0) {
            block_return_space(pool, pointer);
            return status;
        }
        pointer->dva[i] = (struct dva){taken >> SECTOR_SHIFT, offset >> SECTOR_SHIFT};
    }
    return 0;
}

int block_rewrite_stored(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data,
                         unsigned depth) {
    size_t size = pointer_stored(pointer);
    int status =
        checksum_compute((unsigned)pointer_bits(pointer, 40, 8), data, size, pointer->checksum);
    if (status == 0 && dva_is_gang(&pointer->dva[0]))
        return gang_rewrite(pool, pointer, data, depth);
    for (unsigned i = 0; i < 3 && status == 0; i++)
        if (!dva_empty(&pointer->dva[i]))
            status = gather_write(pool, dva_offset(&pointer->dva[i]), data, size);
    return status;
}

int block_write_stored(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data,
                       unsigned copies, unsigned depth) {
    int status = block_take_space(pool, pointer, pointer_stored(pointer), copies);
    if (status == -ENOSPC)
        return gang_write(pool, pointer, data, copies, depth);
    if (status == 0 && (status = block_rewrite_stored(pool, pointer, data, depth)) < 0)
        block_return_space(pool, pointer);
    return status;
}

static uint64_t properties(const struct block_how *how, size_t size, const struct stored *stored) {
    unsigned checksum = how->checksum <= 1 ? CHECKSUM_FLETCHER4 : how->checksum;
    return (size / SECTOR_SIZE - 1) | (stored->size / SECTOR_SIZE - 1) << 16 |
           (uint64_t)stored->compression << 32 | (uint64_t)checksum << 40 |
           (uint64_t)how->type << 48 | (uint64_t)how->level << 56 | (uint64_t)1 << 63;
}

// In a later pass: this group wrote it, and nothing durable leads to it.
static bool rewritable(struct zfs_pool *pool, const struct blkptr *pointer, size_t size) {
    return pool->pass > 1 && !block_is_hole(pointer) && pointer_birth(pointer) == pool->txg &&
           pointer_bits(pointer, 32, 7) == COMPRESS_OFF && pointer_stored(pointer) == size;
}

static int write_block(struct zfs_pool *pool, struct blkptr *pointer, const void *data, size_t size,
                       const struct block_how *how) {
    struct stored stored = {data, size, COMPRESS_OFF};
    bool pack_it = pool->pass <= 1 && how->compression != COMPRESS_OFF;
    struct blkptr new = {.fill = how->fill, .birth = pool->txg};

    if (rewritable(pool, pointer, size)) {
        pointer->fill = how->fill;
        pointer->properties = properties(how, size, &stored);
        return block_rewrite_stored(pool, pointer, data, 0);
    }
    int status = block_prepare_free(pool, pointer);
    if (status < 0)
        return status;
    if (pack_it && all_zero(data, size)) {
        block_free(pool, pointer);
        return 0;
    }
    if (pack_it)
        stored = pack(pool, data, size, how->compression);
    new.properties = properties(how, size, &stored);
    status = block_write_stored(pool, &new, stored.data, how->copies, 0);
    if (status < 0)
        return status;
    block_free(pool, pointer);
    *pointer = new;
    charge(pool, pointer, 1);
    return 0;
}

int block_write(struct zfs_pool *pool, struct blkptr *pointer, const void *data, size_t size,
                const struct block_how *how) {
    if (pool->failed < 0)
        return pool->failed;
    if (size == 0 || size % SECTOR_SIZE != 0 || size > BLOCK_MAX || how->copies < 1 ||
        how->copies > 3)
        return -EINVAL;
    int status = write_block(pool, pointer, data, size, how);
    if (status < 0) {
        zfs_report("block of %lu bytes, type %u, level %u: cannot be written (error %u)", size,
                   how->type, how->level, (unsigned)-status);
        if (status != -ENOMEM && status != -ENOSPC) // which may be gone when it is tried again
            pool->failed = status;
    }
    return status;
}
