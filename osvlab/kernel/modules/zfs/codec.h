// How blocks are summed and packed. Pure functions over memory: no pool, no allocation.
//
// Every decoder is given what lies on a disk, believes none of it, and either fills the whole
// output or returns -EIO.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint32_t load32(const void *at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof(value)); // one instruction: here memcpy would be a call
    return value;
}

static inline uint64_t load64(const void *at) {
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
}

// --- checksum.c, sha256.c: four words, as block pointers have them

void checksum_fletcher2(const void *data, size_t size, uint64_t out[4]);
void checksum_fletcher4(const void *data, size_t size, uint64_t out[4]);
void checksum_sha256(const void *data, size_t size, uint64_t out[4]);
int checksum_compute(unsigned kind, const void *data, size_t size, uint64_t out[4]); // -ENOTSUP
bool checksum_equal(const uint64_t one[4], const uint64_t other[4]);

// Of a region that ends with a struct zio_eck, which is in the sum as `verifier`.
bool checksum_embedded_right(void *region, size_t size, const uint64_t verifier[4]);
void checksum_embedded_write(void *region, size_t size, const uint64_t verifier[4]);

// --- Packing: into at most `limit` bytes, returning how many; 0: it does not fit.
// `table` is CODEC_TABLE bytes of memory that need not be initialised.

#define CODEC_TABLE 16384

size_t lz4_compress(const void *in, size_t size, void *out, size_t limit, void *table);
size_t lzjb_compress(const void *in, size_t size, void *out, size_t limit, void *table);

// --- Unpacking `length` bytes (there may be padding after what counts) into exactly `size`

int lz4_decompress(const void *in, size_t length, void *out, size_t size);
int lzjb_decompress(const void *in, size_t length, void *out, size_t size);
int zle_decompress(const void *in, size_t length, void *out, size_t size);
int inflate_decompress(const void *in, size_t length, void *out, size_t size, void *table);
