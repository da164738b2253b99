// Chunks: see chunked.h.
//
// Invariant: line ends are exactly CR LF and sizes are plain hexadecimal digits, because a chunk
// that two readers measure differently is how requests are smuggled. Trailers are dropped.

#include "chunked.h"

#define OVERHEAD_LIMIT 16384

static int hexadecimal(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// One byte outside a chunk's data. False: it may not stand there.
static bool step(struct chunked *k, char c) {
    int digit;
    switch (k->state) {
    case CHUNK_SIZE:
        if ((digit = hexadecimal(c)) >= 0) {
            k->left = k->left << 4 | (unsigned)digit;
            return ++k->digits <= 15;
        }
        k->state = c == '\r' ? CHUNK_SIZE_END : CHUNK_EXTENSION;
        return k->digits && (c == '\r' || c == ';' || c == ' ' || c == '\t');
    case CHUNK_EXTENSION:
        if (c == '\r')
            k->state = CHUNK_SIZE_END;
        return c == '\r' || c == '\t' || (unsigned char)c >= ' ';
    case CHUNK_SIZE_END:
        k->state = k->left ? CHUNK_DATA : CHUNK_TRAILER;
        return c == '\n';
    case CHUNK_DATA_CR:
        k->state = CHUNK_DATA_LF;
        return c == '\r';
    case CHUNK_DATA_LF:
        k->state = CHUNK_SIZE;
        k->digits = 0;
        return c == '\n';
    case CHUNK_TRAILER:
        k->state = c == '\r' ? CHUNK_LAST_LF : CHUNK_TRAILER_LINE;
        return c == '\r' || (unsigned char)c > ' ';
    case CHUNK_TRAILER_LINE:
        if (c == '\r')
            k->state = CHUNK_TRAILER_LF;
        return c == '\r' || c == '\t' || (unsigned char)c >= ' ';
    case CHUNK_TRAILER_LF:
        k->state = CHUNK_TRAILER;
        return c == '\n';
    case CHUNK_LAST_LF:
        k->state = CHUNK_DONE;
        return c == '\n';
    default:
        return false;
    }
}

long chunked_feed(struct chunked *k, const char *bytes, size_t count, const char **data,
                  size_t *data_count) {
    size_t at = 0;
    *data_count = 0;
    while (at < count && k->state != CHUNK_DATA && k->state != CHUNK_DONE)
        if (!step(k, bytes[at++]) || ++k->overhead > OVERHEAD_LIMIT)
            return -1;
    if (k->state == CHUNK_DATA && at < count) {
        *data = bytes + at;
        *data_count = k->left < count - at ? (size_t)k->left : count - at;
        k->left -= *data_count;
        k->overhead = 0;
        if (!k->left)
            k->state = CHUNK_DATA_CR;
        at += *data_count;
    }
    return (long)at;
}
