// A configuration in a file of the guest.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"

static bool failed(struct text *out, const char **error, const char *why) {
    free(out->bytes);
    *out = (struct text){0};
    *error = why;
    return false;
}

bool read_all(int descriptor, struct text *out, const char **error) {
    size_t room = 0;
    *out = (struct text){0};
    for (;;) {
        if (out->size + 1 >= room) {
            room = room ? 2 * room : 4096;
            char *grown = realloc(out->bytes, room);
            if (!grown)
                return failed(out, error, "no memory");
            out->bytes = grown;
        }
        ssize_t got = read(descriptor, out->bytes + out->size, room - out->size - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed(out, error, strerror(errno));
        out->size += (size_t)got;
        if (out->size > CONFIGURATION_LIMIT)
            return failed(out, error, "the configuration is larger than 1 MiB");
        out->bytes[out->size] = 0;
        if (got == 0)
            return true;
    }
}

bool source_file(const char *path, struct text *out, const char **error) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        *error = strerror(errno);
        return false;
    }
    bool good = read_all(file, out, error);
    close(file);
    return good;
}
