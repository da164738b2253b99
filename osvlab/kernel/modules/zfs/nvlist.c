// Name-value lists, encoded in XDR: everything big-endian and padded to four bytes.
//
// {1, endianness, 0, 0} opens a packed list; then come version and flags, and pairs {encoded size,
// decoded size, name, type, number of elements, data}. Two zero words end a list. A list within a
// list is {version, flags, pairs, two zero words}.
//
// Invariant: nothing outside of the region is read or written, whatever the sizes in it say.
//
// Specified in: RFC 4506 (XDR); OpenZFS, nvpair.c (nvs_xdr_*).

#include "nvlist.h"

#include <string.h>

static uint32_t get32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t get64(const uint8_t *at) {
    return (uint64_t)get32(at) << 32 | get32(at + 4);
}

static size_t padded(size_t length) {
    return (length + 3) & ~(size_t)3;
}

// --- Reading

bool nvlist_open(const void *region, size_t size, struct nvlist *out) {
    const uint8_t *at = region;
    if (size < 12 || at[0] != 1 || get32(at + 4) != 0)
        return false;
    *out = (struct nvlist){at + 12, size - 12};
    return true;
}

bool nvlist_next(struct nvlist *rest, struct nvpair *out) {
    if (rest->size < 20)
        return false;
    const uint8_t *at = rest->data;
    uint32_t size = get32(at);
    size_t name = get32(at + 8);
    if (size < 20 || size > rest->size || name > size - 20 || padded(name) > size - 20)
        return false;
    const uint8_t *after = at + 12 + padded(name);
    *out = (struct nvpair){(const char *)at + 12, name,      get32(after),
                           get32(after + 4),      after + 8, size - 20 - padded(name)};
    rest->data += size;
    rest->size -= size;
    return true;
}

bool nvlist_find(const struct nvlist *list, const char *name, enum nvtype type,
                 struct nvpair *out) {
    struct nvlist rest = *list;
    size_t length = strlen(name);
    while (nvlist_next(&rest, out))
        if (out->name_length == length && memcmp(out->name, name, length) == 0)
            return out->type == type;
    return false;
}

bool nvlist_u64(const struct nvlist *list, const char *name, uint64_t *out) {
    struct nvpair pair;
    if (!nvlist_find(list, name, NV_UINT64, &pair) || pair.size < 8)
        return false;
    *out = get64(pair.data);
    return true;
}

bool nvlist_string(const struct nvlist *list, const char *name, char *out, size_t size) {
    struct nvpair pair;
    if (!nvlist_find(list, name, NV_STRING, &pair) || pair.size < 4)
        return false;
    size_t length = get32(pair.data);
    if (length > pair.size - 4 || length >= size)
        return false;
    memcpy(out, pair.data + 4, length);
    out[length] = 0;
    return true;
}

bool nvlist_list(const struct nvlist *list, const char *name, struct nvlist *out) {
    struct nvpair pair;
    if (!nvlist_find(list, name, NV_NVLIST, &pair) || pair.size < 8)
        return false;
    *out = (struct nvlist){pair.data + 8, pair.size - 8};
    return true;
}

static void put32_at(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

bool nvlist_set_u64(const struct nvlist *list, const char *name, uint64_t value) {
    struct nvpair pair;
    if (!nvlist_find(list, name, NV_UINT64, &pair) || pair.size < 8)
        return false;
    uint8_t *at = (uint8_t *)pair.data;
    put32_at(at, (uint32_t)(value >> 32));
    put32_at(at + 4, (uint32_t)value);
    return true;
}

// --- Writing

static void put(struct nvwriter *writer, const void *data, size_t length) {
    if (writer->used <= writer->size && length <= writer->size - writer->used)
        memcpy(writer->data + writer->used, data, length);
    writer->used += length;
}

static void put32(struct nvwriter *writer, uint32_t value) {
    uint8_t bytes[4];
    put32_at(bytes, value);
    put(writer, bytes, sizeof(bytes));
}

static void put_string(struct nvwriter *writer, const char *text) {
    size_t length = strlen(text);
    put32(writer, (uint32_t)length);
    put(writer, text, length);
    put(writer, "\0\0\0", padded(length) - length);
}

// What the pair takes when decoded, in the only place that knows: other implementations' memory.
static uint32_t decoded_size(const char *name, size_t value) {
    size_t header = (16 + strlen(name) + 1 + 7) & ~(size_t)7;
    return (uint32_t)(header + ((value + 7) & ~(size_t)7));
}

static void put_pair(struct nvwriter *writer, const char *name, enum nvtype type, size_t encoded,
                     size_t decoded) {
    put32(writer, (uint32_t)(20 + padded(strlen(name)) + encoded));
    put32(writer, decoded_size(name, decoded));
    put_string(writer, name);
    put32(writer, type);
    put32(writer, type == NV_BOOLEAN ? 0 : 1);
}

void nvwrite_start(struct nvwriter *writer, void *region, size_t size) {
    *writer = (struct nvwriter){region, size, 0};
    put(writer, "\1\1\0\0", 4);
    put32(writer, 0); // version
    put32(writer, 1); // names are unique
}

void nvwrite_u64(struct nvwriter *writer, const char *name, uint64_t value) {
    put_pair(writer, name, NV_UINT64, 8, 8);
    put32(writer, (uint32_t)(value >> 32));
    put32(writer, (uint32_t)value);
}

void nvwrite_string(struct nvwriter *writer, const char *name, const char *value) {
    put_pair(writer, name, NV_STRING, 4 + padded(strlen(value)), strlen(value) + 1);
    put_string(writer, value);
}

void nvwrite_boolean(struct nvwriter *writer, const char *name) {
    put_pair(writer, name, NV_BOOLEAN, 0, 0);
}

size_t nvwrite_list(struct nvwriter *writer, const char *name, enum nvtype type) {
    size_t start = writer->used;
    put_pair(writer, name, type, 0, type == NV_NVLIST ? 24 : 8 + 24);
    put32(writer, 0);
    put32(writer, 1);
    return start;
}

void nvwrite_end(struct nvwriter *writer, size_t list) {
    put32(writer, 0);
    put32(writer, 0);
    if (writer->used <= writer->size)
        put32_at(writer->data + list, (uint32_t)(writer->used - list));
}

bool nvwrite_finish(struct nvwriter *writer) {
    put32(writer, 0);
    put32(writer, 0);
    return writer->used <= writer->size;
}
