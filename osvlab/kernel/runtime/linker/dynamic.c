// Reading an object's dynamic section, and the two symbol tables crash reports can use.

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linker.h"

#define LARGEST_SYMBOL_TABLE (512UL << 10) // of .symtab, read at load for crash reports

// The table at a link address, if it lies inside the object.
static const void *table_at(struct object *object, u64 link_address, u64 size) {
    void *place = object_at(object, link_address);
    return link_address && object_holds(object, place, size) ? place : NULL;
}

static const char *string_at(const struct object *object, u64 offset) {
    return offset < object->strings_size ? object->strings + offset : "";
}

// Where RELA tables and the arrays of functions lie must be checked once, here: later code
// walks them freely.
static bool check_tables(struct object *object) {
    static const struct {
        u8 table, size;
    } pairs[] = {{DT_RELA, DT_RELASZ},
                 {DT_JMPREL, DT_PLTRELSZ},
                 {DT_INIT_ARRAY, DT_INIT_ARRAYSZ},
                 {DT_FINI_ARRAY, DT_FINI_ARRAYSZ},
                 {DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        u64 size = object->table[pairs[i].size];
        if (size && !table_at(object, object->table[pairs[i].table], size)) {
            linker_fail("%s: damaged dynamic section (table %d points outside)", object->path,
                        pairs[i].table);
            return false;
        }
    }
    if (object->relr_size && !table_at(object, object->relr, object->relr_size)) {
        linker_fail("%s: damaged dynamic section (RELR points outside)", object->path);
        return false;
    }
    if (object->table[DT_REL] && object->table[DT_RELSZ]) {
        linker_fail("%s: relocations of type REL are not for x86_64", object->path);
        return false;
    }
    return true;
}

// A hash table whose buckets lie inside the object; the chains are checked step by step.
static const u32 *hash_at(struct object *object, u64 link_address, bool gnu) {
    const u32 *table = table_at(object, link_address, 16);
    if (!table)
        return NULL;
    u64 size = gnu ? 16 + 8UL * table[2] + 4UL * table[0] : 8 + 4UL * table[0] + 4UL * table[1];
    return table_at(object, link_address, size);
}

static bool find_strings_and_symbols(struct object *object, u64 gnu_hash, u64 versions) {
    object->strings_size = object->table[DT_STRSZ];
    object->strings = table_at(object, object->table[DT_STRTAB], object->strings_size);
    object->symbols = table_at(object, object->table[DT_SYMTAB], sizeof(Elf64_Sym));
    object->gnu_hash = hash_at(object, gnu_hash, true);
    object->hash = hash_at(object, object->table[DT_HASH], false);
    object->versions = table_at(object, versions, 2);
    if (!object->strings || !object->symbols || !object->strings_size ||
        object->strings[object->strings_size - 1]) {
        linker_fail("%s: damaged dynamic section (no symbol or string table)", object->path);
        return false;
    }
    object->symbol_limit = (u32)((object->end - (u64)object->symbols) / sizeof(Elf64_Sym));
    if (object->versions)
        object->symbol_limit =
            MIN(object->symbol_limit, (u32)((object->end - (u64)object->versions) / 2));
    return true;
}

bool object_read_dynamic(struct object *object) {
    u64 gnu_hash = 0, versions = 0, flags = 0, soname = 0, runpath = 0, rpath = 0;
    if (!object->dynamic)
        return true; // a static program
    const Elf64_Dyn *entry = object->dynamic;
    for (; object_holds(object, entry, sizeof(*entry)) && entry->d_tag != DT_NULL; entry++) {
        u64 value = entry->d_un.d_val;
        if (entry->d_tag > 0 && entry->d_tag < DT_NUM)
            object->table[entry->d_tag] = value;
        switch (entry->d_tag) {
        case DT_NEEDED:
            object->needed_count++;
            break;
        case DT_SONAME:
            soname = value;
            break;
        case DT_RPATH:
            rpath = value;
            break;
        case DT_RUNPATH:
            runpath = value;
            break;
        case DT_TEXTREL:
            object->text_relocations = true;
            break;
        case DT_FLAGS:
            object->text_relocations |= (value & DF_TEXTREL) != 0;
            break;
        case DT_FLAGS_1:
            flags = value;
            break;
        case DT_GNU_HASH:
            gnu_hash = value;
            break;
        case DT_VERSYM:
            versions = value;
            break;
        case DT_RELR:
            object->relr = value;
            break;
        case DT_RELRSZ:
            object->relr_size = value;
            break;
        }
    }
    object->position_independent_executable = (flags & 0x08000000 /* DF_1_PIE */) != 0;
    if (object->position_independent_executable && !object->has_interpreter &&
        !object->needed_count)
        return true; // static-PIE: it relocates itself, its tables are its own affair
    if (!find_strings_and_symbols(object, gnu_hash, versions) || !check_tables(object))
        return false;
    if (soname)
        object->short_name = string_at(object, soname);
    object->runpath = runpath ? string_at(object, runpath) : NULL;
    object->rpath = rpath && !runpath ? string_at(object, rpath) : NULL;
    return true;
}

// Reads .symtab and its strings, if the file has them and they are small.
static bool read_symbol_table(int descriptor, struct registered *out) {
    Elf64_Ehdr header;
    Elf64_Shdr table = {0}, strings = {0};
    if (pread(descriptor, &header, sizeof(header), 0) != sizeof(header) || !header.e_shoff ||
        header.e_shentsize != sizeof(Elf64_Shdr))
        return false;
    for (unsigned i = 0; i < header.e_shnum && table.sh_type != SHT_SYMTAB; i++)
        if (pread(descriptor, &table, sizeof(table), (off_t)(header.e_shoff + i * sizeof(table))) !=
            sizeof(table))
            return false;
    if (table.sh_type != SHT_SYMTAB || table.sh_link >= header.e_shnum)
        return false;
    if (pread(descriptor, &strings, sizeof(strings),
              (off_t)(header.e_shoff + table.sh_link * sizeof(strings))) != sizeof(strings))
        return false;
    u64 size = table.sh_size + strings.sh_size;
    if (!strings.sh_size || table.sh_size > LARGEST_SYMBOL_TABLE ||
        strings.sh_size > LARGEST_SYMBOL_TABLE)
        return false;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    if (pread(descriptor, memory, table.sh_size, (off_t)table.sh_offset) !=
            (ssize_t)table.sh_size ||
        pread(descriptor, memory + table.sh_size, strings.sh_size, (off_t)strings.sh_offset) !=
            (ssize_t)strings.sh_size ||
        memory[size - 1]) {
        munmap(memory, size);
        return false;
    }
    out->symbols = (const Elf64_Sym *)memory;
    out->symbol_count = table.sh_size / sizeof(Elf64_Sym);
    out->strings = memory + table.sh_size;
    out->strings_size = strings.sh_size;
    return true;
}

void object_register(struct object *object, int descriptor) {
    struct registered entry = {.start = object->start,
                               .end = object->end,
                               .base = object->base,
                               .path = object->path,
                               .eh_frame_header = object->eh_frame_header};
    if (!read_symbol_table(descriptor, &entry) && object->symbols) {
        entry.symbols = object->symbols;
        entry.strings = object->strings;
        entry.strings_size = object->strings_size;
        entry.symbol_count = object_symbol_count(object);
    }
    registry_add(application.launch, &entry);
}
