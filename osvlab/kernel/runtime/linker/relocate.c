// Applying relocations. Types: System V ABI AMD64 supplement 4.4; RELR: gABI, SHT_RELR.
//
// Everything is bound now: a symbol that is missing is said once, before the program runs.
// Objects are done last first, so dependencies before those who need them, in rounds: where
// COPY will move variables to, all plain relocations, those that call an IFUNC's resolver
// (which is code of an object that must be relocated for it to run), and the copies
// themselves (whose source must be final).

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "linker.h"

enum round { PLACES, PLAIN, RESOLVERS, COPIES };

struct missing {
    char text[400];
    size_t length;
    unsigned count;
};

struct tlsdesc_argument {
    size_t module, offset;
};

static const char *symbol_name(const struct object *object, const Elf64_Sym *symbol) {
    return symbol->st_name < object->strings_size ? object->strings + symbol->st_name : "";
}

static void note_missing(struct missing *missing, const struct object *object, const char *name) {
    const struct scope *scope = application.is_core ? &object->local : &application.global;
    if (missing->count++ == 0) {
        int n =
            snprintf(missing->text, sizeof(missing->text), "%s: missing symbol %s (looked in %s",
                     object->path, name, scope->objects[0]->path);
        for (size_t i = 1; i < scope->count && n < 300; i++)
            n += snprintf(missing->text + n, sizeof(missing->text) - (size_t)n, ", %s",
                          scope->objects[i]->path);
        n += snprintf(missing->text + n, sizeof(missing->text) - (size_t)n, " and the kernel)");
        missing->length = MIN((size_t)n, sizeof(missing->text) - 1);
    } else if (missing->length + strlen(name) + 8 < sizeof(missing->text)) {
        missing->length += (size_t)snprintf(missing->text + missing->length,
                                            sizeof(missing->text) - missing->length, "%s%s",
                                            missing->count == 2 ? "; also " : ", ", name);
    }
}

// What a relocation's symbol means. `found->symbol` is NULL for a weak one that nobody has.
static bool resolve(struct object *object, const Elf64_Rela *r, struct definition *found,
                    struct missing *missing) {
    const Elf64_Sym *symbol = &object->symbols[ELF64_R_SYM(r->r_info)];
    bool copy = ELF64_R_TYPE(r->r_info) == R_X86_64_COPY;
    *found = (struct definition){object, symbol};
    if (!ELF64_R_SYM(r->r_info) || ELF64_ST_BIND(symbol->st_info) == STB_LOCAL)
        return true;
    if (ELF64_ST_VISIBILITY(symbol->st_other) != STV_DEFAULT && symbol->st_shndx != SHN_UNDEF &&
        !copy)
        return true; // protected: nobody else's definition counts
    const char *name = symbol_name(object, symbol);
    if (lookup_for(object, name, copy ? object : NULL, found))
        return true;
    found->symbol = NULL;
    if (ELF64_ST_BIND(symbol->st_info) == STB_WEAK && !copy)
        return true;
    note_missing(missing, object, name);
    return false;
}

static bool tls_distance(const struct object *object, const struct definition *found,
                         const Elf64_Rela *r, u64 *value) {
    *value = (u64)r->r_addend;
    if (!found->symbol)
        return true;
    if (!found->object->tls_static && found->object->tls_id) {
        linker_fail(
            "%s: needs thread-local storage of %s at a fixed place, but that was opened late",
            object->path, found->object->path);
        return false;
    }
    *value += found->symbol->st_value - found->object->tls.offset;
    return true;
}

