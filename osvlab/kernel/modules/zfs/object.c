// Objects: holding them, their bonus, and making their tree grow, shrink and be written.
//
// Invariant: a dnode is in memory only if its fields agree with each other (dnode_problem), so what
// works on one needs no checks. Where a number is taken, the type of its dnode in its block says so.
//
// Specified in: "ZFS On-Disk Specification", chapter 3.1.

#include "object.h"

// --- Dnodes as they come from a disk

static const char *dnode_problem(const struct dnode *dnode) {
    unsigned shift = dnode->indirect_shift;
    if (dnode->extra_slots != 0)
        return "takes more than one slot";
    if (shift < 10 || shift > 17)
        return "has indirect blocks of an impossible size";
    if (dnode->levels < 1 || dnode->levels > LEVELS_MAX || (shift - 7) * dnode->levels > 56)
        return "has an impossible number of levels";
    if (dnode->pointers < 1 || dnode->pointers > 3)
        return "has an impossible number of pointers";
    if (dnode->data_sectors == 0 || dnode->data_sectors > BLOCK_MAX >> SECTOR_SHIFT)
        return "has blocks of an impossible size";
    unsigned room = DNODE_SIZE - DNODE_CORE_SIZE - dnode->pointers * sizeof(struct blkptr);
    if (dnode->flags & DNODE_SPILL)
        room = room < sizeof(struct blkptr) ? 0 : room - sizeof(struct blkptr);
    if (dnode->bonus_length > room)
        return "has a bonus that is too long";
    if (dnode->max_block >> (shift - 7) * (dnode->levels - 1) >= dnode->pointers)
        return "has more blocks than its levels can hold";
    return NULL;
}

void object_init(struct object *object, struct object_set *set, uint64_t number) {
    object->set = set;
    object->number = number;
    link_init(&object->order);
    link_init(&object->buffers);
    for (unsigned level = 0; level < LEVELS_MAX; level++)
        link_init(&object->dirty_buffers[level]);
}

// In memory `used` is in bytes always.
int object_load(struct object *object, const struct dnode *from) {
    const char *problem = dnode_problem(from);
    if (problem != NULL) {
        zfs_report("object %lu %s", object->number, problem);
        return -EIO;
    }
    object->dnode = *from;
    if (!(from->flags & DNODE_USED_BYTES))
        object->dnode.used <<= SECTOR_SHIFT;
    return 0;
}

// --- Holding

static struct object *object_find(struct object_set *set, uint64_t number) {
    struct object *object = *objset_slot(set, number);
    while (object != NULL && object->number != number)
        object = object->next;
    return object;
}

int object_dnode_block(struct object_set *set, uint64_t number, struct buffer **out,
                       struct dnode **slot) {
    unsigned many = object_block_size(&set->meta) >> DNODE_SHIFT;
    int error = buffer_get(&set->meta, 0, number / many, BUFFER_READ, out);
    if (error < 0)
        return error;
    *slot = (struct dnode *)(void *)(*out)->data + number % many;
    return 0;
}

static struct object *object_make(struct object_set *set, uint64_t number) {
    struct object *object = cache_allocate(set->pool, sizeof(*object));
    if (object == NULL)
        return NULL;
    object_init(object, set, number);
    object->holds = 1;
    return object;
}

static void object_insert(struct object *object) {
    struct object **slot = objset_slot(object->set, object->number);
    object->next = *slot;
    *slot = object;
}

int object_hold(struct object_set *set, uint64_t number, struct object **out) {
    struct object *object = object_find(set, number);
    struct buffer *block;
    struct dnode *slot;
    if (object != NULL) {
        if (object->holds++ == 0 && !object->dirty)
            cache_idle(object, false);
        *out = object;
        return 0;
    }
    unsigned many = object_block_size(&set->meta) >> DNODE_SHIFT;
    if (number == 0 || number / many > set->meta.dnode.max_block)
        return -ENOENT;
    int error = object_dnode_block(set, number, &block, &slot);
    if (error < 0)
        return error;
    if (slot->type == 0)
        error = -ENOENT;
    else if ((object = object_make(set, number)) == NULL)
        error = -ENOMEM;
    if (error == 0 && (error = object_load(object, slot)) < 0)
        zfs_services->free(object, sizeof(*object));
    buffer_put(block);
    if (error == 0) {
        object_insert(object);
        *out = object;
    }
    return error;
}

void object_put(struct object *object) {
    if (object != NULL && --object->holds == 0 && !object->dirty)
        cache_idle(object, true);
}

// What somebody holds stays; that happens only where a damaged structure has a block twice.
static void drop_buffers(struct object *object, unsigned lowest, unsigned highest, uint64_t first,
                         uint64_t last) {
    for (struct link *at = object->buffers.next, *next; at != &object->buffers; at = next) {
        struct buffer *buffer = CONTAINER(at, struct buffer, own);
        next = at->next;
        if (buffer->level >= lowest && buffer->level <= highest && buffer->block >= first &&
            buffer->block <= last && buffer->holds == 0)
            buffer_drop(buffer);
    }
}

