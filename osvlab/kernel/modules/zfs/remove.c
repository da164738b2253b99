// Taking names away, and giving other ones: zfs_remove, zfs_forget, zfs_rename.
//
// A file whose last name goes is put into the delete queue before, and destroyed if it is not in use.

#include "names.h"

// What a name leads to, held.
struct target {
    struct object *node;
    uint64_t number, links, entry;
    uint32_t mode;
};

static bool is_directory(const struct target *target) {
    return (target->mode & S_IFMT) == S_IFDIR;
}

static int target_open(struct zfs_dataset *dataset, struct directory *in, const char *name,
                       size_t length, struct target *out) {
    int error = zap_get(in->node, name, (unsigned)length, 8, 1, &out->entry);
    if (error < 0)
        return error;
    out->number = ENTRY_OBJECT(out->entry);
    error = node_hold(dataset, out->number, &out->node);
    if (error < 0)
        return error == -ENOENT ? -EIO : error; // a name without a file
    error = node_mode(dataset, out->node, &out->mode);
    if (error == 0)
        error = node_get(dataset, out->node, ATTRIBUTE_LINKS, &out->links);
    if (error < 0)
        object_put(out->node);
    return error;
}

static bool is_last(const struct target *target) {
    return is_directory(target) || target->links <= 1;
}

// Whether it may lose its name; if that is the last, it is in the queue now.
static int target_prepare(struct zfs_dataset *dataset, struct target *target) {
    uint64_t entries = 0;
    int error = is_directory(target) ? zap_entries(target->node, &entries) : 0;
    if (error == 0 && entries > 0)
        error = -ENOTEMPTY;
    if (error == 0 && is_last(target))
        error = node_queue(dataset, target->number, true);
    return error;
}

static void target_undo(struct zfs_dataset *dataset, struct target *target) {
    if (is_last(target))
        node_queue(dataset, target->number, false);
    object_put(target->node);
}

// The name is gone. What cannot be destroyed now stays in the queue.
static void target_finish(struct zfs_dataset *dataset, struct target *target, bool in_use) {
    bool last = is_last(target);
    node_set(dataset, target->node, ATTRIBUTE_LINKS, last ? 0 : target->links - 1);
    node_set_time(dataset, target->node, ATTRIBUTE_CHANGED, zfs_services->now());
    object_put(target->node);
    if (last && !in_use)
        node_forget(dataset, target->number);
}

static int remove_from(struct zfs_dataset *dataset, struct directory *in, const char *name,
                       size_t length, bool in_use) {
    struct target target;
    int error = target_open(dataset, in, name, length, &target);
    if (error < 0)
        return error;
    error = target_prepare(dataset, &target);
    if (error < 0) {
        object_put(target.node);
        return error;
    }
    error = zap_delete(in->node, name, (unsigned)length);
    if (error < 0) {
        target_undo(dataset, &target);
        return error;
    }
    directory_changed(dataset, in, -1, is_directory(&target) ? -1 : 0);
    target_finish(dataset, &target, in_use);
    return 0;
}

int zfs_remove(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
               bool in_use) {
    struct directory in;
    int error = dataset->read_only != NULL ? -EROFS : name_check(name, length);
    if (error == 0)
        error = object_space_to_remove(dataset->set, NAME_COST);
    if (error == 0)
        error = directory_open(dataset, directory, &in);
    if (error < 0)
        return error;
    error = remove_from(dataset, &in, name, length, in_use);
    object_put(in.node);
    return error;
}

int zfs_forget(struct zfs_dataset *dataset, uint64_t object) {
    if (dataset->read_only != NULL)
        return -EROFS;
    int error = object_space_to_remove(dataset->set, NODE_COST);
    return error < 0 ? error : node_forget(dataset, object);
}

// --- Renaming

#define DEPTH_MAX 10000

// Whether a directory lies in another, or is it.
static int lies_in(struct zfs_dataset *dataset, uint64_t directory, uint64_t above, bool *out) {
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        struct object *node;
        uint64_t parent;
        *out = directory == above;
        if (*out || directory == dataset->root)
            return 0;
        int error = directory_hold(dataset, directory, &node);
        if (error < 0)
            return error;
        error = node_get(dataset, node, ATTRIBUTE_PARENT, &parent);
        object_put(node);
        if (error < 0)
            return error;
        directory = parent;
    }
    return -ELOOP;
}

