// Blocks that a damaged pool says this transaction group wrote: in a later pass they would be written
// again in their places. Those are outside of the disk, or of gangs with members larger than they.
//
// zfs_rewrite_test IMAGE

#include <errno.h>
#include <stdlib.h>

#include "blocks.h"
#include "check.h"
#include "label.h"
#include "objects.h"
#include "zfs_shim.h"

enum { SIZE = 1024, SECTORS = SIZE / SECTOR_SIZE };

static const struct block_how how = {.type = 10, .checksum = CHECKSUM_FLETCHER4, .copies = 1};

// One that would be written again: as large, not compressed, and born in this group.
static struct blkptr pointer_to(struct zfs_pool *pool, uint64_t offset, bool gang) {
    struct blkptr pointer = {.birth = pool->txg};
    pointer.dva[0] = (struct dva){SECTORS, offset >> SECTOR_SHIFT | (uint64_t)gang << 63};
    pointer.properties = (SECTORS - 1) | (SECTORS - 1) << 16 | (uint64_t)COMPRESS_OFF << 32 |
                         (uint64_t)CHECKSUM_FLETCHER4 << 40 | (uint64_t)1 << 63;
    return pointer;
}

// Exactly as long as it says, so that the sanitizer sees one byte too many.
static int write_again(struct zfs_pool *pool, struct blkptr pointer) {
    void *data = calloc(1, SIZE);
    pool->pass = 2;
    int status = block_write(pool, &pointer, data, SIZE, &how);
    pool->pass = 0;
    pool->failed = 0;
    free(data);
    return status;
}

static void write_gang(struct zfs_pool *pool, uint64_t offset, struct blkptr member) {
    struct gang_header header = {.child = {member, member, member}};
    uint64_t verifier[4] = {0, offset, pool->txg};
    checksum_embedded_write(&header, sizeof(header), verifier);
    CHECK(pool->disk->write(pool->disk, VDEV_DATA + offset, &header, sizeof(header)), 0);
}

static void test(struct zfs_pool *pool) {
    uint64_t header, place, end = pool->labels->asize;
    CHECK(space_allocate(pool, 0, SIZE, &header), 0);
    CHECK(space_allocate(pool, 0, SIZE, &place), 0);
    CHECK(write_again(pool, pointer_to(pool, place, false)), 0);
    CHECK(write_again(pool, pointer_to(pool, end - SIZE / 2, false)), -EIO);
    CHECK(write_again(pool, pointer_to(pool, end, false)), -EIO);
    CHECK(write_again(pool, pointer_to(pool, -(uint64_t)SECTOR_SIZE, false)), -EIO);
    write_gang(pool, header, pointer_to(pool, place, false));
    CHECK(write_again(pool, pointer_to(pool, header, true)), -EIO); // three are more than one
}

int main(int argc, char **argv) {
    struct file_disk disk;
    struct zfs_pool *pool;
    if (argc != 2)
        return 2;
    shim_start(1);
    file_disk_open(&disk, argv[1]);
    CHECK(zfs_import(&disk.disk, 1, 0, &pool), 0);
    test(pool);
    zfs_abandon(pool);
    file_disk_close(&disk);
    CHECK(shim_memory, 0);
    return 0;
}