void object_drop_buffers(struct object *object) {
    drop_buffers(object, 0, LEVELS_MAX, 0, UINT64_MAX);
}

void object_cleaned(struct object *object) {
    if (!object->dirty)
        return;
    object->dirty = false;
    object->set->pool->dirty_space -= object->cost;
    object->set->pool->dirty_bytes -= sizeof(*object);
    link_remove(&object->order);
    if (object->holds == 0)
        cache_idle(object, true);
}

void object_forget(struct object *object) {
    object_drop_buffers(object);
    struct object **at = objset_slot(object->set, object->number);
    while (*at != object)
        at = &(*at)->next;
    *at = object->next;
    zfs_services->free(object, sizeof(*object));
}

void object_discard(struct object *object) {
    object_drop_buffers(object);
    if (!object->dirty && object->holds == 0)
        cache_idle(object, false);
    object->holds = 1;
    object_cleaned(object);
    object_forget(object);
}

// --- Changing

// The block of its dnode is made dirty at once if it is there, so that its cost is counted once.
void object_dirty(struct object *object) {
    struct object_set *set = object->set;
    set->dirty = true;
    if (object->dirty || object == &set->meta)
        return;
    if (object->holds == 0)
        cache_idle(object, false);
    object->dirty = true;
    link_append(&set->dirty_objects, &object->order);
    unsigned many = object_block_size(&set->meta) >> DNODE_SHIFT;
    struct buffer *block = buffer_find(&set->meta, 0, object->number / many);
    object->cost = block != NULL ? 0 : 2 * object_block_size(&set->meta);
    if (block != NULL)
        buffer_dirty(block);
    set->pool->dirty_space += object->cost;
    set->pool->dirty_bytes += sizeof(*object);
}

int object_space(const struct object_set *set, uint64_t bytes) {
    return set->pool->dirty_space + bytes > space_available(set->pool) ? -ENOSPC : 0;
}

// When there is nothing else to write it is worth a try: a pool that others filled has no reserve.
int object_space_to_remove(const struct object_set *set, uint64_t bytes) {
    uint64_t dirty = set->pool->dirty_space;
    return dirty > 0 && dirty + bytes > space_to_remove(set->pool) ? -ENOSPC : 0;
}

uint64_t object_number(const struct object *object) {
    return object->number;
}

const struct dnode *object_dnode(const struct object *object) {
    return &object->dnode;
}

const void *object_bonus(const struct object *object) {
    return dnode_bonus(&object->dnode);
}

void *object_change_bonus(struct object *object) {
    object_dirty(object);
    return dnode_bonus(&object->dnode);
}

int object_set_bonus_length(struct object *object, uint8_t type, uint16_t length) {
    struct dnode changed = object->dnode;
    changed.bonus_type = type;
    changed.bonus_length = length;
    if (dnode_problem(&changed) != NULL)
        return -ENOSPC;
    if (length > object->dnode.bonus_length)
        memset((uint8_t *)dnode_bonus(&object->dnode) + object->dnode.bonus_length, 0,
               (size_t)(length - object->dnode.bonus_length));
    object->dnode.bonus_type = type;
    object->dnode.bonus_length = length;
    object_dirty(object);
    return 0;
}

struct blkptr *object_spill(struct object *object) {
    if (!(object->dnode.flags & DNODE_SPILL))
        return NULL;
    return (struct blkptr *)(void *)((uint8_t *)&object->dnode + DNODE_SIZE) - 1;
}

int object_grow(struct object *object, uint64_t block) {
    struct dnode *dnode = &object->dnode;
    unsigned shift = object_branch_shift(object);
    while (block >> shift * (dnode->levels - 1) >= dnode->pointers) {
        struct buffer *top;
        if (dnode->levels == LEVELS_MAX || shift * (dnode->levels + 1) > 56)
            return -EFBIG;
        dnode->levels++;
        int error = buffer_get_at(object, dnode->levels - 1, 0, NULL, &top);
        if (error < 0) {
            dnode->levels--;
            return error;
        }
        buffer_dirty(top);
        memcpy(top->data, dnode_pointers(dnode), dnode->pointers * sizeof(struct blkptr));
        memset(dnode_pointers(dnode), 0, dnode->pointers * sizeof(struct blkptr));
        buffer_put(top);
    }
    if (block > dnode->max_block) {
        dnode->max_block = block;
        object_dirty(object);
    }
    return 0;
}

