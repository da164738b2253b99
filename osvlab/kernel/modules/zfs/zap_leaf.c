// Leaves of large tables: a small hash table whose entries, names and values are chains of chunks of
// 24 bytes.
//
// Nothing in a leaf is believed: every number of a chunk is compared with how many there are, every
// chain with how long it can be. Changes are made when it is certain that they will succeed.
//
// Specified in: "ZFS On-Disk Specification", chapter 5.2.3 (fat ZAP leafs).

#include "zap.h"

#define ARRAY_BYTES 21

static unsigned array_chunks(unsigned bytes) {
    return (bytes + ARRAY_BYTES - 1) / ARRAY_BYTES;
}

static void leaf_place(struct leaf *leaf, struct buffer *block) {
    unsigned shift = 0;
    while (1u << shift < block->size)
        shift++;
    leaf->block = block;
    leaf->header = (struct leaf_header *)(void *)block->data;
    leaf->bucket_shift = shift - 5;
    leaf->buckets = (uint16_t *)(void *)(block->data + sizeof(struct leaf_header));
    leaf->chunks = (uint8_t *)(leaf->buckets + (1u << leaf->bucket_shift));
    leaf->chunk_count = (block->size - (2u << leaf->bucket_shift)) / LEAF_CHUNK_SIZE - 2;
}

int leaf_open(struct leaf *leaf, struct buffer *block) {
    leaf_place(leaf, block);
    const struct leaf_header *header = leaf->header;
    if (header->block_type == ZAP_LEAF && header->magic == ZAP_LEAF_MAGIC &&
        header->prefix_length <= ZAP_HASH_BITS && header->prefix >> header->prefix_length == 0)
        return 0;
    zfs_report("object %lu: block %lu is not a leaf", block->object->number, block->block);
    return -EIO;
}

static void *chunk_at(const struct leaf *leaf, uint32_t chunk, uint8_t type) {
    uint8_t *at = leaf->chunks + (size_t)chunk * LEAF_CHUNK_SIZE;
    return chunk < leaf->chunk_count && *at == type ? at : NULL;
}

const struct leaf_entry *leaf_entry(const struct leaf *leaf, uint32_t chunk) {
    return chunk_at(leaf, chunk, CHUNK_ENTRY);
}

static int broken(const struct leaf *leaf) {
    zfs_report("object %lu: leaf %lu has a broken chain", leaf->block->object->number,
               leaf->block->block);
    return -EIO;
}

static uint16_t *bucket_of(const struct leaf *leaf, uint64_t hash) {
    uint64_t below = hash << leaf->header->prefix_length;
    return &leaf->buckets[below >> (64 - leaf->bucket_shift)];
}

// --- Chunks

static void chunks_empty(struct leaf *leaf) {
    memset(leaf->buckets, 0xff, 2ul << leaf->bucket_shift);
    memset(leaf->chunks, 0, (size_t)leaf->chunk_count * LEAF_CHUNK_SIZE);
    for (unsigned i = 0; i < leaf->chunk_count; i++) {
        struct leaf_free *chunk = (void *)(leaf->chunks + i * LEAF_CHUNK_SIZE);
        chunk->type = CHUNK_FREE;
        chunk->next = (uint16_t)(i + 1 < leaf->chunk_count ? i + 1 : CHUNK_END);
    }
    leaf->header->free_chunks = (uint16_t)leaf->chunk_count;
    leaf->header->free_list = 0;
    leaf->header->entries = 0;
}

void leaf_create(struct leaf *leaf, struct buffer *block, uint64_t prefix, unsigned prefix_length) {
    leaf_place(leaf, block);
    *leaf->header = (struct leaf_header){.block_type = ZAP_LEAF,
                                         .magic = ZAP_LEAF_MAGIC,
                                         .prefix = prefix,
                                         .prefix_length = (uint16_t)prefix_length,
                                         .flags = LEAF_SORTED};
    chunks_empty(leaf);
}

// 0: so many chunks can be taken; -EAGAIN: there are fewer; -EIO: the list is not what it says.
static int chunks_free(const struct leaf *leaf, unsigned wanted) {
    uint32_t at = leaf->header->free_list;
    if (leaf->header->free_chunks < wanted)
        return -EAGAIN;
    for (unsigned i = 0; i < wanted; i++) {
        const struct leaf_free *chunk = chunk_at(leaf, at, CHUNK_FREE);
        if (chunk == NULL)
            return broken(leaf);
        at = chunk->next;
    }
    return 0;
}

