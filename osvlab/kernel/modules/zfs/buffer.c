// Blocks in memory: finding them, reading them, and forgetting those that were not used for long.
//
// Invariant: every buffer is in the hash table and on its object's list, and either clean, and then
// on one of the two rings of clean buffers in the order of their last use, or dirty, and then on its
// object's list of dirty ones. What is held or dirty is never forgotten.

#include "object.h"

#define BUCKETS 8192
#define OBJECTS_IDLE 2048
#define SPARES 8
#define CACHE_BYTES (16 * 1024 * 1024)
#define INDIRECT_COST (2 * 16384)

struct cache {
    struct buffer *buckets[BUCKETS];
    struct link data, metadata; // clean buffers, the one used last is the last
    struct link objects;        // that nobody holds, the same way
    unsigned idle_objects, spares;
    void *spare[SPARES]; // memory of large blocks, which need not be cleared to be used again
    uint64_t clean_bytes, metadata_bytes;
};

int cache_open(struct zfs_pool *pool) {
    struct cache *cache = zfs_services->allocate(sizeof(*cache));
    if (cache == NULL)
        return -ENOMEM;
    link_init(&cache->data);
    link_init(&cache->metadata);
    link_init(&cache->objects);
    pool->cache = cache;
    return 0;
}

static void *spare_take(struct cache *cache) {
    return cache->spares > 0 ? cache->spare[--cache->spares] : NULL;
}

static void spares_free(struct cache *cache) {
    void *spare;
    while ((spare = spare_take(cache)) != NULL)
        zfs_services->free(spare, BLOCK_MAX);
}

void cache_close(struct zfs_pool *pool) {
    if (pool->cache == NULL)
        return;
    spares_free(pool->cache);
    zfs_services->free(pool->cache, sizeof(*pool->cache));
    pool->cache = NULL;
}

static uint64_t cache_limit(void) {
    return zfs_services->cache_bytes != 0 ? zfs_services->cache_bytes : CACHE_BYTES;
}

static struct zfs_pool *buffer_pool(const struct buffer *buffer) {
    return buffer->object->set->pool;
}

static bool is_data(const struct buffer *buffer) {
    return buffer->level == 0 && buffer->object->dnode.type == TYPE_FILE;
}

// --- Clean buffers

static void clean_insert(struct buffer *buffer) {
    struct cache *cache = buffer_pool(buffer)->cache;
    link_append(is_data(buffer) ? &cache->data : &cache->metadata, &buffer->order);
    cache->clean_bytes += buffer->capacity;
    cache->metadata_bytes += is_data(buffer) ? 0 : buffer->capacity;
}

static void clean_remove(struct buffer *buffer) {
    struct cache *cache = buffer_pool(buffer)->cache;
    link_remove(&buffer->order);
    cache->clean_bytes -= buffer->capacity;
    cache->metadata_bytes -= is_data(buffer) ? 0 : buffer->capacity;
}

static bool forget_one_of(struct link *ring) {
    for (struct link *at = ring->next; at != ring; at = at->next) {
        struct buffer *buffer = CONTAINER(at, struct buffer, order);
        if (buffer->holds == 0) {
            buffer_drop(buffer);
            return true;
        }
    }
    return false;
}

// Metadata stays longer: it goes when it is most of what there is, or nothing else is left.
static bool forget_one(struct cache *cache) {
    bool much = cache->metadata_bytes > cache_limit() / 4 * 3;
    return forget_one_of(much ? &cache->metadata : &cache->data) ||
           forget_one_of(much ? &cache->data : &cache->metadata);
}

void *cache_allocate(struct zfs_pool *pool, size_t size) {
    while (pool->cache->clean_bytes + size > cache_limit() && forget_one(pool->cache))
        ;
    void *memory = zfs_services->allocate(size);
    while (memory == NULL && (forget_one(pool->cache) || pool->cache->spares > 0)) {
        spares_free(pool->cache);
        memory = zfs_services->allocate(size);
    }
    return memory;
}

void zfs_trim(struct zfs_pool *pool) {
    while (forget_one(pool->cache))
        ;
    spares_free(pool->cache);
}

// --- Idle objects

