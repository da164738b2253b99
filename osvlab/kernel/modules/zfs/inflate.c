// Inflate: what gzip and zlib pack. ZFS's gzip-1 to gzip-9 are zlib streams.
//
// Bits are taken from the low end of each byte. A Huffman code is described by the lengths of its
// words; in canonical order those give the words themselves. Short words are found by a table over
// the next FAST_BITS bits, longer ones bit by bit.
//
// Specified in: RFC 1950 (zlib), RFC 1951 (deflate).

#include "codec.h"

#include <errno.h>
#include <string.h>

enum { FAST_BITS = 9, WORD_MAX = 15, LITERALS = 288, DISTANCES = 32, END_OF_BLOCK = 256 };

struct code {
    uint16_t count[WORD_MAX + 1];  // words of each length
    uint16_t symbol[LITERALS];     // in the order of their words
    uint16_t fast[1 << FAST_BITS]; // symbol << 4 | length of the word; 0: it is longer
};

struct tables {
    struct code literals, distances;
    uint8_t lengths[LITERALS + DISTANCES];
};
_Static_assert(sizeof(struct tables) <= CODEC_TABLE, "fits into what callers have");

struct stream {
    const uint8_t *at, *end;
    uint64_t bits;
    unsigned count; // of bits
    uint8_t *start, *to, *to_end;
    struct tables *tables;
};

// --- Bits

static void refill(struct stream *s) {
    for (; s->count <= 48 && s->at < s->end; s->count += 8)
        s->bits |= (uint64_t)*s->at++ << s->count;
}

static int drop(struct stream *s, unsigned count) {
    if (count > s->count)
        return -EIO;
    s->bits >>= count;
    s->count -= count;
    return 0;
}

static int take(struct stream *s, unsigned count) {
    refill(s);
    int value = (int)(s->bits & ((1u << count) - 1));
    return drop(s, count) < 0 ? -EIO : value;
}

// --- Huffman codes

static unsigned reversed(unsigned word, unsigned length) {
    unsigned result = 0;
    for (; length > 0; length--, word >>= 1)
        result = result << 1 | (word & 1);
    return result;
}

// Makes the code whose `n` symbols have words of these lengths (0: none).
static int code_make(struct code *code, const uint8_t *lengths, unsigned n) {
    uint16_t offset[WORD_MAX + 2] = {0}, word[WORD_MAX + 2] = {0};
    int left = 1;

    memset(code, 0, sizeof(*code));
    for (unsigned i = 0; i < n; i++)
        code->count[lengths[i]]++;
    code->count[0] = 0;
    for (unsigned i = 1; i <= WORD_MAX; i++) {
        left = 2 * left - code->count[i];
        if (left < 0)
            return -EIO; // more words than there can be
        offset[i + 1] = offset[i] + code->count[i];
        word[i + 1] = (uint16_t)((word[i] + code->count[i]) << 1);
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned length = lengths[i];
        if (length == 0)
            continue;
        code->symbol[offset[length]++] = (uint16_t)i;
        unsigned next = word[length]++;
        if (length > FAST_BITS)
            continue;
        for (unsigned j = reversed(next, length); j < 1u << FAST_BITS; j += 1u << length)
            code->fast[j] = (uint16_t)(i << 4 | length);
    }
    return 0;
}

static int get_symbol(struct stream *s, const struct code *code) {
    refill(s);
    uint16_t entry = code->fast[s->bits & ((1u << FAST_BITS) - 1)];
    if (entry != 0)
        return drop(s, entry & 15) < 0 ? -EIO : entry >> 4;
    int word = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= WORD_MAX; length++) {
        word |= (int)(s->bits >> (length - 1) & 1);
        int count = code->count[length];
        if (word - first < count)
            return drop(s, length) < 0 ? -EIO : code->symbol[index + word - first];
        index += count;
        first = (first + count) << 1;
        word <<= 1;
    }
    return -EIO;
}

// --- Blocks

static int copy_stored(struct stream *s) {
    drop(s, s->count & 7);
    int length = take(s, 16), inverse = take(s, 16);
    if (length < 0 || inverse < 0 || length != (~inverse & 0xffff))
        return -EIO;
    s->at -= s->count / 8; // what was taken ahead
    s->bits = s->count = 0;
    if (length > s->end - s->at || length > s->to_end - s->to)
        return -EIO;
    memcpy(s->to, s->at, (size_t)length);
    s->at += length;
    s->to += length;
    return 0;
}

