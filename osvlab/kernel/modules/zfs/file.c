// What is in files and symbolic links: reading, writing, cutting, finding holes.
//
// A file is one block of its own size (a multiple of 512) until it is larger than a record, and
// from then on blocks of a record each.
//
// Invariant: behind a file's end its last block has zeros.

#include "dataset.h"

#define FILE_MAX INT64_MAX
#define INDIRECT_COST (2 * 16384)

static int file_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out) {
    int error = node_hold(dataset, number, out);
    if (error < 0 || (*out)->dnode.type == TYPE_FILE)
        return error;
    object_put(*out);
    return -EISDIR;
}

// --- Reading

long zfs_read(struct zfs_dataset *dataset, uint64_t object, uint64_t offset, void *buffer,
              size_t size) {
    struct object *node;
    uint64_t end;
    int error = file_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = node_get(dataset, node, ATTRIBUTE_SIZE, &end);
    if (error == 0) {
        uint64_t rest = offset < end ? end - offset : 0;
        size = size < rest ? size : (size_t)rest;
        error = object_read(node, offset, buffer, size);
    }
    object_put(node);
    return error < 0 ? error : (long)size;
}

static int read_target(struct zfs_dataset *dataset, struct object *node, char *out, uint64_t length,
                       size_t size) {
    struct place place;
    int error = node_find(dataset, node, ATTRIBUTE_LINK, &place);
    if (error == -ENOENT && node->dnode.bonus_type == TYPE_ZNODE)
        return object_read(node, 0, out, size); // before ZPL 5 a long one is in block 0
    if (error < 0)
        return error;
    if (place.length < length)
        error = -EIO;
    else
        memcpy(out, place.at, size);
    buffer_put(place.spill);
    return error;
}

long zfs_read_link(struct zfs_dataset *dataset, uint64_t object, char *out, size_t size) {
    struct object *node;
    uint64_t length;
    uint32_t mode;
    int error = node_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = node_mode(dataset, node, &mode);
    if (error == 0 && (mode & 0170000) != 0120000)
        error = -EINVAL;
    if (error == 0)
        error = node_get(dataset, node, ATTRIBUTE_SIZE, &length);
    if (error == 0) {
        size = length < size ? (size_t)length : size;
        error = read_target(dataset, node, out, length, size);
    }
    object_put(node);
    return error < 0 ? error : (long)size;
}

// --- Writing

static uint32_t power_above(uint32_t size) {
    uint32_t power = 1 << SECTOR_SHIFT;
    while (power < size)
        power *= 2;
    return power;
}

// Makes the one block of a small file large enough, or a whole record.
static int grow_block(struct zfs_dataset *dataset, struct object *node, uint64_t end) {
    uint32_t size = object_block_size(node), sector = 1 << SECTOR_SHIFT;
    uint32_t record = dataset->record > size ? dataset->record : power_above(size);
    if (node->dnode.max_block > 0 || end <= size || size == record)
        return 0;
    return object_set_block_size(
        node, end >= record ? record : (uint32_t)(end + sector - 1) & ~(sector - 1));
}

static long write_parts(struct zfs_dataset *dataset, struct object *node, uint64_t offset,
                        const uint8_t *data, size_t size) {
    size_t done = 0;
    int error = grow_block(dataset, node, offset + size);
    uint64_t cost = (uint64_t)object_block_size(node) * dataset->set->copies + INDIRECT_COST;
    while (error >= 0 && done < size) {
        error = object_space(dataset->set, cost);
        if (error == 0)
            error = object_write_part(node, offset + done, data + done, size - done);
        if (error > 0)
            done += (size_t)error;
    }
    return done > 0 ? (long)done : error;
}

static int written(struct zfs_dataset *dataset, struct object *node, uint64_t end, bool shorter) {
    uint64_t size, now = zfs_services->now();
    int error = node_get(dataset, node, ATTRIBUTE_SIZE, &size);
    if (error == 0 && (end > size || shorter))
        error = node_set(dataset, node, ATTRIBUTE_SIZE, end);
    if (error == 0)
        error = node_set_time(dataset, node, ATTRIBUTE_MODIFIED, now);
    if (error == 0)
        error = node_set_time(dataset, node, ATTRIBUTE_CHANGED, now);
    return error;
}

long zfs_write(struct zfs_dataset *dataset, uint64_t object, uint64_t offset, const void *data,
               size_t size) {
    struct object *node;
    uint64_t before;
    if (dataset->read_only != NULL)
        return -EROFS;
    if (offset > FILE_MAX || size > FILE_MAX - offset)
        return -EFBIG;
    int error = file_hold(dataset, object, &node);
    if (error < 0 || size == 0) {
        object_put(error < 0 ? NULL : node);
        return error;
    }
    error = node_get(dataset, node, ATTRIBUTE_SIZE, &before); // so that it can be set
    long done = error < 0 ? error : write_parts(dataset, node, offset, data, size);
    if (done > 0)
        written(dataset, node, offset + (uint64_t)done, false);
    object_put(node);
    return done;
}

int zfs_truncate(struct zfs_dataset *dataset, uint64_t object, uint64_t size) {
    struct object *node;
    uint64_t before;
    if (dataset->read_only != NULL)
        return -EROFS;
    if (size > FILE_MAX)
        return -EFBIG;
    int error = object_space_to_remove(dataset->set, NAME_COST);
    if (error == 0)
        error = file_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = node_get(dataset, node, ATTRIBUTE_SIZE, &before);
    if (error == 0)
        error = size < before ? object_cut(node, size) : grow_block(dataset, node, size);
    if (error == 0)
        error = written(dataset, node, size, true);
    object_put(node);
    return error;
}

// --- Holes

// What was written and is not on the disk yet is known only by its buffers.
static bool in_memory(struct object *node, uint64_t block) {
    const struct buffer *buffer = buffer_find(node, 0, block);
    return buffer != NULL && buffer->dirty;
}

static uint64_t first_in_memory(struct object *node, uint64_t from) {
    uint64_t first = UINT64_MAX;
    const struct link *ring = &node->dirty_buffers[0];
    for (const struct link *at = ring->next; at != ring; at = at->next) {
        uint64_t block = CONTAINER(at, struct buffer, order)->block;
        if (block >= from && block < first)
            first = block;
    }
    return first;
}

static int next_hole(struct object *node, uint64_t *block) {
    int error;
    while ((error = tree_next(node, block, true)) == 0 && in_memory(node, *block))
        ++*block;
    if (error == -ENXIO) // behind the last block
        *block = node->dnode.max_block + 1;
    return error == -ENXIO ? 0 : error;
}

static int next_data(struct object *node, uint64_t *block) {
    uint64_t dirty = first_in_memory(node, *block);
    int error = tree_next(node, block, false);
    if (dirty != UINT64_MAX && (error == -ENXIO || (error == 0 && dirty < *block))) {
        *block = dirty;
        error = 0;
    }
    return error;
}

int zfs_seek_data(struct zfs_dataset *dataset, uint64_t object, uint64_t *offset, bool hole) {
    struct object *node;
    uint64_t end;
    int error = file_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = node_get(dataset, node, ATTRIBUTE_SIZE, &end);
    if (error == 0 && *offset >= end)
        error = -ENXIO;
    uint64_t size = object_block_size(node), block = *offset / size;
    if (error == 0)
        error = hole ? next_hole(node, &block) : next_data(node, &block);
    if (error == 0 && !hole && block * size >= end)
        error = -ENXIO;
    if (error == 0 && block * size > *offset)
        *offset = block * size < end ? block * size : end;
    object_put(node);
    return error;
}
