// The launcher's memory: see keep.h. Pieces of chunks, given out from low to high addresses.

#include "keep.h"

#include <sys/mman.h>

#define CHUNK (64UL << 10)
#define ALIGNMENT 16UL

void *keep(size_t size) {
    static char *next;
    static size_t left;

    size = (size + ALIGNMENT - 1) & -ALIGNMENT;
    if (size > left) {
        size_t chunk = size > CHUNK ? size : CHUNK;
        char *fresh = mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fresh == MAP_FAILED)
            return NULL;
        next = fresh;
        left = chunk;
    }
    void *piece = next;
    next += size;
    left -= size;
    return piece;
}
