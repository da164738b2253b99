// Finding symbols by name.
//
// Versions are ignored, except that of several definitions of one name in an object the
// default one is taken. GNU hash table: "GNU Hash ELF Sections" (A. Roenning Petersen 2006,
// binutils bfd/elflink.c); System V hash: gABI 5, "Hash Table".

#include <string.h>

#include "linker.h"

#define VERSION_HIDDEN 0x8000

static u32 gnu_hash(const char *name) {
    u32 hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (u8)*name;
    return hash;
}

static u32 sysv_hash(const char *name) {
    u32 hash = 0;
    for (; *name; name++) {
        hash = (hash << 4) + (u8)*name;
        hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
    }
    return hash;
}

// Is symbol i a definition of this name that others may use?
static bool matches(const struct object *object, u32 i, const char *name) {
    if (i >= object->symbol_limit)
        return false;
    const Elf64_Sym *symbol = &object->symbols[i];
    unsigned type = ELF64_ST_TYPE(symbol->st_info), binding = ELF64_ST_BIND(symbol->st_info);
    if (symbol->st_shndx == SHN_UNDEF || binding == STB_LOCAL ||
        symbol->st_name >= object->strings_size)
        return false;
    if (type == STT_SECTION || type == STT_FILE)
        return false;
    if (!symbol->st_value && type != STT_TLS && symbol->st_shndx != SHN_ABS)
        return false;
    return strcmp(object->strings + symbol->st_name, name) == 0;
}

// Prefers a default version; `*found` keeps a hidden one.
static bool accept(const struct object *object, u32 i, const Elf64_Sym **found) {
    bool hidden = object->versions && object->versions[i] & VERSION_HIDDEN;
    if (!hidden || !*found)
        *found = &object->symbols[i];
    return !hidden;
}

static const Elf64_Sym *find_gnu(const struct object *object, const char *name) {
    const u32 *table = object->gnu_hash;
    u32 buckets = table[0], first = table[1], bloom_size = table[2], shift = table[3];
    const u64 *bloom = (const u64 *)(table + 4);
    const u32 *bucket = (const u32 *)(bloom + bloom_size), *chain = bucket + buckets;
    const Elf64_Sym *found = NULL;
    u32 hash = gnu_hash(name);
    if (!buckets || !bloom_size)
        return NULL;
    u64 word = bloom[hash / 64 % bloom_size];
    if (!(word >> (hash % 64) & word >> ((hash >> shift) % 64) & 1))
        return NULL;
    u32 i = bucket[hash % buckets];
    if (i < first)
        return NULL;
    do {
        if (!object->is_kernel &&
            (i >= object->symbol_limit || !object_holds(object, &chain[i - first], sizeof(*chain))))
            break; // damaged
        if ((chain[i - first] | 1) == (hash | 1) && matches(object, i, name) &&
            accept(object, i, &found))
            break;
    } while (!(chain[i++ - first] & 1));
    return found;
}

static const Elf64_Sym *find_sysv(const struct object *object, const char *name) {
    u32 buckets = object->hash[0], symbols = object->hash[1];
    const u32 *bucket = object->hash + 2, *chain = bucket + buckets;
    const Elf64_Sym *found = NULL;
    if (!buckets)
        return NULL;
    u32 steps = 0;
    for (u32 i = bucket[sysv_hash(name) % buckets]; i && i < symbols && steps++ < symbols;
         i = chain[i])
        if (matches(object, i, name) && accept(object, i, &found))
            break;
    return found;
}

bool lookup_in(struct object *object, const char *name, struct definition *out) {
    const Elf64_Sym *symbol = NULL;
    if (object->gnu_hash)
        symbol = find_gnu(object, name);
    else if (object->hash)
        symbol = find_sysv(object, name);
    if (!symbol)
        return false;
    *out = (struct definition){object, symbol};
    return true;
}

bool lookup_scope(const struct scope *scope, const char *name, const struct object *skip,
                  struct definition *out) {
    for (size_t i = 0; i < scope->count; i++)
        if (scope->objects[i] != skip && lookup_in(scope->objects[i], name, out))
            return true;
    return false;
}

bool lookup_for(struct object *from, const char *name, const struct object *skip,
                struct definition *out) {
    return lookup_scope(&application.global, name, skip, out) ||
           lookup_scope(&from->local, name, skip, out) || lookup_in(application.kernel, name, out);
}

void *definition_address(const struct definition *definition) {
    const Elf64_Sym *symbol = definition->symbol;
    if (symbol->st_shndx == SHN_ABS)
        return (void *)symbol->st_value;
    u64 address = definition->object->base + symbol->st_value;
    if (ELF64_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC)
        return ((void *(*)(void))address)();
    return (void *)(definition->object->is_kernel ? kernel_moved(address) : address);
}

size_t object_symbol_count(const struct object *object) {
    if (object->hash)
        return object->hash[1];
    if (!object->gnu_hash)
        return 0;
    const u32 *table = object->gnu_hash;
    const u32 *bucket = (const u32 *)((const u64 *)(table + 4) + table[2]),
              *chain = bucket + table[0];
    u32 last = 0;
    for (u32 i = 0; i < table[0]; i++)
        last = MAX(last, bucket[i]);
    if (last < table[1] || last >= object->symbol_limit)
        return MIN(table[1], object->symbol_limit);
    while (last < object->symbol_limit && !(chain[last - table[1]] & 1))
        last++;
    return last + 1;
}
