// ZLE, zero length encoding: a byte b below 64 announces b + 1 literal bytes, any other b - 63 zeros.
//
// Specified in: OpenZFS, zle.c; the level is 64 wherever it is used.

#include "codec.h"

#include <errno.h>
#include <string.h>

enum { LEVEL = 64 };

int zle_decompress(const void *in, size_t length, void *out, size_t size) {
    const uint8_t *at = in, *end = at + length;
    uint8_t *to = out, *to_end = to + size;

    while (to < to_end) {
        if (at == end)
            return -EIO;
        size_t count = 1 + (size_t)*at++;
        bool zeros = count > LEVEL;
        if (zeros)
            count -= LEVEL;
        if (count > (size_t)(to_end - to) || (!zeros && count > (size_t)(end - at)))
            return -EIO;
        if (zeros) {
            memset(to, 0, count);
        } else {
            memcpy(to, at, count);
            at += count;
        }
        to += count;
    }
    return 0;
}
