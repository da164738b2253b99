// Large tables of names: an extendible hash table. The top bits of a hash are an index into the
// pointer table, which gives the block of the leaf; several indices may lead to one leaf. A leaf
// that is full is split in two, and the table doubled when both would have the same index.
//
// Whatever may fail for want of memory comes before the first change.
//
// Specified in: "ZFS On-Disk Specification", chapter 5.2 (fat ZAP).

#include "zap.h"

#define TABLE_PER_LEAF 4096 // entries of the pointer table, more are made only by chosen names

// --- The header and the pointer table

static bool header_right(const struct fat *fat) {
    const struct fat_zap *header = fat->header;
    uint64_t blocks = fat->object->dnode.max_block + 1;
    if (fat->object->dnode.data_sectors != 1u << (fat->shift - SECTOR_SHIFT) ||
        header->magic != ZAP_MAGIC || header->table_shift == 0 ||
        header->table_shift > ZAP_HASH_BITS)
        return false;
    if (header->table_blocks == 0)
        return header->table_shift == fat->shift - 4;
    return header->table_block > 0 && header->table_blocks <= blocks &&
           header->table_block <= blocks - header->table_blocks &&
           header->table_blocks << (fat->shift - 3) >= 1ul << header->table_shift;
}

int fat_open(struct object *zap, struct buffer *block, struct fat *fat) {
    fat->object = zap;
    fat->block = block;
    fat->header = (struct fat_zap *)(void *)block->data;
    fat->shift = SECTOR_SHIFT;
    while (1u << fat->shift < block->size)
        fat->shift++;
    if (!header_right(fat))
        return -EIO;
    return fat->header->flags != 0 || fat->header->normalization != 0 ? -ENOTSUP : 0;
}

// The block that holds an entry of the pointer table, held.
static int table_entry(struct fat *fat, uint64_t index, struct buffer **block, uint64_t **out) {
    const struct fat_zap *header = fat->header;
    unsigned shift = fat->shift - 3;
    if (header->table_blocks == 0) {
        fat->block->holds++;
        *block = fat->block;
        *out = (uint64_t *)(void *)(fat->block->data + fat->block->size / 2) + index;
        return 0;
    }
    uint64_t number = header->table_block + (index >> shift);
    int error = buffer_get(fat->object, 0, number, BUFFER_READ, block);
    if (error < 0)
        return error;
    *out = (uint64_t *)(void *)(*block)->data + (index & ((1u << shift) - 1));
    return 0;
}

static uint64_t index_of(const struct fat *fat, uint64_t hash) {
    return hash >> (64 - fat->header->table_shift);
}

// The leaf where a hash belongs, held.
static int leaf_of(struct fat *fat, uint64_t hash, struct leaf *leaf) {
    uint64_t index = index_of(fat, hash), *entry, number;
    unsigned shift = (unsigned)fat->header->table_shift;
    struct buffer *block;
    int error = table_entry(fat, index, &block, &entry);
    if (error < 0)
        return error;
    number = *entry;
    buffer_put(block);
    if (number == 0 || number > fat->object->dnode.max_block) {
        zfs_report("object %lu has no leaf for a hash", fat->object->number);
        return -EIO;
    }
    error = buffer_get(fat->object, 0, number, BUFFER_READ, &block);
    if (error < 0)
        return error;
    error = leaf_open(leaf, block);
    if (error == 0 && (leaf->header->prefix_length > shift ||
                       leaf->header->prefix != index >> (shift - leaf->header->prefix_length))) {
        zfs_report("object %lu has a leaf in the wrong place", fat->object->number);
        error = -EIO;
    }
    if (error < 0)
        buffer_put(block);
    return error;
}

// Blocks at the end that were never used, in memory. They count when free_block is raised.
int fat_new_blocks(struct fat *fat, uint64_t first, uint64_t count) {
    int error = object_grow(fat->object, first + count - 1);
    for (uint64_t i = 0; error == 0 && i < count; i++) {
        struct buffer *block;
        error = buffer_get(fat->object, 0, first + i, BUFFER_NEW, &block);
        if (error == 0) {
            buffer_dirty(block); // so it stays in memory
            buffer_put(block);
        }
    }
    return error;
}

static uint64_t *block_words(struct fat *fat, uint64_t number) {
    return (uint64_t *)(void *)buffer_find(fat->object, 0, number)->data;
}