// CHUNK_END: the list, though it was looked at, goes in a circle.
static uint16_t chunk_take(struct leaf *leaf) {
    uint16_t taken = leaf->header->free_list;
    const struct leaf_free *chunk = chunk_at(leaf, taken, CHUNK_FREE);
    if (chunk == NULL)
        return CHUNK_END;
    leaf->header->free_list = chunk->next;
    leaf->header->free_chunks--;
    return taken;
}

static void chunk_give(struct leaf *leaf, uint16_t index) {
    struct leaf_free *chunk = (void *)(leaf->chunks + index * LEAF_CHUNK_SIZE);
    memset(chunk, 0, sizeof(*chunk));
    chunk->type = CHUNK_FREE;
    chunk->next = leaf->header->free_list;
    leaf->header->free_list = index;
    leaf->header->free_chunks++;
}

static void array_give(struct leaf *leaf, uint16_t at) {
    const struct leaf_array *chunk;
    while ((chunk = chunk_at(leaf, at, CHUNK_ARRAY)) != NULL) {
        uint16_t next = chunk->next; // no endless loop: what was given back is no array
        chunk_give(leaf, at);
        at = next;
    }
}

static uint16_t array_take(struct leaf *leaf, const uint8_t *bytes, unsigned size,
                           unsigned turned) { // bytes of an integer, whose order is turned
    uint16_t first = CHUNK_END, *link = &first;
    for (unsigned done = 0; done < size;) {
        uint16_t index = chunk_take(leaf);
        if (index == CHUNK_END)
            break;
        struct leaf_array *chunk = (void *)(leaf->chunks + index * LEAF_CHUNK_SIZE);
        memset(chunk, 0, sizeof(*chunk));
        chunk->type = CHUNK_ARRAY;
        chunk->next = CHUNK_END;
        for (unsigned i = 0; i < ARRAY_BYTES && done < size; i++, done++)
            chunk->bytes[i] = bytes[done / turned * turned + (turned - 1 - done % turned)];
        *link = index;
        link = &chunk->next;
    }
    return first;
}

static int array_read(const struct leaf *leaf, uint32_t at, unsigned size, unsigned turned,
                      uint8_t *out) {
    for (unsigned done = 0; done < size;) {
        const struct leaf_array *chunk = chunk_at(leaf, at, CHUNK_ARRAY);
        if (chunk == NULL)
            return broken(leaf);
        for (unsigned i = 0; i < ARRAY_BYTES && done < size; i++, done++)
            out[done / turned * turned + (turned - 1 - done % turned)] = chunk->bytes[i];
        at = chunk->next;
    }
    return 0;
}

static bool name_is(const struct leaf *leaf, const struct leaf_entry *entry,
                    const struct zap_name *name) {
    uint32_t at = entry->name_chunk;
    if (entry->name_length != name->length + 1)
        return false;
    for (unsigned done = 0; done < name->length; done += ARRAY_BYTES) {
        unsigned size = name->length - done < ARRAY_BYTES ? name->length - done : ARRAY_BYTES;
        const struct leaf_array *chunk = chunk_at(leaf, at, CHUNK_ARRAY);
        if (chunk == NULL || memcmp(chunk->bytes, name->bytes + done, size) != 0)
            return false;
        at = chunk->next;
    }
    return true;
}

// --- Entries

// The link that leads to the entry of this name; CHUNK_END is where there is none.
static int find_link(const struct leaf *leaf, const struct zap_name *name, uint16_t **out) {
    uint16_t *link = bucket_of(leaf, name->hash);
    for (unsigned steps = 0; *link != CHUNK_END; steps++) {
        struct leaf_entry *entry = chunk_at(leaf, *link, CHUNK_ENTRY);
        if (entry == NULL || steps > leaf->chunk_count)
            return broken(leaf);
        if (entry->hash == name->hash && name_is(leaf, entry, name))
            break;
        link = &entry->next;
    }
    *out = link;
    return *link == CHUNK_END ? -ENOENT : 0;
}

