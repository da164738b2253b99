// Directories: tables of names whose values are an object and the type of file it is.
//
// Specified in: "ZFS On-Disk Specification", chapter 6.3 (directories).

#include "dataset.h"

#define ENTRY_OBJECT(value) ((value) & (UINT64_MAX >> 16))
#define ENTRY_TYPE(value) ((uint32_t)((value) >> 60))

static int directory_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out) {
    int error = node_hold(dataset, number, out);
    if (error < 0 || (*out)->dnode.type == TYPE_DIRECTORY)
        return error;
    object_put(*out);
    return -ENOTDIR;
}

int zfs_lookup(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
               uint64_t *object) {
    struct object *node;
    uint64_t value;
    if (length > ZAP_NAME_MAX)
        return -ENAMETOOLONG;
    int error = directory_hold(dataset, directory, &node);
    if (error < 0)
        return error;
    error = zap_get(node, name, (unsigned)length, 8, 1, &value);
    object_put(node);
    if (error == 0)
        *object = ENTRY_OBJECT(value);
    return error;
}

static bool visit_entry(void *argument, uint64_t next, const char *name, unsigned integer_size,
                        unsigned count, const void *value) {
    struct zfs_reader *reader = argument;
    uint64_t entry;
    if (integer_size != 8 || count != 1)
        return true; // not of a directory: it cannot be looked up either
    memcpy(&entry, value, sizeof(entry));
    return reader->entry(reader, next, ENTRY_OBJECT(entry), ENTRY_TYPE(entry), name, strlen(name));
}

int zfs_read_directory(struct zfs_dataset *dataset, uint64_t directory, uint64_t position,
                       struct zfs_reader *reader) {
    struct object *node;
    int error = directory_hold(dataset, directory, &node);
    if (error < 0)
        return error;
    error = zap_visit(node, position, visit_entry, reader);
    object_put(node);
    return error;
}
