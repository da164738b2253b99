// Objects in memory: what objset.c, object.c, tree.c and buffer.c share, and zap_*.c use of buffers.
//
// Blocks of an object form a tree: level 0 are its data, each block of level n+1 holds pointers to
// blocks of level n, and the dnode has the pointers to the highest level.
//
// Invariants: a buffer that is dirty is on its object's list of its level, and the object on its
// set's list. Above a dirty buffer of level 1 or more, all others up to the dnode are in memory and
// dirty, too; so where a pointer is a hole, nothing in memory lies below it but data.
#pragma once

#include <errno.h>
#include <string.h>

#include "objects.h"

// --- Rings of links, in the things that are linked

struct link {
    struct link *next, *previous;
};

static inline void link_init(struct link *link) {
    link->next = link->previous = link;
}

static inline bool link_alone(const struct link *link) {
    return link->next == link;
}

static inline void link_append(struct link *ring, struct link *link) {
    link->next = ring;
    link->previous = ring->previous;
    ring->previous->next = link;
    ring->previous = link;
}

static inline void link_remove(struct link *link) {
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link_init(link);
}

#define CONTAINER(link, type, member) ((type *)((char *)(link) - offsetof(type, member)))

// --- Types of objects (dmu.h's DMU_OT_...)

enum {
    TYPE_OBJECT_DIRECTORY = 1,
    TYPE_OBJECT_ARRAY,
    TYPE_BLOCK_POINTERS = 5,
    TYPE_BLOCK_POINTERS_HEADER,
    TYPE_DNODE = 10,
    TYPE_OBJSET,
    TYPE_DSL_DIR,
    TYPE_DSL_CHILDREN,
    TYPE_DSL_SNAPSHOT_NAMES,
    TYPE_DSL_PROPERTIES,
    TYPE_DSL_DATASET,
    TYPE_ZNODE,
    TYPE_FILE = 19,
    TYPE_DIRECTORY,
    TYPE_MASTER_NODE,
    TYPE_DELETE_QUEUE,
    TYPE_NEXT_CLONES = 37,
    TYPE_SA = 44,
    TYPE_SA_MASTER_NODE,
    TYPE_SA_REGISTRY,
    TYPE_SA_LAYOUTS,
    TYPE_DEADLIST = 50,
    TYPE_DEADLIST_HEADER,
    TYPE_DSL_CLONES
};

// --- Blocks

#define LEVELS_MAX 8
#define SPILL_BLOCK UINT64_MAX // the "number" of the block that continues a bonus
#define BLOCK_NUMBER_MAX (UINT64_MAX >> 9)

struct buffer {
    struct object *object;
    uint64_t block; // its number in its level
    uint8_t level;
    bool dirty;
    uint32_t size, capacity;
    unsigned holds;
    uint64_t cost; // in dirty_space
    uint8_t *data;
    struct buffer *next; // of the same hash
    struct link own;     // its object's
    struct link order;   // clean: by last use; dirty: its object's, of its level
};

enum buffer_content {
    BUFFER_READ,  // as it is on the disk
    BUFFER_NEW,   // zeros, if it is not in memory: nothing of it is on the disk
    BUFFER_WHOLE, // anything: all of it will be written
};

int buffer_get(struct object *object, unsigned level, uint64_t block, enum buffer_content content,
               struct buffer **out);
// With the pointer to it, which the caller has found: a hole reads as zeros.
int buffer_get_at(struct object *object, unsigned level, uint64_t block,
                  const struct blkptr *pointer, struct buffer **out);
struct buffer *buffer_find(struct object *object, unsigned level, uint64_t block); // not held
void buffer_put(struct buffer *buffer);
void buffer_dirty(struct buffer *buffer);
void buffer_clean(struct buffer *buffer);
void buffer_drop(struct buffer *buffer); // its content is of no use; nobody may hold it
int buffer_resize(struct buffer *buffer, uint32_t size);
int buffer_pointer_check(const struct object *object, unsigned level, const struct blkptr *pointer,
                         uint32_t size); // -EIO

