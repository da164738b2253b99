// LZJB, with which ZFS packs metadata: after each byte of eight flags, eight items, each a literal
// byte or a copy {6 bits length - 3, 10 bits distance}.
//
// Specified in: "ZFS On-Disk Specification" (2006), section 2.5; OpenZFS, lzjb.c.

#include "codec.h"

#include <errno.h>
#include <string.h>

enum { MATCH_MIN = 3, MATCH_MAX = 66, DISTANCE_MAX = 1023, TABLE_ENTRIES = 1024 };

size_t lzjb_compress(const void *in, size_t size, void *out, size_t limit, void *table) {
    const uint8_t *start = in, *at = start, *end = start + size;
    uint8_t *to = out, *to_end = to + limit, *flags = NULL;
    uint32_t *seen = table; // position + 1 of three bytes, by their hash

    memset(seen, 0, TABLE_ENTRIES * sizeof(*seen));
    for (unsigned bit = 256; at < end; bit <<= 1) {
        if (bit == 256) {
            if (to_end - to < 1 + 2 * 8)
                return 0;
            bit = 1;
            flags = to++;
            *flags = 0;
        }
        size_t length = 0, distance = 0;
        if (end - at >= MATCH_MIN) {
            uint32_t hash = ((uint32_t)at[0] << 16 | at[1] << 8 | at[2]) * 2654435761u >> 22;
            const uint8_t *match = start + seen[hash] - 1;
            distance = (size_t)(at - match);
            size_t most = end - at < MATCH_MAX ? (size_t)(end - at) : MATCH_MAX;
            while (seen[hash] != 0 && distance <= DISTANCE_MAX && length < most &&
                   match[length] == at[length])
                length++;
            seen[hash] = (uint32_t)(at - start) + 1;
        }
        if (length < MATCH_MIN) {
            *to++ = *at++;
            continue;
        }
        *flags |= (uint8_t)bit;
        *to++ = (uint8_t)((length - MATCH_MIN) << 2 | distance >> 8);
        *to++ = (uint8_t)distance;
        at += length;
    }
    return (size_t)(to - (uint8_t *)out);
}

int lzjb_decompress(const void *in, size_t length, void *out, size_t size) {
    const uint8_t *at = in, *end = at + length;
    uint8_t *to = out, *to_end = to + size;
    unsigned flags = 0;

    for (unsigned bit = 256; to < to_end; bit <<= 1) {
        if (bit == 256) {
            if (at == end)
                return -EIO;
            bit = 1;
            flags = *at++;
        }
        if (at == end)
            return -EIO;
        if (!(flags & bit)) {
            *to++ = *at++;
            continue;
        }
        if (end - at < 2)
            return -EIO;
        size_t count = (size_t)(at[0] >> 2) + MATCH_MIN;
        size_t distance = (size_t)(at[0] & 3) << 8 | at[1];
        at += 2;
        if (distance == 0 || distance > (size_t)(to - (uint8_t *)out))
            return -EIO;
        for (; count > 0 && to < to_end; count--, to++)
            *to = to[-(ptrdiff_t)distance];
    }
    return 0;
}
