// The attributes of a file, whether they are system attributes (ZPL 5) or fields of a znode (1 to 4).
//
// Specified in: "ZFS On-Disk Specification", chapter 6 (ZPL).

#include "znode.h"

static const struct {
    uint16_t offset, length;
} fields[ATTRIBUTES] = {
    [ATTRIBUTE_ACCESSED] = {offsetof(struct znode, accessed), 16},
    [ATTRIBUTE_MODIFIED] = {offsetof(struct znode, modified), 16},
    [ATTRIBUTE_CHANGED] = {offsetof(struct znode, changed), 16},
    [ATTRIBUTE_CREATED] = {offsetof(struct znode, created), 16},
    [ATTRIBUTE_GENERATION] = {offsetof(struct znode, generation), 8},
    [ATTRIBUTE_MODE] = {offsetof(struct znode, mode), 8},
    [ATTRIBUTE_SIZE] = {offsetof(struct znode, size), 8},
    [ATTRIBUTE_PARENT] = {offsetof(struct znode, parent), 8},
    [ATTRIBUTE_LINKS] = {offsetof(struct znode, links), 8},
    [ATTRIBUTE_XATTR] = {offsetof(struct znode, extended_attributes), 8},
    [ATTRIBUTE_DEVICE] = {offsetof(struct znode, device), 8},
    [ATTRIBUTE_FLAGS] = {offsetof(struct znode, flags), 8},
    [ATTRIBUTE_OWNER] = {offsetof(struct znode, owner), 8},
    [ATTRIBUTE_GROUP] = {offsetof(struct znode, group), 8},
    [ATTRIBUTE_ACL] = {offsetof(struct znode, acl_object), 88},
    [ATTRIBUTE_ACL_COUNT] = {offsetof(struct znode, acl_count), 2},
    [ATTRIBUTE_ACES] = {offsetof(struct znode, acl), 72},
};

int node_hold(struct zfs_dataset *dataset, uint64_t number, struct object **out) {
    int error = object_hold(dataset->set, number, out);
    if (error < 0)
        return error;
    const struct dnode *dnode = &(*out)->dnode;
    if (dnode->bonus_type == TYPE_SA ||
        (dnode->bonus_type == TYPE_ZNODE && dnode->bonus_length >= sizeof(struct znode)))
        return 0;
    zfs_report("object %lu is not a file", number);
    object_put(*out);
    return -EIO;
}

int node_find(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
              struct place *place) {
    if (node->dnode.bonus_type == TYPE_SA)
        return sa_find(dataset, node, attribute, place);
    uint8_t *bonus = dnode_bonus(&node->dnode);
    *place = (struct place){bonus + fields[attribute].offset, fields[attribute].length, NULL};
    if (attribute == ATTRIBUTE_LINK) { // a short target follows the fields
        place->at = bonus + sizeof(struct znode);
        place->length = node->dnode.bonus_length - (unsigned)sizeof(struct znode);
    }
    return place->length == 0 ? -ENOENT : 0;
}

// What a file has not is 0: which device it is, or where its extended attributes are.
int node_get(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
             uint64_t *value) {
    struct place place;
    int error = node_find(dataset, node, attribute, &place);
    *value = 0;
    if (error == 0)
        memcpy(value, place.at, place.length < 8 ? place.length : 8);
    if (error == 0)
        buffer_put(place.spill);
    return error == -ENOENT ? 0 : error;
}

static void changed(struct object *node, struct place *place) {
    if (place->spill != NULL)
        buffer_dirty(place->spill);
    else
        object_dirty(node);
    buffer_put(place->spill);
}

int node_set(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
             uint64_t value) {
    struct place place;
    int error = node_find(dataset, node, attribute, &place);
    if (error < 0)
        return error;
    memcpy(place.at, &value, place.length < 8 ? place.length : 8);
    changed(node, &place);
    return 0;
}

int node_set_time(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
                  uint64_t time) {
    uint64_t pair[2] = {time / NANOSECONDS, time % NANOSECONDS};
    struct place place;
    int error = node_find(dataset, node, attribute, &place);
    if (error < 0)
        return error;
    memcpy(place.at, pair, place.length < 16 ? place.length : 16);
    changed(node, &place);
    return 0;
}

// Times before 1970 are 1970.
static int get_time(struct zfs_dataset *dataset, struct object *node, enum attribute attribute,
                    uint64_t *time) {
    int64_t pair[2] = {0, 0};
    struct place place;
    int error = node_find(dataset, node, attribute, &place);
    if (error < 0)
        return error == -ENOENT ? 0 : error;
    memcpy(pair, place.at, place.length < 16 ? place.length : 16);
    buffer_put(place.spill);
    bool sensible =
        pair[0] >= 0 && pair[0] < INT64_MAX / NANOSECONDS && pair[1] >= 0 && pair[1] < NANOSECONDS;
    *time = sensible ? (uint64_t)pair[0] * NANOSECONDS + (uint64_t)pair[1] : 0;
    return 0;
}

