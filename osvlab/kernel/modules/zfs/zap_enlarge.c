// A large table of names from a small one, with the same salt and differentiators, so that positions
// stay the same. When it fails, the small one is there again.

#include "zap.h"

#define FAT_BLOCK_SHIFT 14

static int fat_fill(struct fat *fat, const struct micro_entry *entries, unsigned count) {
    int error = 0;
    for (unsigned i = 0; error == 0 && i < count; i++) {
        unsigned length = 0;
        while (length < MICRO_NAME && entries[i].name[length] != 0)
            length++;
        struct zap_name name = {entries[i].name, length, 0};
        struct zap_value value = {8, 1, &entries[i].value};
        if (length == MICRO_NAME)
            error = -EIO;
        else if (length > 0)
            error = fat_insert(fat, &name, entries[i].differentiator, &value);
    }
    return error;
}

static void fat_format(struct fat *fat, uint64_t salt) {
    struct leaf leaf;
    memset(fat->block->data, 0, fat->block->size);
    *fat->header = (struct fat_zap){.block_type = ZAP_HEADER,
                                    .magic = ZAP_MAGIC,
                                    .table_shift = FAT_BLOCK_SHIFT - 4,
                                    .free_block = 2,
                                    .leaves = 1,
                                    .salt = salt};
    uint64_t *table = (uint64_t *)(void *)(fat->block->data + fat->block->size / 2);
    for (unsigned i = 0; i < 1u << (FAT_BLOCK_SHIFT - 4); i++)
        table[i] = 1;
    leaf_create(&leaf, buffer_find(fat->object, 0, 1), 0, 0);
}

static void back_to_micro(struct object *zap, struct buffer *block, const void *old,
                          uint32_t size) {
    if (object_cut(zap, object_block_size(zap)) < 0 || object_set_block_size(zap, size) < 0)
        zfs_report("object %lu could not be restored", zap->number);
    memcpy(block->data, old, size);
    buffer_dirty(block);
}

int fat_from_micro(struct object *zap) {
    struct buffer *block;
    struct fat fat = {.object = zap, .shift = FAT_BLOCK_SHIFT};
    int error = buffer_get(zap, 0, 0, BUFFER_READ, &block);
    if (error < 0)
        return error;
    uint32_t size = block->size;
    struct micro_zap *old = cache_allocate(zap->set->pool, size);
    error = old == NULL ? -ENOMEM : 0;
    if (error == 0) {
        memcpy(old, block->data, size);
        error = old->normalization != 0 ? -ENOTSUP : 0;
    }
    if (error == 0)
        error = object_set_block_size(zap, 1 << FAT_BLOCK_SHIFT);
    if (error == 0) {
        fat.block = block;
        fat.header = (struct fat_zap *)(void *)block->data;
        error = fat_new_blocks(&fat, 1, 1);
        if (error == 0) {
            fat_format(&fat, old->salt);
            error = fat_fill(&fat, (const struct micro_entry *)(void *)(old + 1),
                             (size - sizeof(*old)) / sizeof(struct micro_entry));
        }
        if (error < 0)
            back_to_micro(zap, block, old, size);
        buffer_dirty(block);
    }
    buffer_put(block);
    if (old != NULL)
        zfs_services->free(old, size);
    return error;
}