static void forget_objects(struct cache *cache, unsigned keep) {
    struct link *at = cache->objects.next;
    while (cache->idle_objects > keep && at != &cache->objects) {
        struct object *object = CONTAINER(at, struct object, order);
        bool held = false;
        for (struct link *b = object->buffers.next; b != &object->buffers; b = b->next)
            held |= CONTAINER(b, struct buffer, own)->holds > 0;
        at = at->next;
        if (held)
            continue;
        cache_idle(object, false);
        object_forget(object);
    }
}

void cache_idle(struct object *object, bool idle) {
    struct cache *cache = object->set->pool->cache;
    if (idle) {
        link_append(&cache->objects, &object->order);
        cache->idle_objects++;
        if (cache->idle_objects > OBJECTS_IDLE)
            forget_objects(cache, OBJECTS_IDLE / 8 * 7);
    } else {
        link_remove(&object->order);
        cache->idle_objects--;
    }
}

// --- Buffers

static struct buffer **bucket(struct object *object, unsigned level, uint64_t block) {
    uint64_t hash = (object->number * 2 + (object->set->dataset != NULL)) * 0x9e3779b97f4a7c15;
    hash = (hash ^ block ^ (uint64_t)level << 56) * 0xd6e8feb86659fd93;
    return &object->set->pool->cache->buckets[hash >> 51];
}
_Static_assert(BUCKETS == 1 << (64 - 51), "the hash's top bits number the buckets");

struct buffer *buffer_find(struct object *object, unsigned level, uint64_t block) {
    struct buffer *buffer = *bucket(object, level, block);
    while (buffer != NULL &&
           (buffer->block != block || buffer->object != object || buffer->level != level))
        buffer = buffer->next;
    return buffer;
}

static struct buffer *buffer_hold(struct buffer *buffer) {
    buffer->holds++;
    if (!buffer->dirty) { // used last
        clean_remove(buffer);
        clean_insert(buffer);
    }
    return buffer;
}

void buffer_put(struct buffer *buffer) {
    if (buffer != NULL)
        buffer->holds--;
}

static void buffer_release(struct zfs_pool *pool, struct buffer *buffer) {
    struct cache *cache = pool->cache;
    if (buffer->capacity == BLOCK_MAX && cache->spares < SPARES)
        cache->spare[cache->spares++] = buffer->data;
    else
        zfs_services->free(buffer->data, buffer->capacity);
    zfs_services->free(buffer, sizeof(*buffer));
}

static int buffer_make(struct object *object, unsigned level, uint64_t block, uint32_t size,
                       bool cleared, struct buffer **out) {
    struct zfs_pool *pool = object->set->pool;
    struct buffer *buffer = cache_allocate(pool, sizeof(*buffer));
    if (buffer == NULL)
        return -ENOMEM;
    *buffer = (struct buffer){
        .object = object, .block = block, .level = (uint8_t)level, .size = size, .capacity = size};
    buffer->data = size == BLOCK_MAX && !cleared ? spare_take(pool->cache) : NULL;
    if (buffer->data == NULL)
        buffer->data = cache_allocate(pool, size);
    if (buffer->data == NULL) {
        zfs_services->free(buffer, sizeof(*buffer));
        return -ENOMEM;
    }
    *out = buffer;
    return 0;
}

static struct buffer *buffer_insert(struct buffer *buffer) {
    struct buffer **first = bucket(buffer->object, buffer->level, buffer->block);
    buffer->next = *first;
    *first = buffer;
    link_append(&buffer->object->buffers, &buffer->own);
    clean_insert(buffer);
    buffer->holds = 1;
    return buffer;
}

static uint32_t size_at(const struct object *object, unsigned level, uint64_t block,
                        const struct blkptr *pointer) {
    if (level > 0)
        return 1u << object->dnode.indirect_shift;
    if (block == SPILL_BLOCK)
        return pointer == NULL || block_is_hole(pointer) ? 1 << SECTOR_SHIFT
                                                         : (uint32_t)block_size(pointer);
    return object_block_size(object);
}

int buffer_pointer_check(const struct object *object, unsigned level, const struct blkptr *pointer,
                         uint32_t size) {
    if (block_size(pointer) == size && (pointer->properties >> 56 & 0x1f) == level &&
        size <= BLOCK_MAX)
        return 0;
    zfs_report("object %lu has a block pointer of another size or level", object->number);
    return -EIO;
}

