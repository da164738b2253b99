// What the kernel's parser of commands (runtime/commands.c) stands on, made for a server: the
// launcher keeps its words for ever, here they go with the request.

#include "commands_memory.h"

#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "runtime/keep.h"
#include "runtime/variables.h"

// Of this thread: cloud-init asks for routes while the server serves.
static __thread struct piece {
    struct piece *next;
    long double bytes[]; // aligned for anything
} *pieces;

void *keep(size_t size) {
    struct piece *piece = calloc(1, sizeof(*piece) + size);
    if (!piece)
        return NULL;
    piece->next = pieces;
    pieces = piece;
    return piece->bytes;
}

void commands_forget(void) {
    while (pieces) {
        struct piece *piece = pieces;
        pieces = piece->next;
        free(piece);
    }
}

const char *variable_get(const char *name) {
    char **list = environment_list();
    const char *value = list ? environment_find(list, name) : NULL;
    char *copy = value ? keep(strlen(value) + 1) : NULL;
    if (copy)
        strcpy(copy, value);
    environment_free(list);
    return copy;
}

// Only scripts set variables, and nobody runs one here.
bool variable_set(const char *name, size_t length, const char *value, bool overwrite) {
    (void)name, (void)length, (void)value, (void)overwrite;
    return false;
}
