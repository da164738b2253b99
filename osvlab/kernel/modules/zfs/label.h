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
    uint64_t guid; // of the vdev
    uint64_t guid_sum;
    bool swapped;    // there are uberblocks of a machine that writes its words the other way round
    uint64_t newest; // txg of the newest uberblock, readable or not
    struct candidate *candidates;
    unsigned count;
};

// The best of all whole uberblocks, then the next best, ... *out is the one before. -ENOENT: no more.
int label_candidate(struct zfs_pool *pool, struct uberblock *out);
void label_close(struct zfs_pool *pool); // forgets the candidates
int label_erase(struct zfs_pool *pool);  // what was there, configurations and uberblocks
int label_create(struct zfs_pool *pool); // the first configurations

// --- config.c

bool config_knows_feature(const char *name, size_t length);
int config_parse(struct zfs_pool *pool, const struct nvlist *config);
// From the fields of the pool and its labels, for a label or (`whole`) for the pool's object. How
// long it is; 0: it does not fit.
size_t config_make(const struct zfs_pool *pool, void *region, size_t size, bool whole);
