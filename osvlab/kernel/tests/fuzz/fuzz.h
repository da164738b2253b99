// What a fuzzing target is made of. libFuzzer calls the two functions; blind.c does so without it.
//
// A target is given bytes that are chosen by what they reach in the code, and does with them what the
// kernel does. It may refuse them in any way. A sanitizer's report, a failed `must`, more memory than
// is allowed, or an input that takes seconds is a bug.
//
// Specified in: the documentation of LLVM, "libFuzzer".
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // 0; -1: not worth keeping

#define must(condition)                                                                    \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: this is wrong: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)
