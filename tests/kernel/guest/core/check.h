// What every guest program uses: a check that says where it failed and ends with status 1.
// The programs are plain Linux programs: each must pass on the host as well.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            printf("%s:%d: failed: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)