struct rename {
    struct directory from, to;
    const char *old, *new;
    size_t old_length, new_length;
    struct target source, replaced; // its node is NULL: nothing is
    bool in_use;                    // what is replaced
};

static int rename_check(struct zfs_dataset *dataset, struct rename *r) {
    bool inside = false;
    int error = 0;
    if (is_directory(&r->source))
        error = lies_in(dataset, r->to.node->number, r->source.number, &inside);
    if (error < 0 || inside)
        return error < 0 ? error : -EINVAL;
    if (r->replaced.node == NULL)
        return 0;
    if (is_directory(&r->source) != is_directory(&r->replaced))
        return is_directory(&r->source) ? -ENOTDIR : -EISDIR;
    return target_prepare(dataset, &r->replaced);
}

// The new name, then the old one; the new one is taken back if the old one stays.
static int rename_entries(struct rename *r) {
    struct zap_value value = {8, 1, &r->source.entry}, before = {8, 1, &r->replaced.entry};
    struct object *to = r->to.node;
    unsigned length = (unsigned)r->new_length;
    bool replaces = r->replaced.node != NULL;
    int error =
        replaces ? zap_replace(to, r->new, length, &value) : zap_insert(to, r->new, length, &value);
    if (error < 0)
        return error;
    error = zap_delete(r->from.node, r->old, (unsigned)r->old_length);
    if (error < 0 && replaces)
        zap_replace(to, r->new, length, &before);
    else if (error < 0)
        zap_delete(to, r->new, length);
    return error;
}

static void rename_finish(struct zfs_dataset *dataset, struct rename *r) {
    int moved = is_directory(&r->source), gone = moved && r->replaced.node != NULL;
    bool same = r->from.node == r->to.node;
    node_set(dataset, r->source.node, ATTRIBUTE_PARENT, r->to.node->number);
    node_set_time(dataset, r->source.node, ATTRIBUTE_CHANGED, zfs_services->now());
    directory_changed(dataset, &r->from, -1, -moved);
    if (same) // their counts are the same ones
        r->to = r->from;
    directory_changed(dataset, &r->to, r->replaced.node == NULL ? 1 : 0, moved - gone);
    if (r->replaced.node != NULL)
        target_finish(dataset, &r->replaced, r->in_use);
}

static int rename_targets(struct zfs_dataset *dataset, struct rename *r) {
    int error = target_open(dataset, &r->from, r->old, r->old_length, &r->source);
    if (error < 0)
        return error;
    error = target_open(dataset, &r->to, r->new, r->new_length, &r->replaced);
    if (error == -ENOENT)
        r->replaced.node = NULL;
    else if (error < 0)
        goto out;
    else if (r->replaced.number == r->source.number) { // two names of one file: both stay
        object_put(r->replaced.node);
        error = 0;
        goto out;
    }
    error = rename_check(dataset, r);
    if (error == 0) {
        error = rename_entries(r);
        if (error == 0) {
            rename_finish(dataset, r);
            goto out;
        }
        if (r->replaced.node != NULL)
            target_undo(dataset, &r->replaced);
    } else {
        object_put(r->replaced.node);
    }
out:
    object_put(r->source.node);
    return error;
}

int zfs_rename(struct zfs_dataset *dataset, uint64_t from, const char *old_name, size_t old_length,
               uint64_t to, const char *new_name, size_t new_length, bool replaced_in_use) {
    struct rename r = {.old = old_name,
                       .new = new_name,
                       .old_length = old_length,
                       .new_length = new_length,
                       .in_use = replaced_in_use};
    int error = dataset->read_only != NULL ? -EROFS : name_check(old_name, old_length);
    if (error == 0)
        error = name_check(new_name, new_length);
    if (error == 0)
        error = object_space(dataset->set, NAME_COST);
    if (error == 0)
        error = directory_open(dataset, from, &r.from);
    if (error < 0)
        return error;
    error = directory_open(dataset, to, &r.to);
    if (error == 0) {
        error = rename_targets(dataset, &r);
        object_put(r.to.node);
    }
    object_put(r.from.node);
    return error;
}