int node_mode(struct zfs_dataset *dataset, struct object *node, uint32_t *mode) {
    uint64_t value;
    int error = node_get(dataset, node, ATTRIBUTE_MODE, &value);
    *mode = (uint32_t)value & 0177777;
    return error;
}

// --- All of them

static int get_all(struct zfs_dataset *dataset, struct object *node, struct zfs_attributes *out) {
    struct {
        enum attribute attribute;
        uint64_t *to;
    } times[] = {{ATTRIBUTE_ACCESSED, &out->accessed},
                 {ATTRIBUTE_MODIFIED, &out->modified},
                 {ATTRIBUTE_CHANGED, &out->changed},
                 {ATTRIBUTE_CREATED, &out->created}},
      words[] = {{ATTRIBUTE_LINKS, &out->links},
                 {ATTRIBUTE_SIZE, &out->size},
                 {ATTRIBUTE_DEVICE, &out->device},
                 {ATTRIBUTE_PARENT, &out->parent},
                 {ATTRIBUTE_GENERATION, &out->generation}};
    uint64_t owner = 0, group = 0;
    int error = node_mode(dataset, node, &out->mode);
    for (unsigned i = 0; error == 0 && i < sizeof(times) / sizeof(times[0]); i++)
        error = get_time(dataset, node, times[i].attribute, times[i].to);
    for (unsigned i = 0; error == 0 && i < sizeof(words) / sizeof(words[0]); i++)
        error = node_get(dataset, node, words[i].attribute, words[i].to);
    if (error == 0)
        error = node_get(dataset, node, ATTRIBUTE_OWNER, &owner);
    if (error == 0)
        error = node_get(dataset, node, ATTRIBUTE_GROUP, &group);
    out->owner = (uint32_t)owner; // without the domain that Windows clients have
    out->group = (uint32_t)group;
    out->stored = node->dnode.used;
    out->record = object_block_size(node);
    return error;
}

int zfs_attributes(struct zfs_dataset *dataset, uint64_t object, struct zfs_attributes *out) {
    struct object *node;
    *out = (struct zfs_attributes){0};
    int error = node_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = get_all(dataset, node, out);
    object_put(node);
    return error;
}

// --- Setting them

// A list of another form than those made here stays as it is: it is no more than the mode says only
// as long as nobody changed it.
static int set_mode(struct zfs_dataset *dataset, struct object *node, uint32_t mode) {
    struct acl_entry aces[3];
    struct place place;
    uint64_t count, flags;
    uint32_t old;
    int error = node_mode(dataset, node, &old);
    if (error == 0)
        error = node_get(dataset, node, ATTRIBUTE_FLAGS, &flags);
    if (error == 0)
        error = node_get(dataset, node, ATTRIBUTE_ACL_COUNT, &count);
    if (error == 0)
        error = node_set(dataset, node, ATTRIBUTE_MODE, (old & 0170000) | (mode & 07777));
    if (error < 0)
        return error;
    node_aces(mode, aces);
    if (count == 3 && node_find(dataset, node, ATTRIBUTE_ACES, &place) == 0) {
        if (place.length >= sizeof(aces))
            memcpy(place.at, aces, sizeof(aces));
        changed(node, &place);
    }
    flags &= ~(uint64_t)FLAG_EXECUTE_FOR_ALL;
    flags |= node_flags(mode) & FLAG_EXECUTE_FOR_ALL;
    return node_set(dataset, node, ATTRIBUTE_FLAGS, flags);
}

static int set_some(struct zfs_dataset *dataset, struct object *node, unsigned which,
                    const struct zfs_attributes *values) {
    int error = which & ZFS_SET_MODE ? set_mode(dataset, node, values->mode) : 0;
    if (error == 0 && which & ZFS_SET_OWNER)
        error = node_set(dataset, node, ATTRIBUTE_OWNER, values->owner);
    if (error == 0 && which & ZFS_SET_GROUP)
        error = node_set(dataset, node, ATTRIBUTE_GROUP, values->group);
    if (error == 0 && which & ZFS_SET_ACCESSED)
        error = node_set_time(dataset, node, ATTRIBUTE_ACCESSED, values->accessed);
    if (error == 0 && which & ZFS_SET_MODIFIED)
        error = node_set_time(dataset, node, ATTRIBUTE_MODIFIED, values->modified);
    if (error == 0 && which & ~(unsigned)ZFS_SET_ACCESSED)
        error = node_set_time(dataset, node, ATTRIBUTE_CHANGED, zfs_services->now());
    return error;
}

int zfs_set_attributes(struct zfs_dataset *dataset, uint64_t object, unsigned which,
                       const struct zfs_attributes *values) {
    struct object *node;
    if (dataset->read_only != NULL)
        return -EROFS;
    int error = object_space_to_remove(dataset->set, NODE_COST);
    if (error == 0)
        error = node_hold(dataset, object, &node);
    if (error < 0)
        return error;
    error = set_some(dataset, node, which, values);
    object_put(node);
    return error;
}
