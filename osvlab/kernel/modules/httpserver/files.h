// Names of the guest's files as the REST API gives them.
#pragma once

#include <limits.h>
#include <stdbool.h>

#define FILE_PATH_LIMIT PATH_MAX

// The directory that stands for "/": "" unless --root was given.
extern const char *file_root;

// The path of what stands behind /file/. False: it is too long.
bool file_path(const char *captured, char out[FILE_PATH_LIMIT]);

// Content-Type by the ending of a name.
const char *file_type(const char *path);