// Twice the pointer table, each entry two times, in new blocks.
static int table_double(struct fat *fat) {
    struct fat_zap *header = fat->header;
    uint64_t count = 1ul << header->table_shift, words = 1ul << (fat->shift - 3);
    uint64_t blocks = (2 * count + words - 1) / words, first = header->free_block;
    if (header->table_shift >= ZAP_HASH_BITS || 2 * count > (header->leaves + 1) * TABLE_PER_LEAF)
        return -ENOSPC;
    int error = fat_new_blocks(fat, first, blocks);
    for (uint64_t i = 0; error == 0 && i < count; i++) {
        struct buffer *block;
        uint64_t *entry;
        error = table_entry(fat, i, &block, &entry);
        if (error < 0)
            break;
        uint64_t *to = block_words(fat, first + 2 * i / words);
        to[2 * i % words] = to[2 * i % words + 1] = *entry;
        buffer_put(block);
    }
    if (error < 0)
        return error;
    uint64_t old = header->table_block, old_blocks = header->table_blocks;
    if (old_blocks == 0)
        memset(fat->block->data + fat->block->size / 2, 0, fat->block->size / 2);
    header->table_block = first;
    header->table_blocks = blocks;
    header->table_shift++;
    header->table_next = header->table_copied = 0; // one that somebody else began is not used
    header->free_block = first + blocks;
    buffer_dirty(fat->block);
    if (old_blocks > 0)
        object_free_blocks(fat->object, old, old + old_blocks - 1); // else they stay, unused
    return 0;
}

// --- Leaves that are full

// The part of the pointer table that leads to `right` from now on.
static int table_redirect(struct fat *fat, const struct leaf *right, bool prepare) {
    unsigned rest = (unsigned)fat->header->table_shift - right->header->prefix_length;
    uint64_t first = right->header->prefix << rest, words = 1ul << (fat->shift - 3);
    for (uint64_t i = first; i < first + (1ul << rest); i++) {
        struct buffer *block;
        uint64_t *entry;
        int error = table_entry(fat, i, &block, &entry);
        if (error < 0)
            return error;
        buffer_dirty(block); // and so it cannot leave memory before it is changed
        if (!prepare)
            *entry = right->block->block;
        buffer_put(block);
        if (prepare)
            i |= words - 1;
    }
    return 0;
}

static int split_to(struct fat *fat, struct leaf *leaf, uint64_t number) {
    struct fat_zap *header = fat->header;
    struct leaf right;
    int error = fat_new_blocks(fat, number, 1);
    if (error == 0)
        error = buffer_get(fat->object, 0, number, BUFFER_NEW, &right.block);
    if (error < 0)
        return error;
    leaf_create(&right, right.block, leaf->header->prefix << 1 | 1,
                leaf->header->prefix_length + 1u);
    error = table_redirect(fat, &right, true);
    if (error == 0)
        error = leaf_split(leaf, &right);
    if (error == 0) {
        table_redirect(fat, &right, false);
        header->free_block = number + 1;
        header->leaves++;
        buffer_dirty(fat->block);
        buffer_dirty(leaf->block);
        buffer_dirty(right.block);
    }
    buffer_put(right.block);
    return error;
}

static int fat_split(struct fat *fat, struct leaf *leaf) {
    const struct fat_zap *header = fat->header;
    uint64_t stored = header->free_block;
    if (leaf->header->prefix_length >= ZAP_HASH_BITS)
        return -ENOSPC;
    if (stored == 0 || tree_next(fat->object, &stored, false) != -ENXIO) {
        zfs_report("object %lu has blocks where it says there are none", fat->object->number);
        return -EIO;
    }
    int error = 0;
    if (leaf->header->prefix_length == header->table_shift)
        error = table_double(fat);
    if (error == 0)
        error = split_to(fat, leaf, header->free_block);
    if (error < 0) // what was begun behind the last block in use
        object_free_blocks(fat->object, header->free_block, BLOCK_NUMBER_MAX);
    return error;
}

// --- By name

static void name_hash(const struct fat *fat, struct zap_name *name) {
    name->hash = zap_hash(name->bytes, name->length, fat->header->salt);
}

int fat_get(struct fat *fat, struct zap_name *name, unsigned integer_size, unsigned count,
            void *out) {
    struct leaf_entry *entry;
    struct leaf leaf;
    name_hash(fat, name);
    int error = leaf_of(fat, name->hash, &leaf);
    if (error < 0)
        return error;
    error = leaf_find(&leaf, name, &entry);
    if (error == 0)
        error = leaf_value(&leaf, entry, integer_size, count, out);
    buffer_put(leaf.block);
    return error;
}