static int get_at(struct object *object, unsigned level, uint64_t block,
                  const struct blkptr *pointer, bool cleared, struct buffer **out) {
    struct buffer *buffer = buffer_find(object, level, block);
    if (buffer != NULL) {
        *out = buffer_hold(buffer);
        return 0;
    }
    uint32_t size = size_at(object, level, block, pointer);
    bool read = pointer != NULL && !block_is_hole(pointer);
    int error = read ? buffer_pointer_check(object, level, pointer, size) : 0;
    if (error == 0)
        error = buffer_make(object, level, block, size, cleared && !read, &buffer);
    if (error < 0)
        return error;
    error = read ? block_read(object->set->pool, pointer, buffer->data, size) : 0;
    if (error < 0)
        buffer_release(object->set->pool, buffer);
    else
        *out = buffer_insert(buffer);
    return error;
}

int buffer_get_at(struct object *object, unsigned level, uint64_t block,
                  const struct blkptr *pointer, struct buffer **out) {
    return get_at(object, level, block, pointer, true, out);
}

int buffer_get(struct object *object, unsigned level, uint64_t block, enum buffer_content content,
               struct buffer **out) {
    struct buffer *parent = NULL, *found = buffer_find(object, level, block);
    struct blkptr *pointer = NULL;
    if (found != NULL) {
        *out = buffer_hold(found);
        return 0;
    }
    if (content == BUFFER_READ) {
        int error = tree_pointer(object, level, block, false, &parent, &pointer);
        if (error < 0)
            return error;
    }
    int error = get_at(object, level, block, pointer, content != BUFFER_WHOLE, out);
    buffer_put(parent);
    return error;
}

// --- Dirty buffers

static uint64_t cost_of(const struct buffer *buffer) {
    const struct object_set *set = buffer->object->set;
    uint64_t copies = set->dataset == NULL ? 3 : is_data(buffer) ? set->copies : set->copies + 1;
    uint64_t cost = copies * pool_taken(set->pool, buffer->size);
    return buffer->level == 0 && buffer->object->dnode.levels > 1 ? cost + INDIRECT_COST : cost;
}

static void dirty_account(struct buffer *buffer) {
    struct zfs_pool *pool = buffer_pool(buffer);
    buffer->cost = cost_of(buffer);
    pool->dirty_space += buffer->cost;
    pool->dirty_bytes += buffer->capacity;
}

static void dirty_forget(struct buffer *buffer) {
    struct zfs_pool *pool = buffer_pool(buffer);
    pool->dirty_space -= buffer->cost;
    pool->dirty_bytes -= buffer->capacity;
}

void buffer_dirty(struct buffer *buffer) {
    if (buffer->dirty)
        return;
    clean_remove(buffer);
    buffer->dirty = true;
    link_append(&buffer->object->dirty_buffers[buffer->level], &buffer->order);
    dirty_account(buffer);
    object_dirty(buffer->object);
}

void buffer_clean(struct buffer *buffer) {
    if (!buffer->dirty)
        return;
    buffer->dirty = false;
    dirty_forget(buffer);
    link_remove(&buffer->order);
    clean_insert(buffer);
}

void buffer_drop(struct buffer *buffer) {
    buffer_clean(buffer);
    clean_remove(buffer);
    link_remove(&buffer->own);
    struct buffer **at = bucket(buffer->object, buffer->level, buffer->block);
    while (*at != buffer)
        at = &(*at)->next;
    *at = buffer->next;
    buffer_release(buffer_pool(buffer), buffer);
}

// Room for twice as much, so that a file that grows byte by byte is not copied again each time.
int buffer_resize(struct buffer *buffer, uint32_t size) {
    uint32_t capacity = buffer->capacity;
    uint8_t *data = buffer->data;
    if (size > capacity) {
        while (capacity < size)
            capacity = capacity * 2 < BLOCK_MAX ? capacity * 2 : BLOCK_MAX;
        data = cache_allocate(buffer_pool(buffer), capacity);
        if (data == NULL)
            return -ENOMEM;
        memcpy(data, buffer->data, buffer->size);
    }
    buffer->dirty ? dirty_forget(buffer) : clean_remove(buffer);
    if (data != buffer->data)
        zfs_services->free(buffer->data, buffer->capacity);
    if (size < buffer->size)
        memset(data + size, 0, buffer->size - size);
    buffer->data = data;
    buffer->capacity = capacity;
    buffer->size = size;
    buffer->dirty ? dirty_account(buffer) : clean_insert(buffer);
    return 0;
}
