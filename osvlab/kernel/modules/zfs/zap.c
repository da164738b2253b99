// ZAP: names and values in an object, of either form.
//
// Specified in: "ZFS On-Disk Specification", chapter 5 (ZAP).

#include "zap.h"

#define CRC64_POLYNOMIAL 0xc96c5795d7870f42 // ECMA-182, reflected

uint64_t zap_hash(const char *bytes, unsigned length, uint64_t salt) {
    static uint64_t table[256];
    if (table[1] == 0)
        for (unsigned i = 0; i < 256; i++) {
            uint64_t word = i;
            for (unsigned bit = 0; bit < 8; bit++)
                word = word >> 1 ^ (word & 1 ? CRC64_POLYNOMIAL : 0);
            table[i] = word;
        }
    uint64_t hash = salt;
    for (unsigned i = 0; i < length; i++)
        hash = hash >> 8 ^ table[(hash ^ (uint8_t)bytes[i]) & 255];
    return hash & ~(UINT64_MAX >> ZAP_HASH_BITS);
}

// --- Sorting places: a heap, which needs neither memory nor luck.

static void sift(struct zap_place *places, unsigned at, unsigned count) {
    struct zap_place moved = places[at];
    for (unsigned child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && places[child + 1].position > places[child].position)
            child++;
        if (places[child].position <= moved.position)
            break;
        places[at] = places[child];
    }
    places[at] = moved;
}

void zap_sort(struct zap_place *places, unsigned count) {
    for (unsigned i = count / 2; i-- > 0;)
        sift(places, i, count);
    for (unsigned last = count; last-- > 1;) {
        struct zap_place first = places[0];
        places[0] = places[last];
        places[last] = first;
        sift(places, 0, last);
    }
}

