// Name-value lists in XDR, as labels carry them: read where they lie, and written one after another.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum nvtype {
    NV_BOOLEAN = 1,
    NV_UINT64 = 8,
    NV_STRING = 9,
    NV_NVLIST = 19,
    NV_NVLIST_ARRAY = 20,
};

// The pairs of a list, up to its end or the region's.
struct nvlist {
    const uint8_t *data;
    size_t size;
};

struct nvpair {
    const char *name; // not terminated
    size_t name_length;
    uint32_t type, elements;
    const uint8_t *data;
    size_t size;
};

bool nvlist_open(const void *region, size_t size, struct nvlist *out); // false: it is none
bool nvlist_next(struct nvlist *rest, struct nvpair *out);             // false: there are no more
bool nvlist_find(const struct nvlist *list, const char *name, enum nvtype type, struct nvpair *out);
bool nvlist_u64(const struct nvlist *list, const char *name, uint64_t *out);
bool nvlist_string(const struct nvlist *list, const char *name, char *out, size_t size);
bool nvlist_list(const struct nvlist *list, const char *name, struct nvlist *out);
// Writes another number into a list that was opened in memory of the caller's.
bool nvlist_set_u64(const struct nvlist *list, const char *name, uint64_t value);

struct nvwriter {
    uint8_t *data;
    size_t size, used; // used > size: it did not fit
};
void nvwrite_start(struct nvwriter *writer, void *region, size_t size);
void nvwrite_u64(struct nvwriter *writer, const char *name, uint64_t value);
void nvwrite_string(struct nvwriter *writer, const char *name, const char *value);
void nvwrite_boolean(struct nvwriter *writer, const char *name);
// A list in it, or an array of one: what is written next is inside, until nvwrite_end.
size_t nvwrite_list(struct nvwriter *writer, const char *name, enum nvtype type);
void nvwrite_end(struct nvwriter *writer, size_t list);
bool nvwrite_finish(struct nvwriter *writer); // false: it did not fit
