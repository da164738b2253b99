// Datasets and the attributes of their files: between dsl*.c, dataset.c, sa.c, znode.c, file.c and
// names.c.
#pragma once

#include "object.h"
#include "zap.h"

// --- Attributes, with the numbers that every implementation registers them by

enum attribute {
    ATTRIBUTE_ACCESSED,
    ATTRIBUTE_MODIFIED,
    ATTRIBUTE_CHANGED,
    ATTRIBUTE_CREATED,
    ATTRIBUTE_GENERATION,
    ATTRIBUTE_MODE,
    ATTRIBUTE_SIZE,
    ATTRIBUTE_PARENT,
    ATTRIBUTE_LINKS,
    ATTRIBUTE_XATTR,
    ATTRIBUTE_DEVICE,
    ATTRIBUTE_FLAGS,
    ATTRIBUTE_OWNER,
    ATTRIBUTE_GROUP,
    ATTRIBUTE_PADDING,
    ATTRIBUTE_ACL,
    ATTRIBUTE_ACL_COUNT,
    ATTRIBUTE_LINK,
    ATTRIBUTE_SCAN_STAMP,
    ATTRIBUTE_ACES,
    ATTRIBUTES,
};

#define SA_NUMBERS 64       // registered attributes, more are not known
#define SA_LAYOUT_LENGTH 32 // attributes of a layout
#define SA_LAYOUTS_MAX 1024
#define SA_NOWHERE UINT16_MAX

struct sa_layout {
    uint16_t number, count;
    uint16_t attributes[SA_LAYOUT_LENGTH]; // by registered number
    uint16_t fixed[ATTRIBUTES];            // offset behind the header, if always the same
};

struct sa {
    uint64_t master, registry, layouts_object; // objects; 0: not there
    uint16_t length[SA_NUMBERS];               // 0: it varies
    bool registered[SA_NUMBERS];
    uint8_t number[ATTRIBUTES], attribute[SA_NUMBERS]; // from one to the other; 255: none
    struct sa_layout *layouts;
    unsigned layout_count, layout_room;
};

struct zfs_dataset {
    struct zfs_pool *pool;
    struct zfs_dataset *next; // of those that are open
    unsigned opened;
    struct object *object; // in the MOS, held
    struct blkptr pointer; // to the set
    struct object_set *set;
    const char *read_only; // why; NULL: it is not
    uint64_t version;      // of the ZPL
    uint64_t root, delete_queue;
    uint32_t record; // block size of large files
    struct sa sa;
    int64_t delta[3]; // bytes used, compressed, uncompressed that its objects are not yet told
};

typedef int dataset_filler(struct zfs_dataset *dataset);
int dataset_new(struct zfs_pool *pool, uint64_t number, dataset_filler *fill,
                struct zfs_dataset **out);
void dataset_forget(struct zfs_dataset *dataset); // closes it, whoever has it open

int sa_open(struct zfs_dataset *dataset, uint64_t master);
void sa_close(struct zfs_dataset *dataset);
const char *sa_name(enum attribute attribute); // as the registry has it
void sa_note(struct sa *sa, const char *name, uint64_t registered);
bool sa_layout_read(const struct sa *sa, const char *name, unsigned count, const void *value,
                    struct sa_layout *layout);
const struct sa_layout *sa_layout(const struct sa *sa, unsigned number); // NULL: there is none

// Where an attribute of a file is: in its bonus, or in its spill block, held.
struct place {
    uint8_t *at;
    unsigned length;
    struct buffer *spill;
};
int sa_find(struct zfs_dataset *dataset, struct object *object, enum attribute attribute,
            struct place *place); // -ENOENT: it has none

// --- sa_make.c: new files

struct sa_values {
    uint64_t word[ATTRIBUTES][2];
    struct acl_entry aces[3];
    const char *link; // NULL: it is not a symbolic link
    unsigned link_length;
    bool has_device;
};
int sa_make(struct zfs_dataset *dataset, uint8_t type, const struct sa_values *values,
            struct object **out);

// --- znode.c: the same for files of any ZPL version

int node_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out);
int node_find(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
              struct place *place);
int node_get(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
             uint64_t *value);
int node_set(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
             uint64_t value);
int node_set_time(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
                  uint64_t time);
// What a new file is; the type is in the mode.
struct node_new {
    uint32_t mode, owner, group;
    uint64_t device, parent;
    const char *target;
};
int node_make(struct zfs_dataset *dataset, const struct node_new *new, struct object **out);
int node_queue(struct zfs_dataset *dataset, uint64_t number, bool add); // in the delete queue
int node_forget(struct zfs_dataset *dataset, uint64_t number); // destroys one that is queued
void node_purge_queue(struct zfs_dataset *dataset);
int node_mode(struct zfs_dataset *dataset, struct object *node, uint32_t *mode);

// What a change of names writes at most, with split leaves and copies, or of one block of a file; and
// what a change of attributes does.
#define NAME_COST (512 * 1024)
#define NODE_COST (128 * 1024)

#define DSL_DEPTH_MAX 64 // of the tree: one that is deeper goes in a circle

// --- dsl.c: directories and datasets in the MOS

// An object of the MOS with a bonus that is at least so long, and of this type: else -EIO.
int dsl_hold(struct zfs_pool *pool, uint64_t number, uint8_t type, struct object **out);
static inline struct dsl_dir *dsl_dir(struct object *object) {
    return dnode_bonus(&object->dnode);
}
static inline struct dsl_dataset *dsl_dataset(struct object *object) {
    return dnode_bonus(&object->dnode);
}
int dsl_find(struct zfs_pool *pool, const char *name, uint64_t *dataset); // "pool/a/b" or "a@b"
int dsl_find_mos(struct zfs_pool *pool, uint64_t *directory);
int dsl_find_directory(struct zfs_pool *pool, const char *name, size_t length, uint64_t *directory);
// Of the directory, or of the nearest above it that has it: -ENOENT.
int dsl_property(struct zfs_pool *pool, uint64_t directory, const char *name, uint64_t *value);

// --- zil.c: intent logs

bool zil_needs_play(struct zfs_pool *pool, const struct zil_header *log);
// It has nothing to play. Its first block, which goes with it, may not be taken after a power cut.
void zil_drop(struct zfs_pool *pool, struct zil_header *log);

// --- dsl_space.c: what they use

int dsl_charge(struct zfs_pool *pool, uint64_t directory, const int64_t delta[3]);
int dsl_charge_mos(struct zfs_pool *pool);
int dsl_update(struct zfs_dataset *dataset);
bool dsl_outdated(const struct zfs_dataset *dataset);
