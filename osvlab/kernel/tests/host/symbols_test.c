// Looks addresses up in the table that tools/symbols.py made: one line "NAME OFFSET" or "-" each.

#include <stdio.h>
#include <stdlib.h>

#include "crash.h"

bool in_kernel_image(u64 address) {
    (void)address;
    return false;
}
bool runtime_symbolize(u64 address, struct symbol *out) {
    (void)address, (void)out;
    return false;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name;
        u64 offset;
        if (kernel_symbol(strtoul(argv[i], NULL, 16), &name, &offset))
            printf("%s %lu\n", name, offset);
        else
            puts("-");
    }
}
