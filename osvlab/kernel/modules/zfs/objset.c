// Sets of objects: opening and closing them, and which numbers are free.
//
// A free number comes first from those that were freed last. Then a position moves through the set,
// once, and passes over blocks whose pointers say that all their dnodes are used. When many more
// were freed than are remembered, it starts again; so the cost of a number does not depend on how
// many objects there are.
//
// Specified in: "ZFS On-Disk Specification", chapter 3.2 (object sets).

#include "object.h"

#define META_LEVELS 7 // of a dataset's dnodes, as every implementation makes it

static void objset_release(struct object_set *set) {
    if (set->header != NULL)
        zfs_services->free(set->header, set->header_size);
    if (set->table != NULL)
        zfs_services->free(set->table, OBJECT_TABLE * sizeof(set->table[0]));
    zfs_services->free(set, sizeof(*set));
}

static int objset_make(struct zfs_pool *pool, struct blkptr *pointer, uint32_t size,
                       struct object_set **out) {
    int error = pool->cache == NULL ? cache_open(pool) : 0;
    if (error < 0)
        return error;
    struct object_set *set = cache_allocate(pool, sizeof(*set));
    if (set == NULL)
        return -ENOMEM;
    *set = (struct object_set){.pool = pool,
                               .pointer = pointer,
                               .header_size = size,
                               .checksum = CHECKSUM_FLETCHER4,
                               .compression = COMPRESS_OFF,
                               .copies = 1,
                               .next = 1};
    object_init(&set->meta, set, 0);
    set->meta.holds = 1;
    link_init(&set->dirty_objects);
    set->header = cache_allocate(pool, size);
    set->table = cache_allocate(pool, OBJECT_TABLE * sizeof(set->table[0]));
    if (set->header == NULL || set->table == NULL) {
        objset_release(set);
        return -ENOMEM;
    }
    *out = set;
    return 0;
}

int objset_open(struct zfs_pool *pool, struct blkptr *pointer, struct object_set **out) {
    uint64_t size = block_size(pointer);
    struct object_set *set;
    if (block_is_hole(pointer) ||
        (size != OBJSET_SIZE_OLD && size != OBJSET_SIZE && size != 4096)) {
        zfs_report("an object set of %lu bytes is of no known form", size);
        return -EIO;
    }
    int error = objset_make(pool, pointer, (uint32_t)size, &set);
    if (error < 0)
        return error;
    error = block_read(pool, pointer, set->header, size);
    if (error == 0 && set->header->meta_dnode.type != TYPE_DNODE) {
        zfs_report("an object set begins with an object of type %u", set->header->meta_dnode.type);
        error = -EIO;
    }
    if (error == 0)
        error = object_load(&set->meta, &set->header->meta_dnode);
    if (error < 0) {
        objset_release(set);
        return error;
    }
    *out = set;
    return 0;
}

int objset_create(struct zfs_pool *pool, struct blkptr *pointer, uint64_t type,
                  struct object_set **out) {
    uint32_t size = pool->version < 15 ? OBJSET_SIZE_OLD : OBJSET_SIZE;
    int error = objset_make(pool, pointer, size, out);
    if (error < 0)
        return error;
    (*out)->header->type = type;
    (*out)->dirty = true;
    (*out)->meta.dnode = (struct dnode){.type = TYPE_DNODE,
                                        .indirect_shift = 14,
                                        .levels = type == OBJSET_MOS ? 1 : META_LEVELS,
                                        .pointers = 3,
                                        .data_sectors = 16384 >> SECTOR_SHIFT};
    return 0;
}

void objset_close(struct object_set *set) {
    for (unsigned i = 0; i < OBJECT_TABLE; i++)
        while (set->table[i] != NULL)
            object_discard(set->table[i]);
    object_drop_buffers(&set->meta);
    objset_release(set);
}

// --- Free numbers

static unsigned dnodes_in_block(const struct object_set *set) {
    return object_block_size(&set->meta) >> DNODE_SHIFT;
}

void objset_number_freed(struct object_set *set, uint64_t number) {
    if (set->freed_count < FREED_MAX)
        set->freed[set->freed_count++] = number;
    else
        set->freed_lost++;
}

// Passes over what is full, as far as that is told by pointers to blocks that are not in memory.
static int pass_full(struct object_set *set, uint64_t *block) {
    unsigned shift = object_branch_shift(&set->meta);
    for (int level = 1; level >= 0; level--) {
        uint64_t number = *block >> shift * level;
        uint64_t full = (uint64_t)dnodes_in_block(set) << shift * level;
        struct buffer *parent;
        struct blkptr *pointer;
        if (level >= set->meta.dnode.levels || number << shift * level != *block ||
            buffer_find(&set->meta, level, number) != NULL)
            continue;
        int error = tree_pointer(&set->meta, level, number, false, &parent, &pointer);
        if (error < 0)
            return error;
        bool passed = pointer != NULL && !block_is_hole(pointer) && pointer->fill >= full;
        buffer_put(parent);
        if (passed) {
            *block = (number + 1) << shift * level;
            return 1;
        }
    }
    return 0;
}

static int number_in_block(struct object_set *set, uint64_t block, unsigned from,
                           uint64_t *number) {
    struct buffer *buffer;
    int error = buffer_get(&set->meta, 0, block, BUFFER_READ, &buffer);
    if (error < 0)
        return error;
    const struct dnode *dnodes = (const struct dnode *)(void *)buffer->data;
    error = -ENOENT;
    for (unsigned i = from; i < dnodes_in_block(set); i++) {
        if (dnodes[i].type == 0 && (block > 0 || i > 0)) {
            *number = block * dnodes_in_block(set) + i;
            error = 0;
            break;
        }
        i += dnodes[i].extra_slots;
    }
    if (error == 0)
        buffer_dirty(buffer);
    buffer_put(buffer);
    return error;
}

int objset_free_number(struct object_set *set, uint64_t *number) {
    while (set->freed_count > 0) {
        uint64_t freed = set->freed[--set->freed_count];
        unsigned many = dnodes_in_block(set);
        int error = number_in_block(set, freed / many, freed % many, number);
        if (error == 0 ? *number == freed : error != -ENOENT) {
            set->freed_count += error < 0;
            return error;
        }
    }
    for (;;) {
        uint64_t block = set->next / dnodes_in_block(set);
        if (block > set->meta.dnode.max_block && set->freed_lost > 4 * FREED_MAX) {
            set->freed_lost = 0;
            set->next = 1;
            continue;
        }
        int error = block > set->meta.dnode.max_block ? object_grow(&set->meta, block)
                                                      : pass_full(set, &block);
        if (error < 0)
            return error;
        if (error == 0) {
            error = number_in_block(set, block, set->next % dnodes_in_block(set), number);
            if (error == 0)
                set->next = *number + 1;
            if (error != -ENOENT)
                return error;
            block++;
        }
        set->next = block * dnodes_in_block(set);
    }
}
