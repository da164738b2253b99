// The module's checksums and packings, as a filter: `zfs_codec_test WHAT SIZE < in > out`, and with
// two more arguments, ROUNDS and SEED, unpacking of damaged input: it may fail, and harm nothing.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"

static uint8_t input[1 << 20], table[CODEC_TABLE];

static int unpack(const char *what, const void *in, size_t length, void *out, size_t size) {
    if (strcmp(what, "lz4") == 0)
        return lz4_decompress(in, length, out, size);
    if (strcmp(what, "lzjb") == 0)
        return lzjb_decompress(in, length, out, size);
    if (strcmp(what, "zle") == 0)
        return zle_decompress(in, length, out, size);
    if (strcmp(what, "zlib") == 0)
        return inflate_decompress(in, length, out, size, table);
    exit(2);
}

static int sum(const char *what, size_t length) {
    uint64_t out[4];
    if (strcmp(what, "sha256") == 0)
        checksum_sha256(input, length, out);
    else if (strcmp(what, "fletcher2") == 0)
        checksum_fletcher2(input, length, out);
    else if (strcmp(what, "fletcher4") == 0)
        checksum_fletcher4(input, length, out);
    else
        return 0;
    for (int i = 0; i < 4; i++)
        printf("%016" PRIx64, out[i]);
    return 1;
}

// Memory of exactly the right size, so that the sanitizer sees one byte too many.
static void damage(const char *what, size_t length, size_t size, long rounds, unsigned seed) {
    long whole = 0;
    srand(seed);
    for (long round = 0; round < rounds; round++) {
        size_t cut = rand() % 4 == 0 ? (size_t)rand() % (length + 1) : length;
        uint8_t *in = malloc(cut), *out = malloc(size);
        memcpy(in, input, cut);
        for (int n = rand() % 8; n > 0 && cut > 0; n--)
            in[(size_t)rand() % cut] = (uint8_t)(rand() % 3 == 0 ? 0xff : rand());
        whole += unpack(what, in, cut, out, size) == 0;
        free(in);
        free(out);
    }
    printf("%ld of %ld unpacked\n", whole, rounds);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    size_t length = fread(input, 1, sizeof(input), stdin), size = strtoul(argv[2], NULL, 0);
    uint8_t *out = malloc(size + 1);
    if (argc == 5) {
        damage(argv[1], length, size, atol(argv[3]), (unsigned)atoi(argv[4]));
    } else if (strcmp(argv[1], "pack-lz4") == 0) {
        fwrite(out, 1, lz4_compress(input, length, out, size, table), stdout);
    } else if (strcmp(argv[1], "pack-lzjb") == 0) {
        fwrite(out, 1, lzjb_compress(input, length, out, size, table), stdout);
    } else if (!sum(argv[1], length)) {
        if (unpack(argv[1], input, length, out, size) < 0)
            return 1;
        fwrite(out, 1, size, stdout);
    }
    free(out);
    return 0;
}
