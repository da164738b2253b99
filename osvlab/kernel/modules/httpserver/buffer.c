// Bytes that grow: see buffer.h.
//
// Invariant: used <= size, and nothing is ever added after something did not fit, so that a text
// that is cut is always recognised by `failed`.

#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 128

static bool reserve(struct buffer *buffer, size_t count) {
    size_t wanted = buffer->used + count, size = buffer->size ? buffer->size : SMALLEST;
    if (buffer->failed || wanted < count || (buffer->limit && wanted > buffer->limit))
        return !(buffer->failed = true);
    if (wanted <= buffer->size)
        return true;
    while (size < wanted)
        size += size / 2 + SMALLEST;
    char *grown = realloc(buffer->bytes, size);
    if (!grown)
        return !(buffer->failed = true);
    buffer->bytes = grown;
    buffer->size = size;
    return true;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t count) {
    if (!count || !reserve(buffer, count))
        return;
    memcpy(buffer->bytes + buffer->used, bytes, count);
    buffer->used += count;
}

void buffer_text(struct buffer *buffer, const char *text) {
    buffer_add(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0 || !reserve(buffer, (size_t)length + 1))
        return;
    va_start(list, format);
    vsnprintf(buffer->bytes + buffer->used, (size_t)length + 1, format, list);
    va_end(list);
    buffer->used += (size_t)length;
}

void buffer_drop(struct buffer *buffer, size_t count) {
    buffer->used -= count;
    if (!buffer->used)
        buffer_free(buffer);
    else if (count)
        memmove(buffer->bytes, buffer->bytes + count, buffer->used);
}

void buffer_free(struct buffer *buffer) {
    free(buffer->bytes);
    *buffer = (struct buffer){.limit = buffer->limit};
}
