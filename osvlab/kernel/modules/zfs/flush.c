// Writing what is dirty in a set of objects: data blocks, then the indirect blocks above them, level
// by level, then the dnodes, which are the data of the meta-dnode, and last the set's own block.
//
// Every step leaves memory whole: what was written is clean, and what points to it dirty. So when
// one fails, the whole can be tried again.

#include "object.h"

static struct block_how how_to_write(const struct object *object, unsigned level) {
    const struct object_set *set = object->set;
    const struct zfs_pool *pool = set->pool;
    struct block_how how = {.type = object->dnode.type, .level = (uint8_t)level, .copies = 1};
    if (level == 0 && object->dnode.type == TYPE_FILE) {
        how.checksum = object->dnode.checksum != 0 ? object->dnode.checksum : set->checksum;
        how.compression =
            object->dnode.compression != 0 ? object->dnode.compression : set->compression;
        how.copies = set->copies;
        return how;
    }
    // The pool's own blocks are not compressed: later passes write them in their own places.
    how.checksum = CHECKSUM_FLETCHER4;
    how.compression = set->dataset == NULL ? COMPRESS_OFF
                      : pool->has_lz4      ? COMPRESS_LZ4
                                           : COMPRESS_LZJB;
    how.copies = set->dataset == NULL || set->copies > 2 ? 3 : set->copies + 1;
    return how;
}

// Whether there is anything in it, and the fill count of the pointer to it.
static bool block_filled(const struct buffer *buffer, uint64_t *fill) {
    const struct blkptr *pointers = (const struct blkptr *)(void *)buffer->data;
    const struct dnode *dnodes = (const struct dnode *)(void *)buffer->data;
    bool filled = false;
    *fill = 0;
    if (buffer->level > 0) {
        for (unsigned i = 0; i < buffer->size / sizeof(*pointers); i++)
            if (!block_is_hole(&pointers[i])) {
                *fill += pointers[i].fill;
                filled = true;
            }
        return filled;
    }
    if (buffer->object == &buffer->object->set->meta) {
        for (unsigned i = 0; i < buffer->size / DNODE_SIZE; i += 1 + dnodes[i].extra_slots)
            *fill += dnodes[i].type != 0;
        return *fill > 0;
    }
    *fill = 1;
    return true;
}

static int buffer_write(struct buffer *buffer) {
    struct object *object = buffer->object;
    struct zfs_pool *pool = object->set->pool;
    struct buffer *parent;
    struct blkptr *pointer;
    int error = tree_pointer(object, buffer->level, buffer->block, true, &parent, &pointer);
    if (error < 0)
        return error;
    struct block_how how = how_to_write(object, buffer->level);
    if (buffer->block == SPILL_BLOCK)
        how.type = TYPE_SA;
    if (block_filled(buffer, &how.fill)) {
        uint64_t before = block_is_hole(pointer) ? 0 : block_stored(pointer);
        pool->charged = object->set->dataset;
        error = block_write(pool, pointer, buffer->data, buffer->size, &how);
        object->dnode.used += (block_is_hole(pointer) ? 0 : block_stored(pointer)) - before;
    } else {
        error = object_free_pointer(object, pointer);
    }
    buffer_put(parent);
    if (error == 0)
        buffer_clean(buffer);
    return error;
}

int object_write_buffers(struct object *object, unsigned level) {
    for (; level < LEVELS_MAX; level++)
        while (!link_alone(&object->dirty_buffers[level])) {
            struct link *first = object->dirty_buffers[level].next;
            int error = buffer_write(CONTAINER(first, struct buffer, order));
            if (error < 0)
                return error;
        }
    return 0;
}

// As it lies on the disk: only dnodes that own blocks say that they are counted in bytes, because
// GRUB takes a symbolic link's flag for something else.
static void dnode_store(const struct object *object, struct dnode *to) {
    *to = object->dnode;
    to->flags &= (uint8_t)~DNODE_USED_BYTES;
    if (to->used > 0)
        to->flags |= DNODE_USED_BYTES;
}

static int object_sync(struct object *object) {
    struct buffer *block;
    struct dnode *slot;
    int error = object_write_buffers(object, 0);
    if (error == 0)
        error = object_dnode_block(object->set, object->number, &block, &slot);
    if (error < 0)
        return error;
    dnode_store(object, slot);
    buffer_dirty(block);
    buffer_put(block);
    object_cleaned(object);
    return 0;
}

int objset_sync(struct object_set *set) {
    struct zfs_pool *pool = set->pool;
    while (!link_alone(&set->dirty_objects)) {
        int error = object_sync(CONTAINER(set->dirty_objects.next, struct object, order));
        if (error < 0)
            return error;
    }
    int error = object_write_buffers(&set->meta, 0);
    if (error < 0)
        return error;
    dnode_store(&set->meta, &set->header->meta_dnode);
    struct block_how how = how_to_write(&set->meta, 0);
    how.type = TYPE_OBJSET;
    const struct blkptr *pointers = dnode_pointers(&set->meta.dnode);
    for (unsigned i = 0; i < set->meta.dnode.pointers; i++)
        if (!block_is_hole(&pointers[i]))
            how.fill += pointers[i].fill;
    // Whoever may write here knows that the intent log has nothing to play.
    struct zil_header log = set->header->zil;
    memset(&set->header->zil, 0, sizeof(log));
    pool->charged = set->dataset;
    error = block_prepare_free(pool, &log.log);
    if (error == 0)
        error = block_write(pool, set->pointer, set->header, set->header_size, &how);
    if (error < 0) {
        set->header->zil = log;
        return error;
    }
    block_free_log(pool, &log.log);
    set->dirty = false;
    return 0;
}
