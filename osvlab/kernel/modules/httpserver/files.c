// Names of files: see files.h.

#include "files.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *file_root = "";

bool file_path(const char *captured, char out[FILE_PATH_LIMIT]) {
    const char *slash = captured[0] == '/' ? "" : "/";
    return snprintf(out, FILE_PATH_LIMIT, "%s%s%s", file_root, slash, captured) < FILE_PATH_LIMIT;
}

const char *file_type(const char *path) {
    static const char *const types[][2] = {
        {".html", "text/html"},
        {".htm", "text/html"},
        {".css", "text/css"},
        {".js", "text/javascript"},
        {".json", "application/json"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".gif", "image/gif"},
        {".svg", "image/svg+xml"},
        {".xml", "application/xml"},
        {".gz", "application/gzip"},
        {".tar", "application/x-tar"},
        {".zip", "application/zip"},
        {".wasm", "application/wasm"},
        {".pdf", "application/pdf"},
        {".so", "application/octet-stream"},
        {".bin", "application/octet-stream"},
        {".img", "application/octet-stream"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
        if (!strcasecmp(dot, types[i][0]))
            return types[i][1];
    return "text/plain";
}
