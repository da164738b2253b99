// Small tables of names: one block of entries of 64 bytes each, in no order.
//
// Invariant: among entries whose names have the same hash no two have the same differentiator.
//
// Specified in: "ZFS On-Disk Specification", chapter 5.1 (micro ZAP).

#include "zap.h"

static struct micro_entry *entries_of(const struct buffer *block) {
    return (struct micro_entry *)(void *)(block->data + sizeof(struct micro_zap));
}

static unsigned room_in(const struct buffer *block) {
    return (block->size - sizeof(struct micro_zap)) / sizeof(struct micro_entry);
}

static uint64_t salt_of(const struct buffer *block) {
    return ((const struct micro_zap *)(void *)block->data)->salt;
}

static unsigned name_length(const struct micro_entry *entry) {
    unsigned length = 0;
    while (length < MICRO_NAME && entry->name[length] != 0)
        length++;
    return length;
}

static struct micro_entry *find(const struct buffer *block, const struct zap_name *name) {
    struct micro_entry *entry = entries_of(block);
    if (name->length == 0 || name->length >= MICRO_NAME)
        return NULL;
    for (unsigned left = room_in(block); left > 0; left--, entry++)
        if (entry->name[0] == name->bytes[0] && entry->name[name->length] == 0 &&
            memcmp(entry->name, name->bytes, name->length) == 0)
            return entry;
    return NULL;
}

int micro_get(struct buffer *block, const struct zap_name *name, uint64_t *value) {
    const struct micro_entry *entry = find(block, name);
    if (entry == NULL)
        return -ENOENT;
    *value = entry->value;
    return 0;
}

uint64_t micro_entries(const struct buffer *block) {
    uint64_t count = 0;
    for (unsigned i = 0; i < room_in(block); i++)
        count += entries_of(block)[i].name[0] != 0;
    return count;
}

static bool taken(const struct buffer *block, uint64_t hash, uint32_t differentiator) {
    const struct micro_entry *entry = entries_of(block);
    for (unsigned left = room_in(block); left > 0; left--, entry++)
        if (entry->name[0] != 0 && entry->differentiator == differentiator &&
            zap_hash(entry->name, name_length(entry), salt_of(block)) == hash)
            return true;
    return false;
}

// A free entry; the block grows when it has none. -EAGAIN: it may not.
static int free_entry(struct object *zap, struct buffer *block, struct micro_entry **out) {
    unsigned room = room_in(block);
    for (unsigned i = 0; i < room; i++)
        if (entries_of(block)[i].name[0] == 0) {
            *out = &entries_of(block)[i];
            return 0;
        }
    if (block->size >= MICRO_BLOCK_MAX)
        return -EAGAIN;
    int error = object_set_block_size(zap, block->size + (1 << SECTOR_SHIFT));
    *out = &entries_of(block)[room];
    return error;
}

int micro_insert(struct object *zap, struct buffer *block, struct zap_name *name, uint64_t value) {
    struct micro_entry *entry;
    if (((const struct micro_zap *)(void *)block->data)->normalization != 0)
        return -ENOTSUP; // the hash of names that are written in several ways
    int error = free_entry(zap, block, &entry);
    if (error < 0)
        return error;
    name->hash = zap_hash(name->bytes, name->length, salt_of(block));
    uint32_t differentiator = 0;
    while (taken(block, name->hash, differentiator))
        differentiator++;
    *entry = (struct micro_entry){.value = value, .differentiator = differentiator};
    memcpy(entry->name, name->bytes, name->length);
    buffer_dirty(block);
    return 0;
}

int micro_replace(struct buffer *block, const struct zap_name *name, uint64_t value) {
    struct micro_entry *entry = find(block, name);
    if (entry == NULL)
        return -ENOENT;
    entry->value = value;
    buffer_dirty(block);
    return 0;
}

int micro_delete(struct buffer *block, const struct zap_name *name) {
    struct micro_entry *entry = find(block, name);
    if (entry == NULL)
        return -ENOENT;
    memset(entry, 0, sizeof(*entry));
    buffer_dirty(block);
    return 0;
}

int micro_visit(struct object *zap, struct buffer *block, uint64_t position, zap_visitor *visit,
                void *argument) {
    unsigned room = room_in(block), count = 0;
    size_t size = room * sizeof(struct zap_place);
    struct zap_place *places = cache_allocate(zap->set->pool, size + 1);
    if (places == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < room; i++) {
        const struct micro_entry *entry = &entries_of(block)[i];
        unsigned length = name_length(entry);
        if (length == 0 || length == MICRO_NAME)
            continue;
        uint64_t hash = zap_hash(entry->name, length, salt_of(block));
        places[count].position = zap_position(hash, entry->differentiator);
        places[count].index = i;
        count += places[count].position >= position;
    }
    zap_sort(places, count);
    for (unsigned i = 0; i < count; i++) {
        const struct micro_entry *entry = &entries_of(block)[places[i].index];
        if (!visit(argument, places[i].position + 1, entry->name, 8, 1, &entry->value))
            break;
    }
    zfs_services->free(places, size + 1);
    return 0;
}
