// Making files and destroying them.
//
// A file without a name is in the delete queue while somebody uses it: whoever opens the dataset
// after a power cut finds it there and destroys it.
//
// Specified in: "ZFS On-Disk Specification", chapter 6; the access control lists that go with a
// mode in RFC 7530, 6.2.1.

#include "znode.h"

#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFBLK 0060000
#define S_IFCHR 0020000
#define LINK_MAX_LENGTH 4095
#define SHORT_LINK 56 // that follows the fields of a znode

// --- What follows from a mode

#define OWNER_MASK 0x1e0198
#define OTHER_MASK 0x120088

void node_aces(uint32_t mode, struct acl_entry aces[3]) {
    static const uint16_t flags[3] = {0x1000, 0x2040, 0x4000};
    for (unsigned i = 0; i < 3; i++) {
        unsigned bits = mode >> (6 - 3 * i) & 7;
        uint32_t mask = i == 0 ? OWNER_MASK : OTHER_MASK;
        mask |= (bits & 4 ? 1u : 0) | (bits & 2 ? 6u : 0) | (bits & 1 ? 0x20u : 0);
        aces[i] = (struct acl_entry){0, flags[i], mask};
    }
}

#define FLAG_TRIVIAL 4 // the list says no more than the mode
#define FLAG_INHERITED 0x40

uint64_t node_flags(uint32_t mode) {
    uint64_t flags = 0x40800000000 | FLAG_TRIVIAL;
    if ((mode & S_IFMT) == S_IFDIR)
        flags |= FLAG_INHERITED;
    return (mode & 0111) == 0111 ? flags | FLAG_EXECUTE_FOR_ALL : flags;
}

// --- Making

static uint8_t object_type(uint32_t mode) {
    return (mode & S_IFMT) == S_IFDIR ? TYPE_DIRECTORY : TYPE_FILE;
}

static bool has_device(uint32_t mode) {
    return (mode & S_IFMT) == S_IFBLK || (mode & S_IFMT) == S_IFCHR;
}

static uint64_t first_size(const struct node_new *new) {
    return (new->mode & S_IFMT) == S_IFDIR ? 2 : new->target != NULL ? strlen(new->target) : 0;
}

static void fill_values(const struct zfs_dataset *dataset, const struct node_new *new,
                        struct sa_values *values) {
    uint64_t now = zfs_services->now();
    memset(values, 0, sizeof(*values));
    for (unsigned i = ATTRIBUTE_ACCESSED; i <= ATTRIBUTE_CREATED; i++) {
        values->word[i][0] = now / NANOSECONDS;
        values->word[i][1] = now % NANOSECONDS;
    }
    values->word[ATTRIBUTE_GENERATION][0] = dataset->pool->txg;
    values->word[ATTRIBUTE_MODE][0] = new->mode;
    values->word[ATTRIBUTE_SIZE][0] = first_size(new);
    values->word[ATTRIBUTE_PARENT][0] = new->parent;
    values->word[ATTRIBUTE_LINKS][0] = object_type(new->mode) == TYPE_DIRECTORY ? 2 : 1;
    values->word[ATTRIBUTE_DEVICE][0] = new->device;
    values->word[ATTRIBUTE_FLAGS][0] = node_flags(new->mode);
    values->word[ATTRIBUTE_OWNER][0] = new->owner;
    values->word[ATTRIBUTE_GROUP][0] = new->group;
    values->word[ATTRIBUTE_ACL_COUNT][0] = 3;
    node_aces(new->mode, values->aces);
    values->has_device = has_device(new->mode);
    values->link = new->target;
    values->link_length = new->target != NULL ? (unsigned)strlen(new->target) : 0;
}

static void fill_znode(const struct sa_values *values, struct znode *znode) {
    memcpy(znode->accessed, values->word[ATTRIBUTE_ACCESSED], 16);
    memcpy(znode->modified, values->word[ATTRIBUTE_MODIFIED], 16);
    memcpy(znode->changed, values->word[ATTRIBUTE_CHANGED], 16);
    memcpy(znode->created, values->word[ATTRIBUTE_CREATED], 16);
    znode->generation = values->word[ATTRIBUTE_GENERATION][0];
    znode->mode = values->word[ATTRIBUTE_MODE][0];
    znode->size = values->word[ATTRIBUTE_SIZE][0];
    znode->parent = values->word[ATTRIBUTE_PARENT][0];
    znode->links = values->word[ATTRIBUTE_LINKS][0];
    znode->device = values->word[ATTRIBUTE_DEVICE][0];
    znode->flags = values->word[ATTRIBUTE_FLAGS][0];
    znode->owner = values->word[ATTRIBUTE_OWNER][0];
    znode->group = values->word[ATTRIBUTE_GROUP][0];
    znode->acl_bytes = sizeof(values->aces);
    znode->acl_version = 1;
    znode->acl_count = 3;
    memcpy(znode->acl, values->aces, sizeof(values->aces));
}

