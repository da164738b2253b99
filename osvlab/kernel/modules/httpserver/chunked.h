// Taking a body out of its chunks (RFC 9112 section 7.1), as it comes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunked {
    enum {
        CHUNK_SIZE,
        CHUNK_EXTENSION,
        CHUNK_SIZE_END,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        CHUNK_TRAILER,
        CHUNK_TRAILER_LINE,
        CHUNK_TRAILER_LF,
        CHUNK_LAST_LF,
        CHUNK_DONE
    } state;
    unsigned digits;
    size_t overhead; // bytes of extensions and trailers, which are bounded
    uint64_t left;   // in this chunk
};

// Reads some of `count` bytes. Says how many were read; negative: not chunks. *data and
// *data_count are what they held of the body.
long chunked_feed(struct chunked *chunked, const char *bytes, size_t count, const char **data,
                  size_t *data_count);
