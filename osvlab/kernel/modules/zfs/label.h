// What the labels say about the pool; for the lower half only.
#pragma once

#include "nvlist.h"
#include "pool.h"

enum { LABELS = 4, ASHIFT_MIN = 9, ASHIFT_MAX = 13 };

// Where an uberblock seems to be. It is verified when it is asked for.
struct candidate {
    uint64_t txg, timestamp;
    uint32_t label, slot;
    bool tried;
};

struct labels {
    uint64_t size;           // of the vdev, in whole labels
    uint64_t asize;          // of its data area
    uint64_t metaslab_array; // object
    unsigned metaslab_shift;
    uint64_t guid_sum;
    uint64_t newest; // txg of the newest uberblock, readable or not
    struct candidate *candidates;
    unsigned count;
};

bool label_feature_known(const char *name, size_t length);
// The best of all whole uberblocks, then the next best, ... *out is the one before. -ENOENT: no more.
int label_candidate(struct zfs_pool *pool, struct uberblock *out);
void label_close(struct zfs_pool *pool); // forgets the candidates
// Writes the first labels of a pool, from its fields, those of pool->labels, and the vdev's guid.
int label_create(struct zfs_pool *pool, uint64_t guid);
