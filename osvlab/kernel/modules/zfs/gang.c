// Gangs: a block in up to three smaller ones, written when no free place is large enough for the
// whole although there is space in all. The pointer leads to a header with pointers to the members.
//
// Invariant: members are verified each by its own checksum, the header by the one at its end.
//
// Specified in: "ZFS On-Disk Specification" (2006), section 2.3; OpenZFS, zio.c (zio_gang_*).

#include <errno.h>
#include <string.h>

#include "blocks.h"

static void make_verifier(const struct blkptr *pointer, uint64_t verifier[4]) {
    verifier[0] = pointer->dva[0].word0 >> 32;
    verifier[1] = dva_offset(&pointer->dva[0]);
    verifier[2] = pointer_birth(pointer);
    verifier[3] = 0;
}

static int read_header(struct zfs_pool *pool, const struct blkptr *pointer, const struct dva *dva,
                       struct gang_header *header) {
    uint64_t verifier[4];
    int status = dva_check(pool, dva, sizeof(*header));
    if (status < 0)
        return status;
    uint64_t offset = VDEV_DATA + dva_offset(dva);
    status = gather_read(pool, dva_offset(dva), header, sizeof(*header));
    make_verifier(pointer, verifier);
    if (status == 0 && !checksum_embedded_right(header, sizeof(*header), verifier))
        status = -EIO;
    if (status < 0)
        zfs_report("gang header at offset %lu: cannot be read, or wrong checksum", offset);
    return status;
}

int gang_read(struct zfs_pool *pool, const struct blkptr *pointer, const struct dva *dva,
              uint8_t *buffer, unsigned depth) {
    size_t size = pointer_stored(pointer), done = 0;
    if (depth >= GANG_DEPTH)
        return -EIO;
    struct gang_header *header = &pool->memory->read[depth];
    int status = read_header(pool, pointer, dva, header);
    for (int i = 0; i < 3 && status == 0; i++) {
        const struct blkptr *child = &header->child[i];
        if (block_is_hole(child))
            continue;
        if (pointer_stored(child) > size - done) {
            zfs_report("gang header at offset %lu: its members are too large",
                       VDEV_DATA + dva_offset(dva));
            return -EIO;
        }
        status = block_read_stored(pool, child, buffer + done, depth + 1);
        done += pointer_stored(child);
    }
    return status == 0 && done != size ? -EIO : status;
}

// From the first copy that is whole. When none is, its members stay taken: a loss of space, not of data.
static int find_header(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth,
                       const struct gang_header **out) {
    struct gang_header *header = depth < GANG_DEPTH ? &pool->memory->change[depth] : NULL;
    int status = -EIO;
    for (int i = 0; i < 3 && header != NULL && status < 0 && status != -ENOMEM; i++)
        if (!dva_empty(&pointer->dva[i]))
            status = read_header(pool, pointer, &pointer->dva[i], header);
    *out = status == 0 ? header : NULL;
    return status == -ENOMEM ? status : 0;
}

int gang_prepare(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth) {
    const struct gang_header *header;
    int status = find_header(pool, pointer, depth, &header);
    for (int i = 0; i < 3 && status == 0 && header != NULL; i++)
        status = block_prepare_space(pool, &header->child[i], depth + 1);
    return status;
}

void gang_free(struct zfs_pool *pool, const struct blkptr *pointer, unsigned depth) {
    uint64_t unit = (uint64_t)1 << pool->ashift;
    const struct gang_header *header;
    find_header(pool, pointer, depth, &header);
    for (int i = 0; i < 3 && header != NULL; i++)
        block_free_space(pool, &header->child[i], depth + 1);
    for (int i = 0; i < 3; i++)
        if (!dva_empty(&pointer->dva[i]) && dva_check(pool, &pointer->dva[i], unit) == 0)
            space_free(pool, dva_offset(&pointer->dva[i]), unit, pointer_birth(pointer));
}

static int write_members(struct zfs_pool *pool, const struct blkptr *pointer, const uint8_t *data,
                         unsigned copies, unsigned depth, struct gang_header *header) {
    size_t rest = pointer_stored(pointer);
    int status = 0;

    for (unsigned i = 0; i < 3 && rest > 0 && status == 0; i++) {
        size_t size = pool_taken(pool, rest / (3 - i));
        size = size < rest ? size : rest;
        uint64_t sectors = size / SECTOR_SIZE - 1;
        struct blkptr *child = &header->child[i];
        *child = (struct blkptr){.fill = 0, .birth = pointer->birth};
        child->properties = sectors | sectors << 16 | (uint64_t)COMPRESS_OFF << 32 |
                            pointer_bits(pointer, 40, 8) << 40 | (uint64_t)1 << 63;
        status = block_write_stored(pool, child, data, copies, depth + 1);
        data += size;
        rest -= size;
    }
    return status;
}

static int write_header(struct zfs_pool *pool, const struct blkptr *pointer,
                        struct gang_header *header) {
    uint64_t verifier[4];
    int status = 0;
    make_verifier(pointer, verifier);
    checksum_embedded_write(header, sizeof(*header), verifier);
    for (unsigned i = 0; i < 3 && status == 0; i++)
        if (!dva_empty(&pointer->dva[i]))
            status = gather_write(pool, dva_offset(&pointer->dva[i]), header, sizeof(*header));
    return status;
}

// Says in the pointer that it leads to a gang, and what each copy takes in all.
static void mark_gang(struct blkptr *pointer, const struct gang_header *header) {
    for (int i = 0; i < 3; i++) {
        struct dva *dva = &pointer->dva[i];
        if (dva_empty(dva))
            continue;
        dva->word1 |= (uint64_t)1 << 63;
        for (int j = 0; j < 3; j++)
            dva->word0 += header->child[j].dva[i].word0 & 0xffffff;
    }
}

int gang_write(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data, unsigned copies,
               unsigned depth) {
    if (depth + 1 >= GANG_DEPTH || pointer_stored(pointer) <= (size_t)1 << pool->ashift)
        return -ENOSPC;
    struct gang_header *header = &pool->memory->change[depth];
    memset(header, 0, sizeof(*header));
    int status = block_take_space(pool, pointer, sizeof(*header), copies);
    if (status == 0)
        status = write_members(pool, pointer, data, copies, depth, header);
    if (status == 0)
        status = checksum_compute((unsigned)pointer_bits(pointer, 40, 8), data,
                                  pointer_stored(pointer), pointer->checksum);
    if (status == 0)
        status = write_header(pool, pointer, header);
    if (status == 0) {
        mark_gang(pointer, header);
        return 0;
    }
    for (int i = 0; i < 3; i++)
        block_free_space(pool, &header->child[i], depth + 1);
    block_return_space(pool, pointer);
    return status;
}

// That the pointer is of this group's making is what it says, so its members are not believed either.
int gang_rewrite(struct zfs_pool *pool, struct blkptr *pointer, const uint8_t *data,
                 unsigned depth) {
    size_t left = pointer_stored(pointer);
    if (depth >= GANG_DEPTH)
        return -EIO;
    struct gang_header *header = &pool->memory->change[depth];
    int status = read_header(pool, pointer, &pointer->dva[0], header);
    for (int i = 0; i < 3 && status == 0; i++) {
        struct blkptr *child = &header->child[i];
        if (block_is_hole(child))
            continue;
        size_t size = pointer_stored(child);
        if (size > left) {
            status = -EIO;
            break;
        }
        status = block_rewrite_stored(pool, child, data, depth + 1);
        data += size;
        left -= size;
    }
    return status < 0 ? status : write_header(pool, pointer, header);
}
