// The tree of an object's blocks: finding the pointer to a block, the next block that is stored,
// and freeing a range of blocks. A tree has seven levels at most in practice, walked by loops.
//
// Specified in: "ZFS On-Disk Specification", chapter 3.1 (dnode, indirect blocks).

#include "object.h"

static struct blkptr *pointer_in(struct object *object, struct buffer *parent, uint64_t block) {
    if (parent == NULL)
        return dnode_pointers(&object->dnode) + block;
    uint64_t mask = (1u << object_branch_shift(object)) - 1;
    return (struct blkptr *)(void *)parent->data + (block & mask);
}

// One step down to a block of `level`, which becomes *at.
static int descend(struct object *object, unsigned level, uint64_t block, bool change,
                   struct buffer **at) {
    struct buffer *below = NULL, *parent = *at;
    int error = buffer_get_at(object, level, block, pointer_in(object, parent, block), &below);
    buffer_put(parent);
    *at = below;
    if (error == 0 && change)
        buffer_dirty(below);
    return error;
}

// The lowest level above `level` at which the way to `block` is in memory; `levels`: the dnode.
static unsigned nearest(struct object *object, unsigned level, uint64_t block,
                        struct buffer **found) {
    unsigned shift = object_branch_shift(object), above = level + 1;
    for (*found = NULL; above < object->dnode.levels; above++) {
        *found = buffer_find(object, above, block >> shift * (above - level));
        if (*found != NULL)
            break;
    }
    return above;
}

int tree_pointer(struct object *object, unsigned level, uint64_t block, bool change,
                 struct buffer **parent, struct blkptr **pointer) {
    struct dnode *dnode = &object->dnode;
    unsigned shift = object_branch_shift(object), above;
    struct buffer *at = NULL;
    *parent = NULL;
    *pointer = NULL;
    if (block == SPILL_BLOCK) {
        *pointer = object_spill(object);
        return 0;
    }
    uint64_t top = block >> shift * (dnode->levels - 1 - level);
    if (level >= dnode->levels || top >= dnode->pointers)
        return change ? -EIO : 0;
    above = nearest(object, level, block, &at);
    if (change && !(above == level + 1 && at != NULL && at->dirty)) {
        above = dnode->levels; // from the top, so that all on the way are made dirty
        at = NULL;
    }
    if (at != NULL)
        at->holds++;
    while (above > level + 1) {
        uint64_t number = block >> shift * (--above - level);
        if (!change && block_is_hole(pointer_in(object, at, number)) &&
            buffer_find(object, above, number) == NULL) {
            buffer_put(at);
            return 0;
        }
        int error = descend(object, above, number, change, &at);
        if (error < 0)
            return error;
    }
    *parent = at;
    *pointer = pointer_in(object, at, block);
    return 0;
}

// --- What is stored

// Whether this block leads to data: -EIO, or 0 and *found.
static int leads(struct object *object, unsigned level, uint64_t block, bool *found) {
    struct buffer *parent;
    struct blkptr *pointer;
    int error = tree_pointer(object, level, block, false, &parent, &pointer);
    *found = error == 0 && pointer != NULL &&
             (!block_is_hole(pointer) || (level > 0 && buffer_find(object, level, block) != NULL));
    buffer_put(parent);
    return error;
}

// From the top: where a level has nothing, all that lies below is passed over at once.
int tree_next(struct object *object, uint64_t *block, bool hole) {
    unsigned shift = object_branch_shift(object);
    while (*block <= object->dnode.max_block) {
        bool found = true;
        unsigned level = object->dnode.levels;
        while (found && level > 0) {
            int error = leads(object, level - 1, *block >> shift * (level - 1), &found);
            if (error < 0)
                return error;
            level -= found;
        }
        if (found != hole)
            return 0;
        level = found ? 0 : level - 1; // what was found, or what was not
        *block = ((*block >> shift * level) + 1) << shift * level;
    }
    return -ENXIO;
}

// --- Freeing

int object_free_pointer(struct object *object, struct blkptr *pointer) {
    struct zfs_pool *pool = object->set->pool;
    int error = block_is_hole(pointer) ? 0 : block_prepare_free(pool, pointer);
    if (error < 0 || block_is_hole(pointer))
        return error;
    object->dnode.used -= block_stored(pointer);
    pool->charged = object->set->dataset;
    block_free(pool, pointer);
    return 0;
}

// Frees the data blocks of the range that lie under one block of level 1 (or the dnode).
static int free_siblings(struct object *object, uint64_t first, uint64_t last) {
    struct buffer *parent;
    struct blkptr *pointer;
    int error = tree_pointer(object, 0, first, true, &parent, &pointer);
    for (uint64_t block = first; error == 0 && block <= last; block++)
        error = object_free_pointer(object, pointer_in(object, parent, block));
    buffer_put(parent);
    return error;
}

// The indirect blocks that end here, and lie in the range with all below, are of no more use.
static int free_ancestors(struct object *object, uint64_t first, uint64_t end) {
    unsigned shift = object_branch_shift(object);
    for (unsigned level = 1; level < object->dnode.levels; level++) {
        uint64_t number = end >> shift * level;
        uint64_t start = number << shift * level, next = (number + 1) << shift * level;
        if (start < first || next - 1 != end)
            break;
        struct buffer *parent, *own = buffer_find(object, level, number);
        struct blkptr *pointer;
        int error = tree_pointer(object, level, number, true, &parent, &pointer);
        if (error < 0)
            return error;
        error = object_free_pointer(object, pointer);
        buffer_put(parent);
        if (error < 0)
            return error;
        if (own != NULL && own->holds == 0)
            buffer_drop(own);
    }
    return 0;
}

// Each step leaves the tree whole: when it fails, there is less to free the next time. What
// remains of indirect blocks without a pointer is found when they are to be written.
int tree_free(struct object *object, uint64_t first, uint64_t last) {
    unsigned shift = object->dnode.levels > 1 ? object_branch_shift(object) : 2;
    uint64_t block = first;
    int error = 0;
    while (error == 0 && block <= last) {
        error = tree_next(object, &block, false);
        if (error < 0 || block > last)
            break;
        uint64_t end = block | ((1u << shift) - 1);
        if (object->dnode.levels == 1)
            end = object->dnode.pointers - 1;
        error = free_siblings(object, block, end < last ? end : last);
        if (error == 0 && end <= last)
            error = free_ancestors(object, first, end);
        object_dirty(object);
        block = end + 1;
    }
    return error == -ENXIO ? 0 : error;
}
