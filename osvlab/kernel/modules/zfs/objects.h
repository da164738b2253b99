// The upper half of ZFS: objects, each a dnode and a tree of blocks; sets of objects; tables of
// names (ZAP); and on these, datasets and files.
//
// Invariant: the blocks in memory that differ from the disk are on their object's list of dirty
// blocks, and their object on its set's. zfs_sync writes data first, then the blocks that point to
// it, up to the uberblock.
#pragma once

#include "pool.h"

struct object;

// --- objset.c, dnode.c, buffer.c: sets of objects, objects, their blocks in memory

// *pointer is where the set is, and changes when it is synced: it must stay where it is.
int objset_open(struct zfs_pool *pool, struct blkptr *pointer, struct object_set **out);
int objset_create(struct zfs_pool *pool, struct blkptr *pointer, uint64_t type,
                  struct object_set **out); // an empty one; *pointer is a hole
void objset_close(struct object_set *set);
int objset_sync(struct object_set *set); // one pass: everything dirty is written, *pointer is new

int object_hold(struct object_set *set, uint64_t number,
                struct object **out); // -ENOENT: it is free
void object_put(struct object *object);
int object_allocate(struct object_set *set, uint8_t type, uint32_t block_size, uint8_t bonus_type,
                    uint16_t bonus_length, struct object **out);
int object_free(struct object_set *set, uint64_t number);
uint64_t object_number(const struct object *object);
const struct dnode *object_dnode(const struct object *object);
const void *object_bonus(const struct object *object);
void *object_change_bonus(struct object *object); // to write to; the object is dirty now
int object_set_bonus_length(struct object *object, uint8_t type, uint16_t length);
int object_read(struct object *object, uint64_t offset, void *buffer, size_t size); // beyond: zeros
int object_write(struct object *object, uint64_t offset, const void *data, size_t size);
int object_cut(struct object *object, uint64_t size);            // frees all blocks from there on
int object_set_block_size(struct object *object, uint32_t size); // of one with one block at most

// --- zap.c, zap_leaf.c: names to integers of 1, 2, 4 or 8 bytes

int zap_create(struct object_set *set, uint8_t type, uint64_t *number);
int zap_lookup(struct object_set *set, uint64_t zap, const char *name, unsigned integer_size,
               unsigned count, void *out); // -ENOENT; -EOVERFLOW: the value is longer
int zap_add(struct object_set *set, uint64_t zap, const char *name, unsigned integer_size,
            unsigned count, const void *value); // -EEXIST
int zap_update(struct object_set *set, uint64_t zap, const char *name, unsigned integer_size,
               unsigned count, const void *value);
int zap_remove(struct object_set *set, uint64_t zap, const char *name); // -ENOENT
int zap_count(struct object_set *set, uint64_t zap, uint64_t *count);
// From a position (0: the first) on, in the order of hashes; `visit` says false to stop.
typedef bool zap_visitor(void *argument, uint64_t next, const char *name, unsigned integer_size,
                         unsigned count, const void *value);
int zap_each(struct object_set *set, uint64_t zap, uint64_t position, zap_visitor *visit,
             void *argument);

// --- dsl_create.c, dataset.c, zil.c: datasets

// Makes the root directory, $MOS, $ORIGIN and the pool's own dataset in a new MOS that has its
// object directory (object 1) and no more.
int dsl_create_pool(struct zfs_pool *pool, unsigned compression);
// Whether the intent log of any dataset has changes that would have to be played first.
bool zil_any_needs_play(struct zfs_pool *pool);
// Closes all datasets, the MOS and the cache; nothing is written.
void objects_close(struct zfs_pool *pool);
