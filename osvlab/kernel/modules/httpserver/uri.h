// What a request's target says: a path and parameters (RFC 3986, and the form encoding of HTML).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PARAMETER_LIMIT 32

struct parameters {
    char *text; // owns what the pairs point to
    size_t count;
    struct {
        const char *name, *value;
    } list[PARAMETER_LIMIT];
};

// Decodes %XX, and + if told so, in place. False: not valid, or with a NUL in it.
bool uri_decode(char *text, bool plus_is_blank);

// Parses a=b&c=d. 0, or an HTTP status.
int parameters_parse(struct parameters *out, const char *text, size_t length);
const char *parameters_find(const struct parameters *parameters, const char *name);
void parameters_free(struct parameters *parameters);

// Parts a target, in place, into its path without one slash at the end, and its query ("" if there
// is none). An absolute form loses its scheme and host. False: it is no path, or has a ".." in it.
bool uri_split(char *target, char **path, char **query);

bool uri_climbs(const char *path); // has a component ".."
