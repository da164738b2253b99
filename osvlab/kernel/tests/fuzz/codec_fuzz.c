// The ways of packing: what is unpacked is anything; what was packed comes back as it was.
//
// The input: which one, the size to unpack to (two bytes), and what is packed, or is to be.

#include "fuzz.h"

#include <string.h>

#include "codec.h"

static uint8_t table[CODEC_TABLE];

typedef int unpacker(const void *in, size_t length, void *out, size_t size);
typedef size_t packer(const void *in, size_t size, void *out, size_t limit, void *table);

static int inflate(const void *in, size_t length, void *out, size_t size) {
    return inflate_decompress(in, length, out, size, table);
}

static unpacker *const unpackers[] = {lz4_decompress, lzjb_decompress, zle_decompress, inflate};

// Memory of exactly the right size, so that the sanitizer sees one byte too many.
static void *exactly(const void *data, size_t size) {
    void *memory = malloc(size + (size == 0));
    must(memory != NULL);
    if (data != NULL)
        memcpy(memory, data, size);
    return memory;
}

static void unpack(unpacker *unpacker, const uint8_t *data, size_t length, size_t size) {
    uint8_t *in = exactly(data, length), *out = exactly(NULL, size), *again = exactly(NULL, size);
    // Whatever was there before: all of it has to be written, and the same each time.
    memset(out, 0x55, size);
    memset(again, 0xaa, size);
    int status = unpacker(in, length, out, size);
    must(unpacker(in, length, again, size) == status);
    must(status < 0 || memcmp(out, again, size) == 0);
    free(in);
    free(out);
    free(again);
}

static void there_and_back(packer *packer, unpacker *unpacker, const uint8_t *data, size_t size,
                           size_t limit) {
    uint8_t *in = exactly(data, size), *packed = exactly(NULL, limit), *out = exactly(NULL, size);
    size_t length = packer(in, size, packed, limit, table);
    must(length <= limit);
    if (length > 0) {
        must(unpacker(packed, length, out, size) == 0);
        must(memcmp(in, out, size) == 0);
    }
    free(in);
    free(packed);
    free(out);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return -1;
    unsigned which = data[0] % 6;
    size_t wanted = (size_t)data[1] | (size_t)data[2] << 8;
    data += 3;
    size -= 3;
    if (which < 4)
        unpack(unpackers[which], data, size, wanted);
    else if (which == 4)
        there_and_back(lz4_compress, lz4_decompress, data, size, wanted % (2 * size + 1));
    else
        there_and_back(lzjb_compress, lzjb_decompress, data, size, wanted % (2 * size + 1));
    return 0;
}
