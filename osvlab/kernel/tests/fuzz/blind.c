// A target without libFuzzer, for any compiler: steps by chance, or inputs that are in files.
//
//   PROGRAM ROUNDS SEED     lists of steps (steps.c); the one that a round died of can be done again
//   PROGRAM --files FILE... what libFuzzer found, or an input that once broke something

#include "fuzz.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "steps.h"

enum { SECONDS = 20 };

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

static uint64_t dice;

static uint64_t roll(uint64_t sides) { // xorshift64
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (dice >> 11) % sides;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) {
    (void)most;
    data[roll(size)] = (uint8_t)roll(256);
    return size;
}

static void do_round(uint64_t seed) {
    static uint8_t input[STEPS_MAX * sizeof(struct step)];
    size_t size = 0;
    dice = seed * 0x9e3779b97f4a7c15 + 1;
    for (uint64_t n = 1 + roll(60); n > 0; n--)
        size = LLVMFuzzerCustomMutator(input, size, sizeof(input), (unsigned)roll(~0u));
    fprintf(stderr, "\rseed %" PRIu64 " ", seed);
    alarm(SECONDS);
    LLVMFuzzerTestOneInput(input, size);
    alarm(0);
}

static void do_file(const char *name) {
    static uint8_t input[1 << 20];
    FILE *file = fopen(name, "rb");
    must(file != NULL);
    size_t size = fread(input, 1, sizeof(input), file);
    fclose(file);
    fprintf(stderr, "%s\n", name);
    LLVMFuzzerTestOneInput(input, size);
}

int main(int argc, char **argv) {
    must(argc >= 3);
    LLVMFuzzerInitialize(&argc, &argv);
    if (strcmp(argv[1], "--files") == 0) {
        for (int i = 2; i < argc; i++)
            do_file(argv[i]);
        return 0;
    }
    uint64_t rounds = strtoull(argv[1], NULL, 0), seed = strtoull(argv[2], NULL, 0);
    for (uint64_t i = 0; i < rounds; i++)
        do_round(seed + i);
    return 0;
}
