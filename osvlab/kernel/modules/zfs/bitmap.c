// Bitmaps, a word at a time.

#include "bitmap.h"

// The bits of a word from `low` on, `count` of them at most.
static uint64_t mask(unsigned low, uint64_t count) {
    uint64_t ones = count >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1;
    return ones << low;
}

void bitmap_fill(uint64_t *map, uint64_t from, uint64_t count, bool value) {
    while (count > 0) {
        unsigned low = from % 64;
        uint64_t here = count < 64 - low ? count : 64 - low, bits = mask(low, here);
        if (value)
            map[from / 64] |= bits;
        else
            map[from / 64] &= ~bits;
        from += here;
        count -= here;
    }
}

uint64_t bitmap_next(const uint64_t *map, uint64_t from, uint64_t end, bool value) {
    uint64_t flip = value ? 0 : ~(uint64_t)0;
    while (from < end) {
        uint64_t bits = (map[from / 64] ^ flip) & mask(from % 64, 64);
        if (bits != 0) {
            from = from / 64 * 64 + (unsigned)__builtin_ctzl(bits);
            return from < end ? from : end;
        }
        from = (from / 64 + 1) * 64;
    }
    return end;
}

bool bitmap_all(const uint64_t *map, uint64_t from, uint64_t count, bool value) {
    return bitmap_next(map, from, from + count, !value) == from + count;
}

uint64_t bitmap_runs(const uint64_t *map, uint64_t end) {
    uint64_t runs = 0, at = 0;
    while ((at = bitmap_next(map, at, end, true)) < end) {
        runs++;
        at = bitmap_next(map, at, end, false);
    }
    return runs;
}