int leaf_find(const struct leaf *leaf, const struct zap_name *name, struct leaf_entry **out) {
    uint16_t *link;
    int error = find_link(leaf, name, &link);
    if (error == 0)
        *out = chunk_at(leaf, *link, CHUNK_ENTRY);
    return error;
}

int leaf_value(const struct leaf *leaf, const struct leaf_entry *entry, unsigned integer_size,
               unsigned count, void *out) {
    if (entry->value_size != integer_size || integer_size == 0 || integer_size > 8)
        return -EINVAL;
    if (entry->value_count > count)
        return -EOVERFLOW;
    memset(out, 0, (size_t)count * integer_size);
    return array_read(leaf, entry->value_chunk, integer_size * entry->value_count, integer_size,
                      out);
}

int leaf_name(const struct leaf *leaf, const struct leaf_entry *entry, char *out) {
    if (entry->name_length < 2 || entry->name_length > ZAP_NAME_MAX + 1)
        return broken(leaf);
    int error = array_read(leaf, entry->name_chunk, entry->name_length - 1u, 1, (uint8_t *)out);
    out[entry->name_length - 1] = 0;
    return error < 0 ? error : entry->name_length - 1;
}

// Into the chain of its hash, in the order of differentiators. -EIO: it has no end.
static int link_entry(struct leaf *leaf, uint16_t index) {
    struct leaf_entry *entry = chunk_at(leaf, index, CHUNK_ENTRY);
    if (entry == NULL)
        return broken(leaf);
    uint16_t *link = bucket_of(leaf, entry->hash);
    for (unsigned steps = 0; *link != CHUNK_END; steps++) {
        struct leaf_entry *next = chunk_at(leaf, *link, CHUNK_ENTRY);
        if (next == NULL || steps > leaf->chunk_count)
            return broken(leaf);
        if (next->differentiator > entry->differentiator)
            break;
        link = &next->next;
    }
    entry->next = *link;
    *link = index;
    return 0;
}

static bool taken(const struct leaf *leaf, uint64_t hash, uint32_t differentiator) {
    uint16_t at = *bucket_of(leaf, hash);
    for (unsigned steps = 0; at != CHUNK_END && steps <= leaf->chunk_count; steps++) {
        const struct leaf_entry *entry = leaf_entry(leaf, at);
        if (entry == NULL)
            return false;
        if (entry->hash == hash && entry->differentiator == differentiator)
            return true;
        at = entry->next;
    }
    return false;
}

int leaf_insert(struct leaf *leaf, const struct zap_name *name, uint32_t differentiator,
                const struct zap_value *value) {
    unsigned bytes = value->size * value->count;
    int error = chunks_free(leaf, 1 + array_chunks(name->length + 1) + array_chunks(bytes));
    if (error < 0)
        return error;
    if (differentiator == ZAP_ANY)
        for (differentiator = 0; taken(leaf, name->hash, differentiator);)
            differentiator++;
    uint16_t index = chunk_take(leaf);
    if (index == CHUNK_END)
        return broken(leaf);
    struct leaf_entry *entry = (void *)(leaf->chunks + index * LEAF_CHUNK_SIZE);
    *entry = (struct leaf_entry){.type = CHUNK_ENTRY,
                                 .value_size = (uint8_t)value->size,
                                 .name_length = (uint16_t)(name->length + 1),
                                 .value_count = (uint16_t)value->count,
                                 .differentiator = differentiator,
                                 .hash = name->hash};
    char ended[ZAP_NAME_MAX + 1];
    memcpy(ended, name->bytes, name->length);
    ended[name->length] = 0;
    entry->name_chunk = array_take(leaf, (const uint8_t *)ended, name->length + 1, 1);
    entry->value_chunk = array_take(leaf, value->data, bytes, value->size);
    error = link_entry(leaf, index);
    leaf->header->entries += error == 0;
    buffer_dirty(leaf->block);
    return error;
}

