// The head of an HTTP/1.1 request: request line and header fields (RFC 9112).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_LIMIT 16384 // bytes
#define TARGET_LIMIT 8192
#define FIELD_LIMIT 64

struct slice {
    const char *at;
    size_t length;
};

enum method { GET, HEAD, POST, PUT, DELETE, OPTIONS, OTHER };
extern const char *const method_names[OTHER]; // by enum method

struct field {
    struct slice name, value;
};

struct head {
    enum method method;
    struct slice target;
    int minor; // HTTP/1.minor
    struct field fields[FIELD_LIMIT];
    size_t field_count;

    // What the fields say of the message as such.
    bool has_length, chunked; // never both
    uint64_t length;
    bool keep_alive;
    bool expects_continue;
};

// How many leading bytes are a whole head; 0: its end has not come. `scanned` says how far was
// looked before, and begins as 0.
size_t head_end(const char *bytes, size_t count, size_t *scanned);

// Parses a whole head; the slices point into it. 0, or the HTTP status of what is wrong.
int head_parse(const char *bytes, size_t count, struct head *out);

// The value of the first field of that name.
bool head_find(const struct head *head, const char *name, struct slice *out);

bool slice_is(struct slice slice, const char *text); // case does not matter
