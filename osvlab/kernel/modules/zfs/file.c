// What is in files and symbolic links.

#include "dataset.h"

static int file_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out) {
    int error = node_hold(dataset, number, out);
    if (error < 0 || (*out)->dnode.type == TYPE_FILE)
        return error;
    object_put(*out);
    return -EISDIR;
}

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

long zfs_read_link(struct zfs_dataset *dataset, uint64_t object, char *out, size_t size) {
    struct object *node;
    struct place place;
    uint64_t length;
    int error = node_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = node_get(dataset, node, ATTRIBUTE_SIZE, &length);
    if (error == 0)
        error = node_find(dataset, node, ATTRIBUTE_LINK, &place);
    if (error == 0) {
        size = length < size ? (size_t)length : size;
        if (place.length < length)
            error = -EIO;
        else
            memcpy(out, place.at, size);
        buffer_put(place.spill);
    } else if (error == -ENOENT && node->dnode.bonus_type == TYPE_ZNODE) {
        size = length < size ? (size_t)length : size; // a long one is in block 0
        error = object_read(node, 0, out, size);
    }
    object_put(node);
    return error < 0 ? error : (long)size;
}
