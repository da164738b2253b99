// Bitmaps: one bit for each unit of space.
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t bitmap_words(uint64_t bits) {
    return (bits + 63) / 64;
}
void bitmap_fill(uint64_t *map, uint64_t from, uint64_t count, bool value);
// The first bit at or after `from` that has this value; `end`, if there is none before.
uint64_t bitmap_next(const uint64_t *map, uint64_t from, uint64_t end, bool value);
bool bitmap_all(const uint64_t *map, uint64_t from, uint64_t count, bool value);
uint64_t bitmap_runs(const uint64_t *map, uint64_t end); // of bits that are set
