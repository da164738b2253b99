// Lists of texts. Nothing in them is ever freed (keep.h).
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct texts {
    char **list; // ends with NULL once it has a member
    size_t count, room;
};
bool texts_add(struct texts *texts, const char *text, size_t length); // a copy of it
bool texts_append(struct texts *texts, char *text);                   // itself; NULL: false

// An array of `count` members of `size` bytes with room for a few (at most 4) more: the same one, or
// a larger copy. NULL when there is no memory.
void *list_grown(void *list, size_t count, size_t more, size_t *room, size_t size);
