// The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.
//
// Ones' complement addition is addition modulo 2^16 - 1. Since 2^16 - 1 divides 2^64 - 1, summing
// 64-bit words with end-around carry gives, once folded, the same; so does any byte order, as
// long as it is the same for reading and for storing.

#include <string.h>

#include "ipv4.h"

static inline u64 add(u64 sum, u64 value) {
    return __builtin_add_overflow(sum, value, &sum) ? sum + 1 : sum;
}

// To 33 bits: then sums can simply be added up.
static inline u64 halve(u64 sum) {
    return (sum & UINT32_MAX) + (sum >> 32);
}

typedef u64 __attribute__((may_alias, aligned(1))) word;

static inline u64 load(const u8 *from) {
    return *(const word *)from;
}

static inline void store(u8 *to, u64 value) {
    *(word *)to = value;
}

// Fewer than 8 bytes, as a word with zeros behind them.
static u64 load_tail(const u8 *from, size_t size) {
    u64 value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (u64)from[i] << 8 * i;
    return value;
}

u64 checksum_add(u64 sum, const void *data, size_t size) {
    const u8 *from = data;

    for (; size >= 32; size -= 32, from += 32) {
        sum = add(sum, load(from));
        sum = add(sum, load(from + 8));
        sum = add(sum, load(from + 16));
        sum = add(sum, load(from + 24));
    }
    for (; size >= 8; size -= 8, from += 8)
        sum = add(sum, load(from));
    return halve(size ? add(sum, load_tail(from, size)) : sum);
}

static inline u64 move(u64 sum, u8 *to, const u8 *from) {
    u64 value = load(from);
    store(to, value);
    return add(sum, value);
}

u64 checksum_copy(u64 sum, void *destination, const void *source, size_t size) {
    const u8 *from = source;
    u8 *to = destination;

    for (; size >= 32; size -= 32, from += 32, to += 32) {
        sum = move(sum, to, from);
        sum = move(sum, to + 8, from + 8);
        sum = move(sum, to + 16, from + 16);
        sum = move(sum, to + 24, from + 24);
    }
    for (; size >= 8; size -= 8, from += 8, to += 8)
        sum = move(sum, to, from);
    if (!size)
        return halve(sum);
    memcpy(to, from, size);
    return halve(add(sum, load_tail(from, size)));
}

static u16 fold(u64 sum) {
    sum = halve(halve(sum));
    u32 half = ((u32)sum & UINT16_MAX) + (u32)(sum >> 16);
    half = (half & UINT16_MAX) + (half >> 16);
    return (u16)((half & UINT16_MAX) + (half >> 16));
}

u64 checksum_swap(u64 sum) {
    return swap16(fold(sum));
}

u16 checksum_finish(u64 sum) {
    return (u16)~fold(sum);
}

u64 checksum_pseudo_header(ipv4_address source, ipv4_address destination, u8 protocol,
                           size_t length) {
    return (u64)source + destination + swap16(protocol) + swap16((u16)length);
}
