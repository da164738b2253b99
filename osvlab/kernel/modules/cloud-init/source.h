// Where a configuration comes from.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CONFIGURATION_LIMIT (1UL << 20) // bytes

// Bytes that were read, with a NUL behind them; free() them.
struct text {
    char *bytes;
    size_t size;
};

// All give true and the text, or false and *error in words. Nothing is found: *error is NULL.
bool source_file(const char *path, struct text *out, const char **error);
// /user-data of the first disk that has it: `disks` with 1 to 10 behind it.
bool source_iso(const char *disks, struct text *out, const char **error);
bool source_http(const char *server, const char *port, const char *path, const char *header,
                 int seconds, struct text *out, const char **error);
// Amazon's and Google's metadata services; also gives the host name they know, or NULL.
bool source_cloud(struct text *out, char **hostname, const char **error);

// Reads from a descriptor to its end, within the limit. False with *error.
bool read_all(int descriptor, struct text *out, const char **error);