int leaf_replace(struct leaf *leaf, struct leaf_entry *entry, const struct zap_value *value) {
    unsigned old = array_chunks(entry->value_size * entry->value_count);
    unsigned bytes = value->size * value->count, new = array_chunks(bytes);
    int error = chunks_free(leaf, new > old ? new - old : 0);
    if (error < 0)
        return error;
    array_give(leaf, entry->value_chunk);
    if (chunks_free(leaf, new) < 0) // the old chain was shorter than it said
        return broken(leaf);
    entry->value_size = (uint8_t)value->size;
    entry->value_count = (uint16_t)value->count;
    entry->value_chunk = array_take(leaf, value->data, bytes, value->size);
    buffer_dirty(leaf->block);
    return 0;
}

int leaf_delete(struct leaf *leaf, const struct zap_name *name) {
    uint16_t *link;
    int error = find_link(leaf, name, &link);
    if (error < 0)
        return error;
    uint16_t index = *link;
    const struct leaf_entry *entry = leaf_entry(leaf, index);
    *link = entry->next;
    array_give(leaf, entry->name_chunk);
    array_give(leaf, entry->value_chunk);
    chunk_give(leaf, index);
    leaf->header->entries--;
    buffer_dirty(leaf->block);
    return 0;
}

// --- All entries

int leaf_places(const struct leaf *leaf, uint64_t position, struct zap_place *places) {
    unsigned count = 0;
    for (uint32_t i = 0; i < leaf->chunk_count; i++) {
        const struct leaf_entry *entry = leaf_entry(leaf, i);
        if (entry == NULL)
            continue;
        places[count].position = zap_position(entry->hash, entry->differentiator);
        places[count].index = i;
        count += places[count].position >= position;
    }
    zap_sort(places, count);
    return (int)count;
}

static uint16_t array_copy(const struct leaf *from, uint32_t at, unsigned bytes, struct leaf *to) {
    uint16_t first = CHUNK_END, *link = &first;
    for (unsigned left = array_chunks(bytes); left > 0; left--) {
        const struct leaf_array *source = chunk_at(from, at, CHUNK_ARRAY);
        if (source == NULL)
            break;
        uint16_t index = chunk_take(to);
        struct leaf_array *target = (void *)(to->chunks + index * LEAF_CHUNK_SIZE);
        *target = *source;
        target->next = CHUNK_END;
        at = source->next;
        *link = index;
        link = &target->next;
    }
    return first;
}

// Takes the entry with all of its chunks from the copy of a leaf.
static int entry_copy(const struct leaf *from, const struct leaf_entry *entry, struct leaf *to) {
    unsigned name = entry->name_length, value = entry->value_size * entry->value_count;
    if (chunks_free(to, 1 + array_chunks(name) + array_chunks(value)) < 0)
        return broken(from);
    uint16_t index = chunk_take(to);
    struct leaf_entry *copy = (void *)(to->chunks + index * LEAF_CHUNK_SIZE);
    *copy = *entry;
    copy->name_chunk = array_copy(from, entry->name_chunk, name, to);
    copy->value_chunk = array_copy(from, entry->value_chunk, value, to);
    to->header->entries++;
    return link_entry(to, index);
}

// Entries whose next bit of the hash is set go to `right`, which has just been created.
int leaf_split(struct leaf *leaf, struct leaf *right) {
    struct zfs_pool *pool = leaf->block->object->set->pool;
    uint8_t *memory = cache_allocate(pool, leaf->block->size);
    if (memory == NULL)
        return -ENOMEM;
    memcpy(memory, leaf->block->data, leaf->block->size);
    struct buffer copied = {.data = memory,
                            .size = leaf->block->size,
                            .object = leaf->block->object,
                            .block = leaf->block->block};
    struct leaf old;
    leaf_place(&old, &copied);
    unsigned bit = 63 - leaf->header->prefix_length;
    uint64_t prefix = leaf->header->prefix << 1;
    unsigned length = leaf->header->prefix_length + 1u;
    leaf_create(leaf, leaf->block, prefix, length);
    leaf_create(right, right->block, prefix | 1, length);
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < old.chunk_count; i++) {
        const struct leaf_entry *entry = leaf_entry(&old, i);
        if (entry != NULL)
            error = entry_copy(&old, entry, entry->hash >> bit & 1 ? right : leaf);
    }
    if (error < 0)
        memcpy(leaf->block->data, memory, leaf->block->size);
    zfs_services->free(memory, leaf->block->size);
    return error;
}
