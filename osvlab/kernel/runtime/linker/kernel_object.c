// The kernel, as the object that every program's libc.so.6 is: this instance of it.
//
// A COPY relocation moves a variable of libc into the program. libc itself must then use the
// program's copy: its references go through its global offset table, whose entries are bound
// once more here, after the program is known. The same happens to malloc and its family when
// the program brings its own (dynamic.list says which names libc reaches through the table).

#include <string.h>

#include "../image.h"
#include "linker.h"

#define MAX_COPIES 64

static struct object kernel;
static struct {
    u64 from, to;
} copies[MAX_COPIES];
static size_t copy_count;

struct object *kernel_object(void) {
    // Tables of symbols were not duplicated: they are the first instance's.
    u64 shift = application.launch->shift;
    kernel = (struct object){
        .base = image_bias(),
        .path = (char *)"the kernel",
        .short_name = "libc.so.6",
        .dynamic = _DYNAMIC,
        .start = (u64)kernel_start_address,
        .end = (u64)kernel_end_address,
        .is_kernel = true,
        .global = true,
        .relocated = true,
        .initialised = true,
        .symbols = IN_INSTANCE(image_symbols, -shift),
        .strings = IN_INSTANCE(image_strings, -shift),
        .strings_size = SIZE_MAX,
        .symbol_limit = UINT32_MAX,
        .gnu_hash = IN_INSTANCE(image_gnu_hash, -shift),
    };
    struct registered entry = {.start = kernel.start,
                               .end = kernel.end,
                               .base = kernel.base,
                               .path = "libc (the kernel's)" - shift,
                               .symbols = kernel.symbols,
                               .strings = kernel.strings,
                               .symbol_count = object_symbol_count(&kernel)};
    registry_add(application.launch, &entry);
    return &kernel;
}

void kernel_note_copy(u64 from, u64 to) {
    if (copy_count < MAX_COPIES) {
        copies[copy_count].from = from;
        copies[copy_count++].to = to;
    }
}

u64 kernel_moved(u64 address) {
    for (size_t i = 0; i < copy_count; i++)
        if (copies[i].from == address)
            return copies[i].to;
    return address;
}

// What a symbol of the kernel's own table means now: the program's definition before libc's.
static u64 meaning(const Elf64_Sym *symbol, bool *foreign) {
    struct definition found;
    const char *name = kernel.strings + symbol->st_name;
    *foreign = lookup_scope(&application.global, name, NULL, &found);
    if (*foreign)
        return (u64)definition_address(&found);
    return symbol->st_shndx ? kernel_moved(kernel.base + symbol->st_value) : 0;
}

void kernel_rebind(void) {
    u64 shift = application.launch->shift;
    const Elf64_Rela *r = IN_INSTANCE(image_relocations, -shift);
    const Elf64_Rela *end = IN_INSTANCE(image_relocations_end, -shift);
    for (; r < end; r++) {
        u64 type = ELF64_R_TYPE(r->r_info);
        if (type != R_X86_64_64 && type != R_X86_64_GLOB_DAT && type != R_X86_64_JUMP_SLOT)
            continue;
        const Elf64_Sym *symbol = &kernel.symbols[ELF64_R_SYM(r->r_info)];
        bool foreign;
        u64 value = meaning(symbol, &foreign) + (type == R_X86_64_64 ? (u64)r->r_addend : 0);
        u64 *where = object_at(&kernel, r->r_offset);
        if (*where != value)
            *where = value;
        if (foreign && !strcmp(kernel.strings + symbol->st_name, "malloc"))
            __malloc_replaced = 1;
        if (foreign && !strcmp(kernel.strings + symbol->st_name, "aligned_alloc"))
            __aligned_alloc_replaced = 1;
    }
}
