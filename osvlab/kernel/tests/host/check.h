// The one assertion of the file layer's host tests: shows both values.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define CHECK(actual, expected)                                                                  \
    do {                                                                                         \
        long actual_ = (long)(actual), expected_ = (long)(expected);                             \
        if (actual_ != expected_) {                                                              \
            fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #actual, actual_, \
                    expected_);                                                                  \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)