int object_set_block_size(struct object *object, uint32_t size) {
    struct dnode *dnode = &object->dnode;
    struct buffer *buffer;
    if (size == object_block_size(object))
        return 0;
    if (dnode->max_block > 0 || size == 0 || size > BLOCK_MAX || size % (1 << SECTOR_SHIFT) != 0)
        return -EINVAL;
    if (dnode->levels == 1 && block_is_hole(dnode_pointers(dnode)) &&
        buffer_find(object, 0, 0) == NULL) { // there is nothing whose size would change
        dnode->data_sectors = (uint16_t)(size >> SECTOR_SHIFT);
        object_dirty(object);
        return 0;
    }
    int error = buffer_get(object, 0, 0, BUFFER_READ, &buffer);
    if (error == 0) {
        error = buffer_resize(buffer, size);
        if (error == 0) {
            dnode->data_sectors = (uint16_t)(size >> SECTOR_SHIFT);
            buffer_dirty(buffer);
            object_dirty(object);
        }
        buffer_put(buffer);
    }
    return error;
}

int object_free_blocks(struct object *object, uint64_t first, uint64_t last) {
    drop_buffers(object, 0, 0, first, last); // a spill block's number is higher
    return tree_free(object, first, last);
}

static int clear_tail(struct object *object, uint64_t size) {
    uint32_t block_size = object_block_size(object), keep = (uint32_t)(size % block_size);
    struct buffer *buffer;
    if (keep == 0 || size / block_size > object->dnode.max_block)
        return 0;
    int error = buffer_get(object, 0, size / block_size, BUFFER_READ, &buffer);
    if (error < 0)
        return error;
    uint32_t used = block_size;
    while (used > keep && buffer->data[used - 1] == 0)
        used--;
    if (used > keep) {
        memset(buffer->data + keep, 0, used - keep);
        buffer_dirty(buffer);
    }
    buffer_put(buffer);
    return 0;
}

static bool stores_blocks(const struct dnode *dnode) {
    for (unsigned i = 0; i < dnode->pointers; i++)
        if (!block_is_hole(&dnode_pointers(dnode)[i]))
            return true;
    return false;
}

int object_cut(struct object *object, uint64_t size) {
    struct dnode *dnode = &object->dnode;
    uint32_t block_size = object_block_size(object);
    uint64_t first = size / block_size + (size % block_size != 0);
    int error = clear_tail(object, size);
    if (error < 0 || first > dnode->max_block)
        return error;
    error = object_free_blocks(object, first, BLOCK_NUMBER_MAX);
    if (error == 0 && first == 0)
        error = object_write_buffers(object, 1); // which frees them: they are empty
    if (error < 0)
        return error;
    object_dirty(object);
    dnode->max_block = first > 0 ? first - 1 : 0;
    if (first == 0 && !stores_blocks(dnode)) {
        drop_buffers(object, 1, LEVELS_MAX, 0, UINT64_MAX);
        dnode->levels = 1;
    }
    return 0;
}

// --- Allocating and freeing

int object_allocate(struct object_set *set, uint8_t type, uint32_t block_size, uint8_t bonus_type,
                    uint16_t bonus_length, struct object **out) {
    struct buffer *block;
    struct dnode *slot;
    uint64_t number;
    unsigned bonus_max = DNODE_SIZE - DNODE_CORE_SIZE - sizeof(struct blkptr);
    if (bonus_length > bonus_max)
        return -EINVAL;
    int error = objset_free_number(set, &number);
    if (error < 0 || (error = object_dnode_block(set, number, &block, &slot)) < 0)
        return error;
    struct object *object = object_make(set, number);
    if (object == NULL) {
        objset_number_freed(set, number);
        buffer_put(block);
        return -ENOMEM;
    }
    unsigned pointers = 1 + (bonus_max - bonus_length) / sizeof(struct blkptr);
    object->dnode = (struct dnode){
        .type = type,
        .indirect_shift = 14,
        .levels = 1,
        .pointers = (uint8_t)(bonus_type == TYPE_SA || bonus_type == TYPE_ZNODE ? 1 : pointers),
        .bonus_type = bonus_type,
        .bonus_length = bonus_length,
        .data_sectors = (uint16_t)(block_size == 0 ? 1 : block_size >> SECTOR_SHIFT),
    };
    *slot = object->dnode;
    object_insert(object);
    object_dirty(object);
    buffer_put(block);
    *out = object;
    return 0;
}

int object_free(struct object_set *set, uint64_t number) {
    struct object *object;
    struct buffer *block = NULL;
    struct dnode *slot;
    int error = object_hold(set, number, &object);
    if (error < 0)
        return error;
    struct blkptr *spill = object_spill(object);
    error = object_dnode_block(set, number, &block, &slot);
    if (error == 0)
        error = object->holds > 1 ? -EBUSY : object_cut(object, 0);
    if (error == 0 && spill != NULL) // without it the attributes make no sense any more: comes last
        error = object_free_pointer(object, spill);
    if (error < 0) {
        buffer_put(block);
        object_put(object);
        return error;
    }
    memset(slot, 0, sizeof(*slot));
    buffer_dirty(block);
    buffer_put(block);
    object_put(object);
    object_cleaned(object);
    cache_idle(object, false);
    object_forget(object);
    objset_number_freed(set, number);
    return 0;
}