int cache_open(struct zfs_pool *pool);
void cache_close(struct zfs_pool *pool);
void *cache_allocate(struct zfs_pool *pool, size_t size); // zeroed; shrinks the cache if it must
void cache_idle(struct object *object, bool idle);        // nobody holds it: it may be forgotten

// --- Objects

struct object {
    struct object_set *set;
    uint64_t number;
    struct dnode dnode;
    unsigned holds;
    bool dirty;
    uint64_t cost;
    struct object *next; // of the same hash
    struct link order;   // unused: by last use; dirty: its set's
    struct link buffers;
    struct link dirty_buffers[LEVELS_MAX];
};

static inline struct blkptr *dnode_pointers(const struct dnode *dnode) {
    return (struct blkptr *)((char *)(uintptr_t)dnode + DNODE_CORE_SIZE);
}
static inline void *dnode_bonus(const struct dnode *dnode) { // behind the pointers
    return dnode_pointers(dnode) + dnode->pointers;
}
static inline uint32_t object_block_size(const struct object *object) {
    return (uint32_t)object->dnode.data_sectors << SECTOR_SHIFT;
}
static inline unsigned
object_branch_shift(const struct object *object) { // log2 of pointers a block
    return object->dnode.indirect_shift - 7;
}
struct blkptr *object_spill(struct object *object);
int object_load(struct object *object, const struct dnode *from);
void object_init(struct object *object, struct object_set *set, uint64_t number);
void object_dirty(struct object *object);
void object_cleaned(struct object *object); // it is as on the disk now
int object_dnode_block(struct object_set *set, uint64_t number, struct buffer **out,
                       struct dnode **slot); // the block of dnodes that has this one
void object_drop_buffers(struct object *object);
void object_forget(
    struct object *object); // frees it and its buffers: nobody holds it, nor is it dirty
void object_discard(struct object *object); // the same, whatever it is
int object_write_part(struct object *object, uint64_t offset, const void *data, size_t size);
int object_write_buffers(struct object *object, unsigned level); // from this level up
int object_grow(struct object *object, uint64_t block);          // so that it can have this block
int object_free_blocks(struct object *object, uint64_t first, uint64_t last);
// What writing so many bytes more will take is there: -ENOSPC. To make something grow, or not.
int object_space(const struct object_set *set, uint64_t bytes);
int object_space_to_remove(const struct object_set *set, uint64_t bytes);

// --- tree.c: indirect blocks

// The pointer to a block: in *parent, which is held, or in the dnode (*parent is NULL). Unless
// `change` is set, *pointer is NULL where something above is a hole; with it, what is above is made
// if need be and is dirty.
int tree_pointer(struct object *object, unsigned level, uint64_t block, bool change,
                 struct buffer **parent, struct blkptr **pointer);
// The first block from *block on that is stored (or is a hole): -ENXIO: there is none.
int tree_next(struct object *object, uint64_t *block, bool hole);
int object_free_pointer(struct object *object, struct blkptr *pointer); // it is a hole then
int tree_free(struct object *object, uint64_t first, uint64_t last);

// --- Sets

#define FREED_MAX 256

enum { OBJSET_MOS = 1, OBJSET_FILES };

struct object_set {
    struct zfs_pool *pool;
    struct zfs_dataset *dataset; // NULL: it is the MOS
    struct blkptr *pointer;
    struct objset *header; // as it is on the disk, but for the meta-dnode
    uint32_t header_size;
    bool dirty;
    struct object meta; // "object 0", the dnodes
    struct object **table;
    struct link dirty_objects;
    uint8_t checksum, compression, copies; // of data
    // Where to look for free numbers: those freed last, then by the fill counts from `next` on.
    uint64_t next, freed[FREED_MAX];
    unsigned freed_count, freed_lost;
};

#define OBJECT_TABLE 1024

static inline struct object **objset_slot(struct object_set *set, uint64_t number) {
    return &set->table[number % OBJECT_TABLE];
}

int objset_free_number(struct object_set *set, uint64_t *number); // its dnode's block is there now
void objset_number_freed(struct object_set *set, uint64_t number);
