// Writes to the disk, gathered: blocks that come one after the other go in one request. Space is
// given out in such an order (space.c), so most of a transaction group is a few long runs; and what
// later passes write again in its place is only memory until the run is written.
//
// Invariant: no two runs overlap, all lie in the data area, and nothing is read from the disk that
// still lies in a run.

#include <errno.h>
#include <string.h>

#include "blocks.h"
#include "label.h"

static bool overlaps(const struct run *run, uint64_t offset, uint64_t size) {
    return run->length > 0 && offset < run->offset + run->length && run->offset < offset + size;
}

static int flush_run(struct zfs_pool *pool, struct run *run) {
    if (run->length == 0)
        return 0;
    int status = pool->disk->write(pool->disk, VDEV_DATA + run->offset, run->data, run->length);
    if (status == -ENOMEM) // it stays here, to be tried again
        return status;
    run->length = 0;
    if (status < 0) {
        zfs_report("disk %s, offset %lu: cannot be written to (error %u)", pool->disk->path,
                   VDEV_DATA + run->offset, (unsigned)-status);
        pool->failed = status; // other blocks than the one that is written now are lost, too
    }
    return status;
}

int gather_flush(struct zfs_pool *pool) {
    int status = 0;
    for (unsigned i = 0; i < RUNS && status == 0; i++)
        status = flush_run(pool, &pool->memory->runs[i]);
    return status;
}

static int flush_overlapping(struct zfs_pool *pool, const struct run *own, uint64_t offset,
                             uint64_t size) {
    int status = 0;
    for (unsigned i = 0; i < RUNS && status == 0; i++)
        if (&pool->memory->runs[i] != own && overlaps(&pool->memory->runs[i], offset, size))
            status = flush_run(pool, &pool->memory->runs[i]);
    return status;
}

static bool holds(const struct run *run, uint64_t offset, size_t size) {
    return run->length > 0 && offset >= run->offset && offset + size <= run->offset + run->length;
}

int gather_read(struct zfs_pool *pool, uint64_t offset, void *buffer, size_t size) {
    for (const struct run *run = pool->memory->runs; run < pool->memory->runs + RUNS; run++)
        if (holds(run, offset, size)) {
            memcpy(buffer, run->data + (offset - run->offset), size);
            return 0;
        }
    int status = flush_overlapping(pool, NULL, offset, size);
    return status < 0 ? status : pool->disk->read(pool->disk, VDEV_DATA + offset, buffer, size);
}

static bool takes(const struct run *run, uint64_t offset, size_t size) {
    return run->length > 0 && offset == run->offset + run->length &&
           size <= sizeof(run->data) - run->length;
}

// The run that has this place or ends where it begins; else the one used longest ago, emptied.
static struct run *find_run(struct zfs_pool *pool, uint64_t offset, size_t size, int *status) {
    struct run *runs = pool->memory->runs, *oldest = runs;
    for (struct run *run = runs; run < runs + RUNS; run++) {
        if (holds(run, offset, size) || takes(run, offset, size))
            return run;
        if (run->length == 0 || (oldest->length > 0 && run->used < oldest->used))
            oldest = run;
    }
    *status = flush_run(pool, oldest);
    if (*status == 0)
        oldest->offset = offset;
    return oldest;
}

int gather_write(struct zfs_pool *pool, uint64_t offset, const void *data, size_t size) {
    size_t whole = pool_taken(pool, size);
    uint64_t end = pool->labels->asize;
    int status = 0;
    if (whole > end || offset > end - whole) // a damaged pointer that says it is of this group
        return -EIO;
    if (whole >= RUN_MAX) { // not worth a copy
        status = flush_overlapping(pool, NULL, offset, whole);
        return status < 0 ? status : pool->disk->write(pool->disk, VDEV_DATA + offset, data, size);
    }
    struct run *run = find_run(pool, offset, whole, &status);
    if (status == 0)
        status = flush_overlapping(pool, run, offset, whole);
    if (status < 0)
        return status;
    uint8_t *to = run->data + (offset - run->offset);
    memcpy(to, data, size);
    memset(to + size, 0, whole - size);
    if (offset - run->offset == run->length)
        run->length += whole;
    run->used = ++pool->memory->uses;
    return 0;
}
