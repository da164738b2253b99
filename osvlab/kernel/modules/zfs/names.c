// Directories: looking up names, listing, making and linking files. Removing them is in remove.c.
//
// Every change comes in one transaction group; what may fail comes before it, or is undone.
//
// Specified in: "ZFS On-Disk Specification", chapter 6.3 (directories).

#include "names.h"

int directory_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out) {
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

// --- Changing a directory

int name_check(const char *name, size_t length) {
    if (length > ZAP_NAME_MAX)
        return -ENAMETOOLONG;
    if (length == 0 || memchr(name, 0, length) != NULL || memchr(name, '/', length) != NULL)
        return -EINVAL;
    return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')) ? -EINVAL : 0;
}

int directory_open(struct zfs_dataset *dataset, uint64_t number, struct directory *out) {
    int error = directory_hold(dataset, number, &out->node);
    if (error < 0)
        return error;
    error = node_get(dataset, out->node, ATTRIBUTE_SIZE, &out->size);
    if (error == 0)
        error = node_get(dataset, out->node, ATTRIBUTE_LINKS, &out->links);
    if (error == 0 && out->links == 0)
        error = -ENOENT; // it was removed
    if (error < 0)
        object_put(out->node);
    return error;
}

// Its attributes were read before, so they can be written.
void directory_changed(struct zfs_dataset *dataset, struct directory *directory, int entries,
                       int directories) {
    uint64_t now = zfs_services->now();
    directory->size += (uint64_t)entries;
    directory->links += (uint64_t)directories;
    node_set(dataset, directory->node, ATTRIBUTE_SIZE, directory->size);
    node_set(dataset, directory->node, ATTRIBUTE_LINKS, directory->links);
    node_set_time(dataset, directory->node, ATTRIBUTE_MODIFIED, now);
    node_set_time(dataset, directory->node, ATTRIBUTE_CHANGED, now);
}

static int prepare(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
                   struct directory *out) {
    if (dataset->read_only != NULL)
        return -EROFS;
    int error = name_check(name, length);
    if (error == 0)
        error = object_space(dataset->set, NAME_COST);
    return error < 0 ? error : directory_open(dataset, directory, out);
}

static int insert(struct directory *directory, const char *name, size_t length, uint64_t object,
                  uint32_t mode) {
    uint64_t entry = ENTRY(object, mode);
    struct zap_value value = {8, 1, &entry};
    return zap_insert(directory->node, name, (unsigned)length, &value);
}

int zfs_create(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
               const struct zfs_new *new, uint64_t *object) {
    struct node_new made = {new->mode, new->owner, new->group, new->device, directory, new->target};
    struct directory in;
    struct object *node;
    bool link = (new->mode & S_IFMT) == S_IFLNK;
    if (link != (new->target != NULL) || (link && new->target[0] == 0))
        return -EINVAL;
    int error = prepare(dataset, directory, name, length, &in);
    if (error < 0)
        return error;
    error = node_make(dataset, &made, &node);
    if (error == 0) {
        uint64_t number = node->number;
        error = insert(&in, name, length, number, new->mode);
        object_put(node);
        if (error < 0) {
            object_free(dataset->set, number);
        } else {
            directory_changed(dataset, &in, 1, (new->mode & S_IFMT) == S_IFDIR);
            *object = number;
        }
    }
    object_put(in.node);
    return error;
}

static int link_node(struct zfs_dataset *dataset, struct directory *in, const char *name,
                     size_t length, struct object *node) {
    uint64_t links;
    uint32_t mode;
    int error = node_mode(dataset, node, &mode);
    if (error == 0)
        error = node_get(dataset, node, ATTRIBUTE_LINKS, &links);
    if (error < 0)
        return error;
    if ((mode & S_IFMT) == S_IFDIR)
        return -EPERM;
    if (links == 0)
        return -ENOENT;
    error = insert(in, name, length, node->number, mode);
    if (error < 0)
        return error;
    node_set(dataset, node, ATTRIBUTE_LINKS, links + 1);
    node_set(dataset, node, ATTRIBUTE_PARENT, in->node->number);
    node_set_time(dataset, node, ATTRIBUTE_CHANGED, zfs_services->now());
    directory_changed(dataset, in, 1, 0);
    return 0;
}

int zfs_link(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
             uint64_t object) {
    struct directory in;
    struct object *node;
    int error = prepare(dataset, directory, name, length, &in);
    if (error < 0)
        return error;
    error = node_hold(dataset, object, &node);
    if (error == 0) {
        error = link_node(dataset, &in, name, length, node);
        object_put(node);
    }
    object_put(in.node);
    return error;
}