static int copy_match(struct stream *s, unsigned symbol) {
    static const uint16_t length_base[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                           15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                           67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_bits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                          2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distance_base[] = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    if (symbol >= sizeof(length_bits))
        return -EIO;
    int more = take(s, length_bits[symbol]);
    int code = get_symbol(s, &s->tables->distances);
    if (more < 0 || code < 0 || code >= 30)
        return -EIO;
    int further = take(s, code < 4 ? 0 : (unsigned)code / 2 - 1);
    if (further < 0)
        return -EIO;
    size_t length = length_base[symbol] + (size_t)more;
    size_t distance = distance_base[code] + (size_t)further;
    if (distance > (size_t)(s->to - s->start) || length > (size_t)(s->to_end - s->to))
        return -EIO;
    for (; length > 0; length--, s->to++)
        *s->to = s->to[-(ptrdiff_t)distance];
    return 0;
}

static int copy_coded(struct stream *s) {
    for (;;) {
        int symbol = get_symbol(s, &s->tables->literals);
        if (symbol < 0)
            return symbol;
        if (symbol == END_OF_BLOCK)
            return 0;
        if (symbol > END_OF_BLOCK) {
            int status = copy_match(s, (unsigned)symbol - END_OF_BLOCK - 1);
            if (status < 0)
                return status;
        } else if (s->to == s->to_end) {
            return -EIO;
        } else {
            *s->to++ = (uint8_t)symbol;
        }
    }
}

static int make_fixed(struct tables *tables) {
    memset(tables->lengths, 8, 144);
    memset(tables->lengths + 144, 9, 112);
    memset(tables->lengths + 256, 7, 24);
    memset(tables->lengths + 280, 8, 8);
    int status = code_make(&tables->literals, tables->lengths, LITERALS);
    memset(tables->lengths, 5, 30);
    return status < 0 ? status : code_make(&tables->distances, tables->lengths, 30);
}

// The lengths of both codes' words, themselves coded with the code in `literals`.
static int read_lengths(struct stream *s, unsigned total) {
    uint8_t *lengths = s->tables->lengths;
    for (unsigned n = 0; n < total;) {
        int symbol = get_symbol(s, &s->tables->literals);
        if (symbol < 0)
            return symbol;
        if (symbol < 16) {
            lengths[n++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 16 && n == 0)
            return -EIO;
        uint8_t value = symbol == 16 ? lengths[n - 1] : 0;
        int repeat = symbol == 16 ? take(s, 2) : symbol == 17 ? take(s, 3) : take(s, 7);
        if (repeat < 0)
            return repeat;
        unsigned count = (unsigned)repeat + (symbol == 18 ? 11 : 3);
        if (count > total - n)
            return -EIO;
        memset(lengths + n, value, count);
        n += count;
    }
    return 0;
}

static int read_codes(struct stream *s) {
    static const uint8_t order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
    struct tables *tables = s->tables;
    int literals = take(s, 5), distances = take(s, 5), count = take(s, 4);

    if (literals < 0 || distances < 0 || count < 0 || literals + 257 > 286 || distances + 1 > 30)
        return -EIO;
    memset(tables->lengths, 0, sizeof(order));
    for (int i = 0; i < count + 4; i++) {
        int length = take(s, 3);
        if (length < 0)
            return length;
        tables->lengths[order[i]] = (uint8_t)length;
    }
    unsigned first = (unsigned)literals + 257, second = (unsigned)distances + 1;
    int status = code_make(&tables->literals, tables->lengths, sizeof(order));
    if (status == 0)
        status = read_lengths(s, first + second);
    if (status == 0)
        status = code_make(&tables->literals, tables->lengths, first);
    if (status == 0)
        status = code_make(&tables->distances, tables->lengths + first, second);
    return status;
}

static int read_block(struct stream *s, int kind) {
    if (kind == 0)
        return copy_stored(s);
    int status = kind == 1 ? make_fixed(s->tables) : kind == 2 ? read_codes(s) : -EIO;
    return status < 0 ? status : copy_coded(s);
}

int inflate_decompress(const void *in, size_t length, void *out, size_t size, void *table) {
    const uint8_t *at = in;
    struct stream s = {.start = out, .to = out, .to_end = (uint8_t *)out + size, .tables = table};

    // Deflate, no preset dictionary, and the header's own check.
    if (length < 2 || (at[0] & 15) != 8 || (at[1] & 32) != 0 || (at[0] << 8 | at[1]) % 31 != 0)
        return -EIO;
    s.at = at + 2;
    s.end = at + length;
    for (int last = 0; !last;) {
        last = take(&s, 1);
        int kind = take(&s, 2);
        int status = last < 0 || kind < 0 ? -EIO : read_block(&s, kind);
        if (status < 0)
            return status;
    }
    return s.to == s.to_end ? 0 : -EIO;
}
