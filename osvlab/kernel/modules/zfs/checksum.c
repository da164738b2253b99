// Checksums of blocks: which one is in the block's pointer.
//
// Fletcher sums run over little-endian words: 64-bit ones in two interleaved streams (fletcher2),
// or 32-bit ones in a chain of four sums (fletcher4). What has no pointer of its own carries its
// checksum at its end, and there the place on disk is part of the sum.
//
// Specified in: "ZFS On-Disk Specification" (2006), section 2.6; OpenZFS, zfs_fletcher.c.

#include "codec.h"

#include <errno.h>
#include <string.h>

#include "pool.h"

void checksum_fletcher2(const void *data, size_t size, uint64_t out[4]) {
    const uint8_t *at = data;
    uint64_t a[2] = {0}, b[2] = {0};

    for (size_t i = 0; i + 16 <= size; i += 16) {
        a[0] += load64(at + i);
        a[1] += load64(at + i + 8);
        b[0] += a[0];
        b[1] += a[1];
    }
    out[0] = a[0], out[1] = a[1], out[2] = b[0], out[3] = b[1];
}

void checksum_fletcher4(const void *data, size_t size, uint64_t out[4]) {
    const uint8_t *at = data;
    uint64_t a = 0, b = 0, c = 0, d = 0;

    for (size_t i = 0; i + 4 <= size; i += 4) {
        a += load32(at + i);
        b += a;
        c += b;
        d += c;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

int checksum_compute(unsigned kind, const void *data, size_t size, uint64_t out[4]) {
    switch (kind) {
    case CHECKSUM_OFF:
        memset(out, 0, 4 * sizeof(*out));
        return 0;
    case CHECKSUM_FLETCHER2:
        checksum_fletcher2(data, size, out);
        return 0;
    case CHECKSUM_FLETCHER4:
        checksum_fletcher4(data, size, out);
        return 0;
    case CHECKSUM_SHA256:
        checksum_sha256(data, size, out);
        return 0;
    default:
        return -ENOTSUP;
    }
}

bool checksum_equal(const uint64_t one[4], const uint64_t other[4]) {
    return memcmp(one, other, 4 * sizeof(*one)) == 0;
}

static struct zio_eck *eck_of(void *region, size_t size) {
    return (struct zio_eck *)((uint8_t *)region + size - sizeof(struct zio_eck));
}

bool checksum_embedded_right(void *region, size_t size, const uint64_t verifier[4]) {
    struct zio_eck *eck = eck_of(region, size);
    uint64_t stored[4], sum[4];

    if (eck->magic != ECK_MAGIC)
        return false;
    memcpy(stored, eck->checksum, sizeof(stored));
    memcpy(eck->checksum, verifier, sizeof(stored));
    checksum_sha256(region, size, sum);
    memcpy(eck->checksum, stored, sizeof(stored));
    return checksum_equal(stored, sum);
}

void checksum_embedded_write(void *region, size_t size, const uint64_t verifier[4]) {
    struct zio_eck *eck = eck_of(region, size);
    uint64_t sum[4];

    eck->magic = ECK_MAGIC;
    memcpy(eck->checksum, verifier, sizeof(eck->checksum));
    checksum_sha256(region, size, sum);
    memcpy(eck->checksum, sum, sizeof(sum));
}
