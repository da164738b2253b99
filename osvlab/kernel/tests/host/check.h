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

// Short ways to make files. Static inline: a test need not use all.
#include <assert.h>

#include "files_shim.h"

#include "syscalls_files.h"

static inline int open_new(const char *name) {
    long fd = sys_open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
    assert(fd >= 0);
    return (int)fd;
}

static inline void make(const char *name, const char *text) {
    int fd = open_new(name);
    CHECK(sys_write(fd, text, strlen(text)), strlen(text));
    CHECK(sys_close(fd), 0);
}

static inline struct stat stat_of(const char *name) {
    struct stat s;
    CHECK(sys_lstat(name, &s), 0);
    return s;
}
