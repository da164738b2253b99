// Reading /proc: see proc.h.

#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGEST (1UL << 20)

bool proc_read(const char *path, struct buffer *out) {
    char bytes[2048];
    ssize_t got;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return false;
    out->limit = LARGEST;
    while ((got = read(descriptor, bytes, sizeof(bytes))) > 0 && !out->failed)
        buffer_add(out, bytes, (size_t)got);
    int error = out->failed ? EFBIG : errno;
    close(descriptor);
    buffer_add(out, "", 1);
    if (got >= 0 && !out->failed) {
        out->used--;
        return true;
    }
    buffer_free(out);
    errno = error;
    return false;
}

const char *proc_value(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length))
            continue;
        const char *colon = line + length + strspn(line + length, " \t");
        if (*colon == ':')
            return colon + 1 + strspn(colon + 1, " \t");
    }
    return NULL;
}

long long proc_number(const char *text, const char *name) {
    const char *value = proc_value(text, name);
    return value ? strtoll(value, NULL, 10) : 0;
}
