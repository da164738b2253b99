// Taking multipart/form-data apart as it comes (RFC 7578, RFC 2046 section 5.1.1).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define BOUNDARY_LIMIT 70
#define PART_LINE_LIMIT 1024
#define PART_HEAD_LIMIT 8192

struct multipart;

struct multipart_events {
    // A part begins; `file_name` is NULL if it has none. An HTTP status if it is not wanted.
    int (*begin)(void *argument, const char *name, const char *file_name);
    int (*data)(void *argument, const char *bytes, size_t count);
    int (*end)(void *argument);
};

struct multipart {
    const struct multipart_events *events;
    void *argument;
    enum { PART_DATA, PART_MARK, PART_MARK_DASH, PART_MARK_LF, PART_HEAD, PART_DONE } state;
    bool in_part; // else what comes before the first part
    char mark[BOUNDARY_LIMIT + 5];
    size_t mark_length, matched;
    char line[PART_LINE_LIMIT];
    size_t line_length, head_length;
    char name[128], file_name[256];
    bool has_file_name;
};

// Begins, with the value of Content-Type. False: it names no usable boundary.
bool multipart_begin(struct multipart *multipart, const char *type, size_t length,
                     const struct multipart_events *events, void *argument);

// 0, or an HTTP status: 400, or what an event gave.
int multipart_feed(struct multipart *multipart, const char *bytes, size_t count);

// After the last byte: whether the end was there.
bool multipart_ended(const struct multipart *multipart);
