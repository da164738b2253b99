// Lists of texts, and the environment, which is one. Nothing in them is ever freed (keep.h).
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct texts {
    char **list; // ends with NULL once it has a member
    size_t count, room;
};
bool texts_add(struct texts *texts, const char *text, size_t length);

// An array of `count` members of `size` bytes with room for a few (at most 4) more: the same one, or
// a larger copy. NULL when there is no memory.
void *list_grown(void *list, size_t count, size_t more, size_t *room, size_t size);

// The variables that programs start with.
char **variables(void); // ends with NULL
const char *variable_get(const char *name);
bool variable_set(const char *name, size_t length, const char *value, bool overwrite);
