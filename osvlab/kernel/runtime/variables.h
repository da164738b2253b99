// The variables that programs start with: what the command line and the scripts set.
#pragma once

#include <stdbool.h>
#include <stddef.h>

char **variables(void); // ends with NULL
const char *variable_get(const char *name);
bool variable_set(const char *name, size_t length, const char *value, bool overwrite);
