// A vdev's space is cut into metaslabs of equal size; for space.c and space_map.c only.
#pragma once

#include "pool.h"

// All three bitmaps have one bit for each unit (1 << ashift bytes).
struct metaslab {
    uint64_t object;   // its space map; 0: it has none yet, and all of it is free
    uint64_t length;   // bytes of the space map
    uint64_t used;     // units that are taken
    uint64_t vacant;   // units that may be taken now
    uint64_t run;      // no vacant run is longer
    bool changed;      // since the space map was written
    bool broken;       // its space map cannot be read: it stays as it is
    uint64_t *taken;   // what blocks lie on; NULL: not loaded yet
    uint64_t *written; // the same, as the space map says it
    uint64_t *held;    // what must not be written to: taken, or freed not long enough ago
};

struct extents; // freed space that waits

// Frees wait for the group that freed them to be durable, and two more: the uberblocks before the
// last one stay usable as long as there is room.
enum { WAITING = 3 };

struct space {
    unsigned count;
    uint64_t units; // of a metaslab
    struct metaslab *metaslabs;
    uint64_t used, vacant;            // units, of all
    uint64_t ripe;                    // units that wait but need not
    uint64_t maps;                    // bytes that all space maps take when they change
    bool unloaded;                    // there was no memory to look into a metaslab
    struct extents *waiting[WAITING]; // of this group, the last, the one before
    struct cursor {
        unsigned metaslab;
        uint64_t unit;
    } cursors[3];
};

// --- space_map.c

int metaslab_open(struct zfs_pool *pool, struct metaslab *metaslab); // reads how long its map is
int metaslab_load(struct zfs_pool *pool, struct metaslab *metaslab);
void metaslab_unload(struct zfs_pool *pool, struct metaslab *metaslab);
int metaslab_write(struct zfs_pool *pool, struct metaslab *metaslab);
