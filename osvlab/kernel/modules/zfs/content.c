// Reading and writing what is in an object, at any offset.
//
// Whole blocks that are not in memory are read straight to where they are wanted; blocks that are
// overwritten as a whole are not read before.

#include "object.h"

// What is wanted of one block.
struct part {
    uint64_t block;
    uint32_t offset, size;
};

static struct part part_at(const struct object *object, uint64_t offset, size_t size) {
    uint32_t block_size = object_block_size(object);
    struct part part = {.block = offset / block_size, .offset = (uint32_t)(offset % block_size)};
    uint32_t rest = block_size - part.offset;
    part.size = size < rest ? (uint32_t)size : rest;
    return part;
}

static int read_whole(struct object *object, uint64_t block, void *to) {
    struct buffer *parent;
    struct blkptr *pointer;
    uint32_t size = object_block_size(object);
    int error = tree_pointer(object, 0, block, false, &parent, &pointer);
    if (error == 0 && (pointer == NULL || block_is_hole(pointer)))
        memset(to, 0, size);
    else if (error == 0)
        error = buffer_pointer_check(object, 0, pointer, size);
    if (error == 0 && pointer != NULL && !block_is_hole(pointer))
        error = block_read(object->set->pool, pointer, to, size);
    buffer_put(parent);
    return error;
}

static int read_part(struct object *object, const struct part *part, void *to) {
    struct buffer *buffer;
    if (part->block > object->dnode.max_block) {
        memset(to, 0, part->size);
        return 0;
    }
    if (part->size == object_block_size(object) && buffer_find(object, 0, part->block) == NULL)
        return read_whole(object, part->block, to);
    int error = buffer_get(object, 0, part->block, BUFFER_READ, &buffer);
    if (error < 0)
        return error;
    memcpy(to, buffer->data + part->offset, part->size);
    buffer_put(buffer);
    return 0;
}

int object_read(struct object *object, uint64_t offset, void *buffer, size_t size) {
    for (size_t done = 0; done < size;) {
        struct part part = part_at(object, offset + done, size - done);
        int error = read_part(object, &part, (uint8_t *)buffer + done);
        if (error < 0)
            return error;
        done += part.size;
    }
    return 0;
}

int object_write_part(struct object *object, uint64_t offset, const void *data, size_t size) {
    struct part part = part_at(object, offset, size);
    enum buffer_content content = part.size == object_block_size(object) ? BUFFER_WHOLE
                                  : part.block > object->dnode.max_block ? BUFFER_NEW
                                                                         : BUFFER_READ;
    struct buffer *buffer;
    int error = object_grow(object, part.block);
    if (error == 0)
        error = buffer_get(object, 0, part.block, content, &buffer);
    if (error < 0)
        return error;
    memcpy(buffer->data + part.offset, data, part.size);
    buffer_dirty(buffer);
    buffer_put(buffer);
    return (int)part.size;
}

int object_write(struct object *object, uint64_t offset, const void *data, size_t size) {
    while (size > 0) {
        int done = object_write_part(object, offset, data, size);
        if (done < 0)
            return done;
        offset += (uint64_t)done;
        data = (const uint8_t *)data + done;
        size -= (size_t)done;
    }
    return 0;
}