// -EAGAIN from a leaf: it had no room. It has been split, and whoever asked tries again.
static int split_if_full(struct fat *fat, struct leaf *leaf, int error) {
    int split = error == -EAGAIN ? fat_split(fat, leaf) : 0;
    return split < 0 ? split : error;
}

int fat_insert(struct fat *fat, struct zap_name *name, uint32_t differentiator,
               const struct zap_value *value) {
    int error = -EAGAIN;
    name_hash(fat, name);
    while (error == -EAGAIN) {
        struct leaf_entry *entry;
        struct leaf leaf;
        error = leaf_of(fat, name->hash, &leaf);
        if (error < 0)
            return error;
        error = leaf_find(&leaf, name, &entry);
        error = error == 0 ? -EEXIST : error;
        if (error == -ENOENT)
            error = leaf_insert(&leaf, name, differentiator, value);
        if (error == 0) {
            fat->header->entries++;
            buffer_dirty(fat->block);
        }
        error = split_if_full(fat, &leaf, error);
        buffer_put(leaf.block);
    }
    return error;
}

int fat_replace(struct fat *fat, struct zap_name *name, const struct zap_value *value) {
    int error = -EAGAIN;
    name_hash(fat, name);
    while (error == -EAGAIN) {
        struct leaf_entry *entry;
        struct leaf leaf;
        error = leaf_of(fat, name->hash, &leaf);
        if (error < 0)
            return error;
        error = leaf_find(&leaf, name, &entry);
        if (error == 0)
            error = leaf_replace(&leaf, entry, value);
        error = split_if_full(fat, &leaf, error);
        buffer_put(leaf.block);
    }
    return error;
}

int fat_delete(struct fat *fat, struct zap_name *name) {
    struct leaf leaf;
    name_hash(fat, name);
    int error = leaf_of(fat, name->hash, &leaf);
    if (error < 0)
        return error;
    error = leaf_delete(&leaf, name);
    if (error == 0) {
        fat->header->entries--;
        buffer_dirty(fat->block);
    }
    buffer_put(leaf.block);
    return error;
}

// --- All entries

struct visit {
    struct zap_place *places;
    char *name;
    uint8_t *value;
    zap_visitor *visit;
    void *argument;
};

// 1: the visitor wants no more.
static int visit_leaf(const struct leaf *leaf, uint64_t position, const struct visit *v) {
    int count = leaf_places(leaf, position, v->places);
    for (int i = 0; i < count; i++) {
        const struct leaf_entry *entry = leaf_entry(leaf, v->places[i].index);
        unsigned size = entry->value_size, many = entry->value_count;
        int error = leaf_name(leaf, entry, v->name);
        if (error >= 0 && size * many > ZAP_VALUE_MAX)
            error = -EIO;
        if (error >= 0)
            error = leaf_value(leaf, entry, size, many, v->value);
        if (error < 0)
            return error;
        if (!v->visit(v->argument, v->places[i].position + 1, v->name, size, many, v->value))
            return 1;
    }
    return 0;
}

int fat_visit(struct fat *fat, uint64_t position, zap_visitor *visit, void *argument) {
    size_t places = (1ul << fat->shift) / LEAF_CHUNK_SIZE * sizeof(struct zap_place);
    size_t size = places + ZAP_VALUE_MAX + ZAP_NAME_MAX + 1;
    uint8_t *scratch = cache_allocate(fat->object->set->pool, size);
    if (scratch == NULL)
        return -ENOMEM;
    struct visit v = {.places = (struct zap_place *)(void *)scratch,
                      .value = scratch + places,
                      .visit = visit,
                      .argument = argument};
    v.name = (char *)v.value + ZAP_VALUE_MAX;
    int error = 0;
    while (error == 0 && position >> (32 + ZAP_HASH_BITS) == 0) {
        struct leaf leaf;
        error = leaf_of(fat, position >> 32 << (64 - ZAP_HASH_BITS), &leaf);
        if (error < 0)
            break;
        error = visit_leaf(&leaf, position, &v);
        unsigned rest = ZAP_HASH_BITS - leaf.header->prefix_length;
        position = (leaf.header->prefix + 1) << rest << 32;
        buffer_put(leaf.block);
    }
    zfs_services->free(scratch, size);
    return error < 0 ? error : 0;
}
