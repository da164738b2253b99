// Bytes that grow, up to a limit.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *bytes;
    size_t used, size;
    size_t limit; // 0: none
    bool failed;  // something did not fit: what is there is not the whole
};

void buffer_add(struct buffer *buffer, const void *bytes, size_t count);
void buffer_text(struct buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) void buffer_format(struct buffer *buffer, const char *format,
                                                         ...);
void buffer_drop(struct buffer *buffer, size_t count); // the first bytes
void buffer_free(struct buffer *buffer);               // leaves it empty and usable
