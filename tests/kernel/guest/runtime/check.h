// CHECK: the smallest test harness. Each program prints "ok" at its end.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(99);                                                               \
        }                                                                           \
    } while (0)