// How numbers are names: in hexadecimal digits, without leading zeros.
void zap_number_name(uint64_t number, char out[20]) {
    unsigned digits = 1;
    while (digits < 16 && number >> 4 * digits != 0)
        digits++;
    for (unsigned i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[number >> 4 * (digits - 1 - i) & 15];
    out[digits] = 0;
}

// --- By object

// Which form it has: the first block, held, and `fat` is filled if it is a large one.
static int zap_open(struct object *zap, struct buffer **block, struct fat *fat) {
    int error = buffer_get(zap, 0, 0, BUFFER_READ, block);
    if (error < 0)
        return error;
    const struct micro_zap *micro = (const struct micro_zap *)(void *)(*block)->data;
    fat->object = NULL;
    if (micro->block_type == ZAP_HEADER)
        error = fat_open(zap, *block, fat);
    else if (micro->block_type != ZAP_MICRO)
        error = -EIO;
    if (error == -EIO)
        zfs_report("object %lu is not a table of names", zap->number);
    if (error < 0)
        buffer_put(*block);
    return error;
}

int zap_get(struct object *zap, const char *name, unsigned length, unsigned integer_size,
            unsigned count, void *out) {
    struct zap_name key = {name, length, 0};
    struct buffer *block;
    struct fat fat;
    uint64_t value;
    int error = zap_open(zap, &block, &fat);
    if (error < 0)
        return error;
    if (fat.object != NULL) {
        error = fat_get(&fat, &key, integer_size, count, out);
    } else {
        error = micro_get(block, &key, &value);
        if (error == 0 && (integer_size != 8 || count == 0))
            error = -EINVAL;
        if (error == 0) {
            memset(out, 0, 8ul * count);
            memcpy(out, &value, sizeof(value));
        }
    }
    buffer_put(block);
    return error;
}

static bool fits_micro(unsigned length, const struct zap_value *value) {
    return length < MICRO_NAME && value->size == 8 && value->count == 1;
}

static bool sensible(unsigned length, const struct zap_value *value) {
    unsigned size = value->size;
    return length > 0 && length <= ZAP_NAME_MAX &&
           (size == 1 || size == 2 || size == 4 || size == 8) &&
           value->count <= ZAP_VALUE_MAX / size;
}

static uint64_t first_integer(const struct zap_value *value) {
    uint64_t integer;
    memcpy(&integer, value->data, sizeof(integer));
    return integer;
}

// Makes a large table of a small one, and opens that.
static int zap_enlarge(struct object *zap, struct buffer **block, struct fat *fat) {
    buffer_put(*block);
    int error = fat_from_micro(zap);
    return error < 0 ? error : zap_open(zap, block, fat);
}

int zap_insert(struct object *zap, const char *name, unsigned length,
               const struct zap_value *value) {
    struct zap_name key = {name, length, 0};
    struct buffer *block;
    struct fat fat;
    uint64_t found;
    if (!sensible(length, value))
        return -EINVAL;
    int error = zap_open(zap, &block, &fat);
    if (error < 0)
        return error;
    if (fat.object == NULL) {
        error = micro_get(block, &key, &found);
        error = error == 0                  ? -EEXIST
                : error != -ENOENT          ? error
                : fits_micro(length, value) ? micro_insert(zap, block, &key, first_integer(value))
                                            : -EAGAIN;
        if (error == -EAGAIN && (error = zap_enlarge(zap, &block, &fat)) < 0)
            return error;
    }
    if (fat.object != NULL)
        error = fat_insert(&fat, &key, ZAP_ANY, value);
    buffer_put(block);
    return error;
}

int zap_replace(struct object *zap, const char *name, unsigned length,
                const struct zap_value *value) {
    struct zap_name key = {name, length, 0};
    struct buffer *block;
    struct fat fat;
    if (!sensible(length, value))
        return -EINVAL;
    int error = zap_open(zap, &block, &fat);
    if (error < 0)
        return error;
    if (fat.object == NULL && !fits_micro(length, value)) {
        error = zap_enlarge(zap, &block, &fat);
        if (error < 0)
            return error;
    }
    if (fat.object != NULL)
        error = fat_replace(&fat, &key, value);
    else
        error = micro_replace(block, &key, first_integer(value));
    buffer_put(block);
    return error == -ENOENT ? zap_insert(zap, name, length, value) : error;
}

int zap_delete(struct object *zap, const char *name, unsigned length) {
    struct zap_name key = {name, length, 0};
    struct buffer *block;
    struct fat fat;
    int error = zap_open(zap, &block, &fat);
    if (error < 0)
        return error;
    error = fat.object != NULL ? fat_delete(&fat, &key) : micro_delete(block, &key);
    buffer_put(block);
    return error;
}

int zap_visit(struct object *zap, uint64_t position, zap_visitor *visit, void *argument) {
    struct buffer *block;
    struct fat fat;
    int error = zap_open(zap, &block, &fat);
    if (error < 0)
        return error;
    error = fat.object != NULL ? fat_visit(&fat, position, visit, argument)
                               : micro_visit(zap, block, position, visit, argument);
    buffer_put(block);
    return error;
}

int zap_entries(struct object *zap, uint64_t *count) {
    struct buffer *block;
    struct fat fat;
    int error = zap_open(zap, &block, &fat);
    if (error < 0)
        return error;
    *count = fat.object != NULL ? fat.header->entries : micro_entries(block);
    buffer_put(block);
    return 0;
}

// --- By number

int zap_create(struct object_set *set, uint8_t type, uint64_t *number) {
    struct object *zap;
    int error = object_allocate(set, type, 512, 0, 0, &zap);
    if (error < 0)
        return error;
    *number = zap->number;
    error = zap_format(zap);
    object_put(zap);
    if (error < 0)
        object_free(set, *number);
    return error;
}

int zap_format(struct object *zap) {
    struct buffer *block;
    int error = buffer_get(zap, 0, 0, BUFFER_NEW, &block);
    if (error < 0)
        return error;
    struct micro_zap *header = (struct micro_zap *)(void *)block->data;
    header->block_type = ZAP_MICRO;
    zfs_services->random(&header->salt, sizeof(header->salt));
    header->salt |= 1; // never 0
    buffer_dirty(block);
    buffer_put(block);
    return 0;
}

int zap_lookup(struct object_set *set, uint64_t number, const char *name, unsigned integer_size,
               unsigned count, void *out) {
    struct object *zap;
    int error = object_hold(set, number, &zap);
    if (error < 0)
        return error == -ENOENT ? -EIO : error;
    error = zap_get(zap, name, (unsigned)strlen(name), integer_size, count, out);
    object_put(zap);
    return error;
}

typedef int value_setter(struct object *zap, const char *name, unsigned length,
                         const struct zap_value *value);

static int set_value(struct object_set *set, uint64_t number, const char *name,
                     const struct zap_value *value, value_setter *setter) {
    struct object *zap;
    int error = object_hold(set, number, &zap);
    if (error < 0)
        return error;
    error = setter(zap, name, (unsigned)strlen(name), value);
    object_put(zap);
    return error;
}

int zap_add(struct object_set *set, uint64_t number, const char *name, unsigned integer_size,
            unsigned count, const void *value) {
    struct zap_value given = {integer_size, count, value};
    return set_value(set, number, name, &given, zap_insert);
}

int zap_update(struct object_set *set, uint64_t number, const char *name, unsigned integer_size,
               unsigned count, const void *value) {
    struct zap_value given = {integer_size, count, value};
    return set_value(set, number, name, &given, zap_replace);
}

int zap_remove(struct object_set *set, uint64_t number, const char *name) {
    struct object *zap;
    int error = object_hold(set, number, &zap);
    if (error < 0)
        return error;
    error = zap_delete(zap, name, (unsigned)strlen(name));
    object_put(zap);
    return error;
}

int zap_count(struct object_set *set, uint64_t number, uint64_t *count) {
    struct object *zap;
    int error = object_hold(set, number, &zap);
    if (error < 0)
        return error;
    error = zap_entries(zap, count);
    object_put(zap);
    return error;
}

int zap_each(struct object_set *set, uint64_t number, uint64_t position, zap_visitor *visit,
             void *argument) {
    struct object *zap;
    int error = object_hold(set, number, &zap);
    if (error < 0)
        return error;
    error = zap_visit(zap, position, visit, argument);
    object_put(zap);
    return error;
}
