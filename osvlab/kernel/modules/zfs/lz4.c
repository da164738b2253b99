// LZ4: literals and copies of what came before, in bytes.
//
// A block in ZFS is the length of the LZ4 data (four bytes, big-endian) and then the data: a row of
// sequences {token, literals, distance, ...}; the token's halves are the lengths of both.
//
// Specified in: "LZ4 Block Format Description" (lz4_Block_format.md); OpenZFS, lz4_zfs.c.

#include "codec.h"

#include <errno.h>
#include <string.h>

enum {
    MATCH_MIN = 4,
    LITERALS_AT_END = 5,  // the last bytes are always literals,
    NO_MATCH_AT_END = 12, // and no copy begins that near to the end
    DISTANCE_MAX = 65535,
    HASH_BITS = 12,
};

// --- Compression

static size_t common(const uint8_t *one, const uint8_t *other, const uint8_t *end) {
    const uint8_t *start = one;
    for (; end - one >= 8; one += 8, other += 8) {
        uint64_t different = load64(one) ^ load64(other);
        if (different != 0)
            return (size_t)(one - start) + (size_t)__builtin_ctzl(different) / 8;
    }
    while (one < end && *one == *other)
        one++, other++;
    return (size_t)(one - start);
}

struct writer {
    uint8_t *at, *end;
};

static void put_length(struct writer *writer, size_t length) {
    for (; length >= 255; length -= 255)
        *writer->at++ = 255;
    *writer->at++ = (uint8_t)length;
}

// One sequence; without a match (0), the last one.
static bool put_sequence(struct writer *writer, const uint8_t *literals, size_t count,
                         size_t distance, size_t match) {
    size_t more = match == 0 ? 0 : match - MATCH_MIN;
    size_t most = 1 + count / 255 + 1 + count + 2 + more / 255 + 1;
    if (most > (size_t)(writer->end - writer->at))
        return false;
    *writer->at++ = (uint8_t)((count < 15 ? count : 15) << 4 | (more < 15 ? more : 15));
    if (count >= 15)
        put_length(writer, count - 15);
    memcpy(writer->at, literals, count);
    writer->at += count;
    if (match == 0)
        return true;
    *writer->at++ = (uint8_t)distance;
    *writer->at++ = (uint8_t)(distance >> 8);
    if (more >= 15)
        put_length(writer, more - 15);
    return true;
}

size_t lz4_compress(const void *in, size_t size, void *out, size_t limit, void *table) {
    const uint8_t *start = in, *end = start + size, *at = start, *literals = start;
    uint32_t *seen = table; // position + 1 of four bytes, by their hash
    struct writer writer = {(uint8_t *)out + 4, (uint8_t *)out + limit};

    if (limit < 4)
        return 0;
    memset(seen, 0, sizeof(*seen) << HASH_BITS);
    size_t misses = 0; // the longer nothing is found, the wider the steps
    while (size > NO_MATCH_AT_END && at < end - NO_MATCH_AT_END) {
        uint32_t *slot = &seen[load32(at) * 2654435761u >> (32 - HASH_BITS)];
        const uint8_t *match = start + *slot - 1;
        bool found = *slot != 0 && at - match <= DISTANCE_MAX && load32(match) == load32(at);
        *slot = (uint32_t)(at - start) + 1;
        if (!found) {
            at += 1 + (misses++ >> 6);
            continue;
        }
        while (at > literals && match > start && at[-1] == match[-1])
            at--, match--;
        size_t length = common(at, match, end - LITERALS_AT_END);
        if (!put_sequence(&writer, literals, (size_t)(at - literals), (size_t)(at - match), length))
            return 0;
        at += length;
        literals = at;
        misses = 0;
    }
    if (!put_sequence(&writer, literals, (size_t)(end - literals), 0, 0))
        return 0;
    uint32_t length = __builtin_bswap32((uint32_t)(writer.at - (uint8_t *)out - 4));
    memcpy(out, &length, 4);
    return (size_t)(writer.at - (uint8_t *)out);
}

// --- Decompression

struct reader {
    const uint8_t *at, *end;
};

// A length whose half of the token says `nibble`; more than `most` is as wrong as the data's end.
static bool get_length(struct reader *reader, size_t nibble, size_t most, size_t *length) {
    *length = nibble;
    if (nibble == 15) {
        uint8_t byte;
        do {
            if (reader->at == reader->end || *length > most)
                return false;
            byte = *reader->at++;
            *length += byte;
        } while (byte == 255);
    }
    return *length <= most;
}

// Copies within the output: what is copied may be what is written.
static void copy_match(uint8_t *to, size_t distance, size_t length) {
    const uint8_t *from = to - distance;
    if (distance >= 8)
        for (; length >= 8; length -= 8, to += 8, from += 8) {
            uint64_t word = load64(from);
            __builtin_memcpy(to, &word, 8);
        }
    while (length-- > 0)
        *to++ = *from++;
}

int lz4_decompress(const void *in, size_t length, void *out, size_t size) {
    struct reader reader = {(const uint8_t *)in + 4, NULL};
    uint8_t *to = out, *end = to + size;

    if (length < 4)
        return -EIO;
    uint32_t stated = __builtin_bswap32(load32(in));
    if (stated > length - 4)
        return -EIO;
    reader.end = reader.at + stated;
    while (reader.at < reader.end) {
        size_t token = *reader.at++, count, distance;
        if (!get_length(&reader, token >> 4, (size_t)(end - to), &count) ||
            count > (size_t)(reader.end - reader.at))
            return -EIO;
        memcpy(to, reader.at, count);
        to += count;
        reader.at += count;
        if (reader.at == reader.end)
            break;
        if (reader.end - reader.at < 2)
            return -EIO;
        distance = reader.at[0] | (size_t)reader.at[1] << 8;
        reader.at += 2;
        if (distance == 0 || distance > (size_t)(to - (uint8_t *)out) ||
            !get_length(&reader, token & 15, (size_t)(end - to), &count) ||
            count + MATCH_MIN > (size_t)(end - to))
            return -EIO;
        copy_match(to, distance, count + MATCH_MIN);
        to += count + MATCH_MIN;
    }
    return to == end ? 0 : -EIO;
}
