// Which function an address belongs to.
//
// The kernel is linked twice. The first link's symbols, through tools/symbols.py, become the
// table kernel_symbols, which the second link takes in; the table comes after the code, so
// it moves no function. Its form: for each function in order of address a ULEB128 number,
// the distance from the one before (from kernel_start_address for the first), and its name with
// a NUL. A function called "" ends the table.
//
// A stream cannot be searched by halves, but it is half the size of an index, and is read only
// when the kernel dies or /proc wants it.

#include <string.h>

#include "crash.h"

extern const u8 kernel_symbols[];
extern const char kernel_start_address[];

static u64 read_uleb128(const u8 **p) {
    u64 value = 0;

    for (int shift = 0;; shift += 7) {
        u8 byte = *(*p)++;
        value |= (u64)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
}

bool kernel_symbol(u64 address, const char **name, u64 *offset) {
    const u8 *p = kernel_symbols;
    u64 start = (u64)kernel_start_address;
    const char *best = NULL;
    u64 best_start = 0;

    for (;;) {
        start += read_uleb128(&p);
        const char *here = (const char *)p;
        if (start > address)
            break;
        if (!*here)
            return false; // beyond the last function
        best = here;
        best_start = start;
        p += strlen(here) + 1;
    }
    if (!best)
        return false;
    *name = best;
    *offset = address - best_start;
    return true;
}

bool symbolize(u64 address, struct symbol *out) {
    *out = (struct symbol){0};
    if (in_kernel_image(address)) {
        out->object = "kernel";
        return kernel_symbol(address, &out->name, &out->offset);
    }
    if (!runtime_symbolize(address, out))
        return false;
    u64 twin = kernel_address(address, out); // whose table also has what is not exported
    if (twin)
        kernel_symbol(twin, &out->name, &out->offset);
    return true;
}

u64 kernel_address(u64 address, const struct symbol *s) {
    if (in_kernel_image(address))
        return address;
    return s->object && in_kernel_image(address - s->base) ? address - s->base : 0;
}
