// Labels: a configuration and a ring of uberblocks, both as they may lie on a disk, read and, if a
// pool can be seen in them, written again.
//
// The input: how many bytes of configuration (two), those, and what the ring begins with.

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "blocks.h"
#include "label.h"
#include "zfs_shim.h"

enum { DISK_SIZE = 64 << 20, MEMORY_MAX = 4 << 20 };

static const uint8_t *parts[2]; // the configuration, the ring
static size_t sizes[2];

// Checksums are not judged here: with them nothing that was changed would come far.
bool __wrap_checksum_embedded_right(void *region, size_t size, const uint64_t verifier[4]);
bool __wrap_checksum_embedded_right(void *region, size_t size, const uint64_t verifier[4]) {
    (void)region, (void)size, (void)verifier;
    return true;
}
void __wrap_checksum_sha256(const void *data, size_t size, uint64_t out[4]);
void __wrap_checksum_sha256(const void *data, size_t size, uint64_t out[4]) {
    checksum_fletcher4(data, size, out);
}

// Every label of this disk is the same, and nothing else is on it.
static int read_label(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size) {
    static const uint64_t places[] = {LABEL_NVLIST, LABEL_UBERBLOCKS};
    must(offset <= disk->size && size <= disk->size - offset);
    memset(buffer, 0, size);
    for (int i = 0; i < 2; i++) {
        uint64_t start = places[i], end = start + sizes[i], at = offset % LABEL_SIZE;
        uint64_t from = at > start ? at : start, to = at + size < end ? at + size : end;
        if (from < to)
            memcpy((uint8_t *)buffer + (from - at), parts[i] + (from - start), to - from);
    }
    return 0;
}

static int write_nothing(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size) {
    (void)data;
    must(offset <= disk->size && size <= disk->size - offset);
    return 0;
}

static int flush_nothing(struct zfs_disk *disk) {
    (void)disk;
    return 0;
}

static void use(struct zfs_pool *pool) {
    struct uberblock uberblock = {0};
    for (int i = 0; i < 300 && label_candidate(pool, &uberblock) == 0; i++)
        must(uberblock.txg <= pool->labels->newest);
    pool->state = POOL_EXPORTED;
    label_write(pool);
    pool->uberblock = uberblock;
    pool->txg = uberblock.txg + 1;
    uberblock_write(pool);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    shim_start(1);
    shim_quiet = 1;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct zfs_disk disk = {DISK_SIZE, read_label, write_nothing, flush_nothing, "fuzzed"};
    if (size < 2)
        return -1;
    size_t wanted = (size_t)data[0] | (size_t)data[1] << 8;
    sizes[0] = wanted < size - 2 ? wanted : size - 2;
    sizes[1] = size - 2 - sizes[0];
    parts[0] = data + 2;
    parts[1] = data + 2 + sizes[0];
    struct zfs_pool *pool = pool_make(&disk);
    must(pool != NULL);
    if (label_read(pool) == 0)
        use(pool);
    pool_unmake(pool);
    must(shim_memory == 0 && shim_memory_most < MEMORY_MAX);
    return 0;
}
