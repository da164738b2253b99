// ROFS, finding a name in a directory: through an index where there is memory for one, by looking
// at one entry after the other where there is not. The format itself has no order to help.

#include "rofs.h"

static u32 hash_name(const char *name, size_t length) {
    u32 hash = 2166136261U; // FNV-1a
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (u8)name[i]) * 16777619U;
    return hash;
}

// Takes at most an eighth of the memory that is free.
void rofs_index_make(struct rofs *rofs) {
    u64 entries = rofs->super.directory_entries, buckets = 16;
    struct memory_statistics memory;
    memory_statistics(&memory);
    while (buckets < entries)
        buckets *= 2;
    if (entries >= UINT32_MAX || (buckets + entries) * sizeof(u32) > memory.free / 8)
        return;
    struct rofs_index *index = &rofs->index;
    index->heads = kzalloc(buckets * sizeof(u32));
    index->next = kzalloc((entries + 1) * sizeof(u32));
    if (index->heads != NULL && index->next != NULL)
        index->buckets = buckets;
    else
        rofs_index_free(rofs);
}

void rofs_index_free(struct rofs *rofs) {
    kfree(rofs->index.heads);
    kfree(rofs->index.next);
    rofs->index = (struct rofs_index){0};
}

void rofs_index_add(struct rofs *rofs, u64 number, const char *name, size_t length) {
    struct rofs_index *index = &rofs->index;
    if (index->buckets == 0)
        return;
    u32 *head = &index->heads[hash_name(name, length) & (index->buckets - 1)];
    index->next[number] = *head;
    *head = (u32)number + 1;
}

static bool is_named(const struct rofs_entry *entry, const char *name, size_t length) {
    return entry->length == length && memcmp(entry->name, name, length) == 0;
}

static int find_by_index(struct rofs_cursor *cursor, u64 first, u64 count, const char *name,
                         size_t length, struct rofs_entry *out) {
    struct rofs_index *index = &cursor->rofs->index;
    u32 at = index->heads[hash_name(name, length) & (index->buckets - 1)];
    for (; at != 0; at = index->next[at - 1]) {
        u64 number = at - 1, offset;
        if (number < first || number - first >= count)
            continue; // in another directory
        int status = rofs_entry_offset(cursor, number, &offset);
        if (status == 0)
            status = rofs_entry_read(cursor, offset, out);
        if (status < 0 || is_named(out, name, length))
            return status;
    }
    return -ENOENT;
}

static int find_by_search(struct rofs_cursor *cursor, u64 first, u64 count, const char *name,
                          size_t length, struct rofs_entry *out) {
    u64 offset = 0;
    int status = count == 0 ? -ENOENT : rofs_entry_offset(cursor, first, &offset);
    for (u64 i = 0; status == 0; i++, offset = out->next) {
        if (i == count)
            return -ENOENT;
        status = rofs_entry_read(cursor, offset, out);
        if (status == 0 && is_named(out, name, length))
            break;
    }
    return status;
}

int rofs_entry_find(struct rofs *rofs, u64 first, u64 count, const char *name, size_t length,
                    struct rofs_entry *out) {
    struct rofs_cursor cursor = {.rofs = rofs};
    int status = rofs->index.buckets > 0 ? find_by_index(&cursor, first, count, name, length, out)
                                         : find_by_search(&cursor, first, count, name, length, out);
    rofs_cursor_done(&cursor);
    return status;
}
