// Tables of names, between zap.c, zap_micro.c, zap_fat.c and zap_leaf.c.
//
// A name's hash is a CRC-64 that starts from the table's salt, of which the top 28 bits count. Names
// of the same hash differ by a number, the differentiator. Hash and differentiator together are the
// position of an entry, which stays the same when a small table becomes a large one.
#pragma once

#include "object.h"

#define ZAP_NAME_MAX 255
#define ZAP_VALUE_MAX 8192

struct zap_name {
    const char *bytes;
    unsigned length;
    uint64_t hash; // by the salt of the table it is used with
};

struct zap_value {
    unsigned size, count; // of integers
    const void *data;
};

struct zap_place { // of an entry, for going through them in order
    uint64_t position;
    uint32_t index;
};

uint64_t zap_hash(const char *bytes, unsigned length, uint64_t salt);
void zap_number_name(uint64_t number, char out[20]);
void zap_sort(struct zap_place *places, unsigned count);

static inline uint64_t zap_position(uint64_t hash, uint32_t differentiator) {
    return (hash >> (64 - ZAP_HASH_BITS)) << 32 | differentiator;
}

// By the object that holds the table, and with names that need not end in NUL.
int zap_get(struct object *zap, const char *name, unsigned length, unsigned integer_size,
            unsigned count, void *out);
int zap_insert(struct object *zap, const char *name, unsigned length,
               const struct zap_value *value);
int zap_replace(struct object *zap, const char *name, unsigned length,
                const struct zap_value *value); // or inserts
int zap_delete(struct object *zap, const char *name, unsigned length);
int zap_visit(struct object *zap, uint64_t position, zap_visitor *visit, void *argument);
int zap_entries(struct object *zap, uint64_t *count);
int zap_format(struct object *zap); // an empty table

// --- zap_micro.c: one block of entries; `block` is that block

#define MICRO_BLOCK_MAX 8192 // as large as tables are let grow here, so that a search is short

int micro_get(struct buffer *block, const struct zap_name *name, uint64_t *value);
int micro_insert(struct object *zap, struct buffer *block, struct zap_name *name, uint64_t value);
int micro_replace(struct buffer *block, const struct zap_name *name, uint64_t value);
int micro_delete(struct buffer *block, const struct zap_name *name);
int micro_visit(struct object *zap, struct buffer *block, uint64_t position, zap_visitor *visit,
                void *argument);
uint64_t micro_entries(const struct buffer *block);

// --- zap_fat.c: a hash table of leaves

struct fat {
    struct object *object;
    struct buffer *block; // the first one
    struct fat_zap *header;
    unsigned shift; // log2 of the block size
};

int fat_open(struct object *zap, struct buffer *block, struct fat *fat);
int fat_get(struct fat *fat, struct zap_name *name, unsigned integer_size, unsigned count,
            void *out);
// With a differentiator that is given, or the first that is free (ZAP_ANY).
#define ZAP_ANY UINT32_MAX
int fat_insert(struct fat *fat, struct zap_name *name, uint32_t differentiator,
               const struct zap_value *value);
int fat_replace(struct fat *fat, struct zap_name *name, const struct zap_value *value);
int fat_delete(struct fat *fat, struct zap_name *name);
int fat_visit(struct fat *fat, uint64_t position, zap_visitor *visit, void *argument);
int fat_new_blocks(struct fat *fat, uint64_t first, uint64_t count);
int fat_from_micro(struct object *zap); // zap_enlarge.c

// --- zap_leaf.c: one leaf

struct leaf {
    struct buffer *block;
    struct leaf_header *header;
    uint16_t *buckets;
    uint8_t *chunks;
    unsigned bucket_shift, chunk_count;
};

void leaf_create(struct leaf *leaf, struct buffer *block, uint64_t prefix, unsigned prefix_length);
int leaf_open(struct leaf *leaf, struct buffer *block);
int leaf_find(const struct leaf *leaf, const struct zap_name *name, struct leaf_entry **out);
int leaf_value(const struct leaf *leaf, const struct leaf_entry *entry, unsigned integer_size,
               unsigned count, void *out);
int leaf_name(const struct leaf *leaf, const struct leaf_entry *entry, char *out); // its length
// -EAGAIN: there is no room.
int leaf_insert(struct leaf *leaf, const struct zap_name *name, uint32_t differentiator,
                const struct zap_value *value);
int leaf_replace(struct leaf *leaf, struct leaf_entry *entry, const struct zap_value *value);
int leaf_delete(struct leaf *leaf, const struct zap_name *name);
int leaf_split(struct leaf *leaf, struct leaf *right);
// All entries from a position on, in order; how many there are.
int leaf_places(const struct leaf *leaf, uint64_t position, struct zap_place *places);
const struct leaf_entry *leaf_entry(const struct leaf *leaf, uint32_t chunk); // NULL: it is none