static bool set_descriptor(const struct definition *found, const Elf64_Rela *r, u64 *where) {
    u64 value = (u64)r->r_addend + (found->symbol ? found->symbol->st_value : 0);
    if (!found->symbol) { // weak and missing: its address shall come out as 0
        where[0] = (u64)__tlsdesc_static;
        where[1] = value - (u64)musl_self();
        return true;
    }
    if (found->object->tls_static) {
        where[0] = (u64)__tlsdesc_static;
        where[1] = value - found->object->tls.offset;
        return true;
    }
    struct tlsdesc_argument *argument = __libc_malloc(sizeof(*argument));
    if (!argument) {
        linker_fail("%s: out of memory", found->object->path);
        return false;
    }
    *argument = (struct tlsdesc_argument){found->object->tls_id, value};
    where[0] = (u64)__tlsdesc_dynamic;
    where[1] = (u64)argument;
    return true;
}

static bool is_resolver(const struct definition *found) {
    return found->symbol && found->symbol->st_shndx != SHN_UNDEF &&
           ELF64_ST_TYPE(found->symbol->st_info) == STT_GNU_IFUNC;
}

static void copy_variable(struct object *object, const Elf64_Rela *r,
                          const struct definition *found, void *where, enum round round) {
    const Elf64_Sym *mine = &object->symbols[ELF64_R_SYM(r->r_info)];
    u64 from = found->object->base + found->symbol->st_value;
    if (round == COPIES)
        memcpy(where, (const void *)from, MIN(mine->st_size, found->symbol->st_size));
    else if (found->object->is_kernel)
        kernel_note_copy(from, (u64)where);
}

// One relocation, if it belongs to this round. `found` is what its symbol means.
static bool apply(struct object *object, const Elf64_Rela *r, const struct definition *found,
                  enum round round) {
    u64 *where = object_at(object, r->r_offset), addend = (u64)r->r_addend;
    u64 address;
    switch (ELF64_R_TYPE(r->r_info)) {
    case R_X86_64_64:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
        if (is_resolver(found) != (round == RESOLVERS)) {
            object->symbolic_resolvers |= round == PLAIN;
            return true;
        }
        address = found->symbol && ELF64_R_SYM(r->r_info) ? (u64)definition_address(found) : 0;
        *where = ELF64_R_TYPE(r->r_info) == R_X86_64_64 ? address + addend : address;
        return true;
    case R_X86_64_RELATIVE:
        *where = object->base + addend;
        return true;
    case R_X86_64_DTPMOD64:
        *where = found->symbol ? found->object->tls_id : 0;
        return true;
    case R_X86_64_DTPOFF64:
        *where = addend + (found->symbol ? found->symbol->st_value : 0);
        return true;
    case R_X86_64_TPOFF64:
        return tls_distance(object, found, r, where);
    case R_X86_64_TLSDESC:
        return set_descriptor(found, r, where);
    }
    linker_fail("%s: relocate_rela(): unknown relocation type %lx", object->path,
                ELF64_R_TYPE(r->r_info));
    return false;
}

static bool in_round(const struct object *object, u64 type, enum round round) {
    switch (type) {
    case R_X86_64_NONE:
        return false;
    case R_X86_64_COPY:
        return round == PLACES || round == COPIES;
    case R_X86_64_IRELATIVE:
        return round == RESOLVERS;
    case R_X86_64_64:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
        return round == PLAIN || (round == RESOLVERS && object->symbolic_resolvers);
    default:
        return round == PLAIN;
    }
}

static bool relocate_table(struct object *object, u64 table, u64 size, enum round round,
                           struct missing *missing) {
    const Elf64_Rela *r = object_at(object, table), *end = r + size / sizeof(*r);
    for (; r < end; r++) {
        u64 type = ELF64_R_TYPE(r->r_info);
        struct definition found = {object, NULL};
        if (!in_round(object, type, round))
            continue;
        void *where = object_at(object, r->r_offset);
        if (!object_holds(object, where, type == R_X86_64_TLSDESC ? 16 : 8) ||
            ELF64_R_SYM(r->r_info) >= MAX(object->symbol_limit, 1U)) {
            linker_fail("%s: damaged relocations (0x%lx is outside)", object->path, r->r_offset);
            return false;
        }
        if (type == R_X86_64_IRELATIVE) {
            *(u64 *)where = ((u64 (*)(void))(object->base + (u64)r->r_addend))();
            continue;
        }
        if (type != R_X86_64_RELATIVE && !resolve(object, r, &found, missing))
            continue;
        if (type == R_X86_64_COPY)
            copy_variable(object, r, &found, where, round);
        else if (!apply(object, r, &found, round))
            return false;
    }
    return true;
}

