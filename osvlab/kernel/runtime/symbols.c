// The registry of loaded objects, and the question it answers: see symbols.h, runtime.h.

#include "symbols.h"

#include <sched.h>

#include "runtime.h"
#include "process.h"

static struct registry registry;

struct registry *registry_own(void) {
    return &registry;
}

static void enter(struct registry *r) {
    while (__atomic_exchange_n(&r->busy, 1, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void leave(struct registry *r) {
    __atomic_store_n(&r->busy, 0, __ATOMIC_RELEASE);
}

void registry_add(struct launch *owner, const struct registered *object) {
    struct registry *r = owner->registry;
    enter(r);
    for (size_t i = 0; i < REGISTERED_OBJECTS; i++) {
        struct registered *slot = &r->slots[i];
        if (slot->owner)
            continue;
        *slot = *object;
        __atomic_store_n(&slot->owner, owner, __ATOMIC_RELEASE);
        break;
    }
    leave(r); // a full registry only makes a crash report less telling
}

void registry_remove(struct launch *owner, u64 start) {
    struct registry *r = owner->registry;
    for (size_t i = 0; i < REGISTERED_OBJECTS; i++)
        if (r->slots[i].owner == owner && r->slots[i].start == start)
            __atomic_store_n(&r->slots[i].owner, NULL, __ATOMIC_RELEASE);
}

// Slots of a process are its own, so nobody else changes them meanwhile.
void runtime_process_gone(int pid) {
    for (size_t i = 0; i < REGISTERED_OBJECTS; i++) {
        const struct launch *owner = __atomic_load_n(&registry.slots[i].owner, __ATOMIC_ACQUIRE);
        if (owner && owner->pid == pid)
            __atomic_store_n(&registry.slots[i].owner, NULL, __ATOMIC_RELEASE);
    }
}

// The symbol that `offset` (a link address) belongs to: the nearest function or object that
// begins at or before it and, if it has a size, covers it.
static const Elf64_Sym *nearest(const struct registered *object, u64 offset) {
    const Elf64_Sym *best = NULL;
    for (u64 i = 1; i < object->symbol_count; i++) {
        const Elf64_Sym *symbol = &object->symbols[i];
        unsigned type = ELF64_ST_TYPE(symbol->st_info);
        if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= SHN_LORESERVE)
            continue;
        if (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE && type != STT_GNU_IFUNC)
            continue;
        if (symbol->st_value > offset ||
            (symbol->st_size && offset - symbol->st_value >= symbol->st_size))
            continue;
        if (object->strings_size && symbol->st_name >= object->strings_size)
            continue;
        if (!object->strings[symbol->st_name])
            continue;
        if (!best || symbol->st_value > best->st_value)
            best = symbol;
    }
    return best;
}

bool runtime_symbolize(u64 address, struct symbol *out) {
    for (size_t i = 0; i < REGISTERED_OBJECTS; i++) {
        const struct registered *object = &registry.slots[i];
        if (!__atomic_load_n(&object->owner, __ATOMIC_ACQUIRE))
            continue;
        if (address < object->start || address >= object->end)
            continue;
        const Elf64_Sym *symbol = nearest(object, address - object->base);
        *out = (struct symbol){.object = object->path,
                               .base = object->base,
                               .eh_frame_header = object->eh_frame_header,
                               .offset = address - object->base};
        if (symbol) {
            out->name = object->strings + symbol->st_name;
            out->offset = address - object->base - symbol->st_value;
        }
        return true;
    }
    return false;
}