// Before ZPL 5: fields, and a long link's target in block 0.
static int make_znode(struct zfs_dataset *dataset, const struct sa_values *values, uint8_t type,
                      struct object **out) {
    unsigned follows = values->link_length <= SHORT_LINK ? values->link_length : 0;
    uint16_t length = (uint16_t)(sizeof(struct znode) + follows);
    int error = object_allocate(dataset->set, type, 0, TYPE_ZNODE, length, out);
    if (error < 0)
        return error;
    struct znode *znode = object_change_bonus(*out);
    fill_znode(values, znode);
    if (follows > 0)
        memcpy(znode + 1, values->link, follows);
    else if (values->link_length > 0)
        error = object_set_block_size(*out, (values->link_length + 511) & ~511u);
    if (error == 0 && follows == 0 && values->link_length > 0)
        error = object_write(*out, 0, values->link, values->link_length);
    return error;
}

int node_make(struct zfs_dataset *dataset, const struct node_new *new, struct object **out) {
    struct sa_values values;
    uint8_t type = object_type(new->mode);
    *out = NULL;
    fill_values(dataset, new, &values);
    if (values.link_length > LINK_MAX_LENGTH)
        return -ENAMETOOLONG;
    int error = dataset->version >= 5 ? sa_make(dataset, type, &values, out)
                                      : make_znode(dataset, &values, type, out);
    if (error == 0 && type == TYPE_DIRECTORY)
        error = zap_format(*out);
    if (error < 0 && *out != NULL) {
        uint64_t number = (*out)->number;
        object_put(*out);
        object_free(dataset->set, number);
    }
    return error;
}

// --- Destroying

int node_queue(struct zfs_dataset *dataset, uint64_t number, bool add) {
    char name[20];
    zap_number_name(number, name);
    return add ? zap_add(dataset->set, dataset->delete_queue, name, 8, 1, &number)
               : zap_remove(dataset->set, dataset->delete_queue, name);
}

// A directory of extended attributes has none itself, and its files neither: two levels at most.
static bool destroy_attribute(void *argument, uint64_t next, const char *name,
                              unsigned integer_size, unsigned count, const void *value) {
    struct zfs_dataset *dataset = argument;
    uint64_t number;
    (void)next, (void)name;
    if (integer_size != 8 || count != 1)
        return true;
    memcpy(&number, value, sizeof(number));
    object_free(dataset->set, ENTRY_OBJECT(number));
    return true;
}

static int destroy_attributes(struct zfs_dataset *dataset, uint64_t directory) {
    struct object *object;
    int error = node_hold(dataset, directory, &object);
    if (error < 0)
        return error;
    if (object->dnode.type == TYPE_DIRECTORY)
        error = zap_visit(object, 0, destroy_attribute, dataset);
    object_put(object);
    return error < 0 ? error : object_free(dataset->set, directory);
}

static int node_destroy(struct zfs_dataset *dataset, uint64_t number) {
    struct object *node;
    struct place place;
    uint64_t attributes = 0, acl = 0;
    int error = node_hold(dataset, number, &node);
    if (error < 0)
        return error;
    error = node_get(dataset, node, ATTRIBUTE_XATTR, &attributes);
    if (error == 0 && node_find(dataset, node, ATTRIBUTE_ACL, &place) == 0) {
        memcpy(&acl, place.at, sizeof(acl));
        buffer_put(place.spill);
    }
    object_put(node);
    if (error == 0)
        error = object_free(dataset->set, number);
    if (error == 0 && attributes != 0)
        destroy_attributes(dataset, attributes);
    if (error == 0 && acl != 0)
        object_free(dataset->set, acl);
    return error;
}

// --- The delete queue

// Out of the queue first: the number of what is destroyed may be another file's soon. Nobody holds it.
int node_forget(struct zfs_dataset *dataset, uint64_t number) {
    int error = node_queue(dataset, number, false);
    if (error < 0)
        return error;
    error = node_destroy(dataset, number);
    if (error < 0 && error != -ENOENT)
        node_queue(dataset, number, true);
    return error;
}

static bool first_queued(void *argument, uint64_t next, const char *name, unsigned integer_size,
                         unsigned count, const void *value) {
    uint64_t *found = argument; // its number, and where to go on
    (void)name;
    if (integer_size == 8 && count == 1)
        memcpy(&found[0], value, sizeof(found[0]));
    found[1] = next;
    return false;
}

// There may be many, and little space.
void node_purge_queue(struct zfs_dataset *dataset) {
    uint64_t found[2] = {0, 0};
    for (;;) {
        uint64_t position = found[1];
        found[0] = 0;
        if (object_space_to_remove(dataset->set, NAME_COST) < 0 && zfs_sync(dataset->pool) < 0)
            return;
        int error = zap_each(dataset->set, dataset->delete_queue, position, first_queued, found);
        if (error < 0 || found[1] == position)
            return;
        if (found[0] != 0)
            node_forget(dataset, found[0]);
    }
}