static bool relocate_relative(struct object *object) {
    const u64 *entry = object_at(object, object->relr),
              *end = entry + object->relr_size / sizeof(u64);
    u64 *where = NULL;
    for (; entry < end; entry++) {
        if (!(*entry & 1)) {
            where = object_at(object, *entry);
            if (!object_holds(object, where, 8)) {
                linker_fail("%s: damaged relocations (RELR 0x%lx is outside)", object->path,
                            *entry);
                return false;
            }
            *where++ += object->base;
            continue;
        }
        u64 bits = *entry >> 1;
        for (u64 *word = where; bits && where; bits >>= 1, word++)
            if ((bits & 1) && object_holds(object, word, 8))
                *word += object->base;
        where += 63;
    }
    return true;
}

// Makes read-only segments writable for the time of relocation, or what they were again.
static bool protect(const struct object *object, bool open) {
    for (size_t i = 0; i < object->header_count; i++) {
        const Elf64_Phdr *p = &object->headers[i];
        if (p->p_type != PT_LOAD || p->p_flags & PF_W)
            continue;
        u64 start = ALIGN_DOWN(object->base + p->p_vaddr, PAGE_SIZE);
        u64 end = ALIGN_UP(object->base + p->p_vaddr + p->p_memsz, PAGE_SIZE);
        int prot = open ? PROT_READ | PROT_WRITE : PROT_READ | (p->p_flags & PF_X ? PROT_EXEC : 0);
        if (mprotect((void *)start, end - start, prot)) {
            linker_fail("%s: cannot change the protection of its code: %s", object->path,
                        strerror(errno));
            return false;
        }
    }
    return true;
}

static bool relocate_round(struct object *object, enum round round, struct missing *missing) {
    return relocate_table(object, object->table[DT_RELA], object->table[DT_RELASZ], round,
                          missing) &&
           relocate_table(object, object->table[DT_JMPREL], object->table[DT_PLTRELSZ], round,
                          missing);
}

static bool each_round(struct object *first_new, struct missing *missing) {
    for (struct object *o = first_new; o; o = o->next)
        if (!relocate_round(o, PLACES, missing))
            return false;
    for (struct object *o = application.last; o && o != first_new->previous; o = o->previous)
        if (!relocate_relative(o) || !relocate_round(o, PLAIN, missing))
            return false;
    if (missing->count) {
        linker_fail("%s", missing->text);
        return false;
    }
    // Text that is open for writing cannot run, and the resolvers are about to.
    for (struct object *o = application.last; o && o != first_new->previous; o = o->previous)
        if (o->text_relocations && !protect(o, false))
            return false;
    for (struct object *o = application.last; o && o != first_new->previous; o = o->previous)
        if (!relocate_round(o, RESOLVERS, missing))
            return false;
    for (struct object *o = application.last; o && o != first_new->previous; o = o->previous)
        if (!relocate_round(o, COPIES, missing))
            return false;
    if (missing->count)
        linker_fail("%s", missing->text);
    return missing->count == 0;
}

bool relocate_from(struct object *first_new) {
    struct missing missing = {.count = 0};
    for (struct object *o = first_new; o; o = o->next)
        if (o->text_relocations && !protect(o, true))
            return false;
    if (!each_round(first_new, &missing))
        return false;
    for (struct object *o = first_new; o; o = o->next) {
        if (o->relro_start < o->relro_end &&
            mprotect((void *)o->relro_start, o->relro_end - o->relro_start, PROT_READ)) {
            linker_fail("%s: cannot protect its constant data: %s", o->path, strerror(errno));
            return false;
        }
        o->relocated = true;
    }
    return true;
}
